"""Run folders are started, resumed bit for bit, opened by newer versions, and exported."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import runs
from mien.data import Selection, prepare
from mien.errors import ConfigError, DatasetError, OutputError, RunError
from mien.files import locked
from mien.models.classifier import OnnxClassifier
from mien.training import Run, Stage
from mien.training.checkpoint import load_average
from mien.training.recipe import Precision
from mien.training.run import CHECKPOINT, CONFIG, ENVIRONMENT, METRICS, ROWS
from runs import (
    EPOCHS,
    assert_same_weights,
    finished,
    further_config,
    interrupted,
    small_config,
    small_dataset,
    small_selection,
    stopped,
)

OLD_RUN = Path(__file__).parent / "old_run"


def epochs_of(run: Run) -> list[float]:
    return [row["epoch"] for row in run.metrics()]


def test_a_run_folder_records_how_it_was_made(undisturbed: Run) -> None:
    run = Run.open(undisturbed.folder)
    assert run.config == small_config()
    assert run.environment["data"][0]["fingerprint"] == small_dataset().fingerprint
    assert {"mien", "torch", "python", "processor", "cores", "commit", "precision"} <= set(run.environment)
    assert (run.origin, run.data_paths) == ("", None)
    assert repr(run) == f"<Run {str(run.folder)!r}: tiny, 4 of 4 epochs>"
    net, spec = load_average(run.checkpoint)
    assert not net.training
    assert run.spec == spec
    assert spec.names == ("fer2013", "ferplus")
    assert spec.recipe == json.loads(json.dumps(asdict(run.config) | {"name": "tiny"}))


def test_metrics_have_a_row_per_epoch(undisturbed: Run) -> None:
    rows = undisturbed.metrics()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["size"] for row in rows] == [16, 16, 24, 24]
    assert rows[-1]["learning_rate"] == pytest.approx(0)
    assert all(math.isfinite(value) for row in rows for value in row.values())


@pytest.mark.parametrize("at", [(0, 1), (2, 3), (2, 0)], ids=["first epoch", "within an epoch", "between epochs"])
def test_an_interrupted_run_ends_with_the_same_weights(undisturbed: Run, tmp_path: Path, at: tuple[int, int]) -> None:
    run = interrupted(small_config(), small_dataset(), tmp_path / "run", at)
    run.fit()
    assert_same_weights(run, undisturbed)
    assert epochs_of(run) == [1, 2, 3, 4]


def test_a_run_interrupted_again_and_again_ends_with_the_same_weights(undisturbed: Run, tmp_path: Path) -> None:
    run = interrupted(small_config(), small_dataset(), tmp_path / "run", (1, 2))
    for at in ((1, 4), (2, 1), (3, 5)):
        run = stopped(run, at)
    run.fit()
    assert_same_weights(run, undisturbed)


@pytest.mark.parametrize(("net", "precision"), [("model2020", "32-true"), ("tiny", "bf16-mixed")])
def test_dropout_and_half_precision_resume_too(tmp_path: Path, net: str, precision: Precision) -> None:
    config = replace(small_config(net, precision), learning_rate=0.01)
    whole = finished(config, small_dataset(), tmp_path / "whole")
    run = interrupted(config, small_dataset(), tmp_path / "parts", (2, 2))
    run.fit()
    assert_same_weights(run, whole)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(undisturbed: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    here = Path(runs.__file__)
    code = f"import sys; sys.path.insert(0, {str(here.parent)!r}); import runs; runs.fit_and_print({str(folder)!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.split() == ["2", "2"]:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    run = Run.open(folder, small_dataset())
    assert 2 <= len(run.metrics()) < EPOCHS
    run.fit()
    assert_same_weights(run, undisturbed)
    assert epochs_of(run) == [1, 2, 3, 4]


def test_a_row_without_its_checkpoint_is_replaced(undisturbed: Run, tmp_path: Path) -> None:
    """A kill can fall between the two files."""
    run = interrupted(small_config(), small_dataset(), tmp_path / "run", (1, 0))
    with (run.folder / METRICS).open("a") as file:
        file.write(json.dumps(run.metrics()[-1] | {"epoch": 3, "train_loss": 99.0}) + "\n")
    run.fit()
    assert epochs_of(run) == [1, 2, 3, 4]
    assert run.metrics()[2]["train_loss"] == undisturbed.metrics()[2]["train_loss"]


def test_a_finished_run_is_left_as_it_is(undisturbed: Run) -> None:
    before = undisturbed.checkpoint.read_bytes()
    Run.open(undisturbed.folder, small_dataset()).fit()
    assert undisturbed.checkpoint.read_bytes() == before


def test_a_model_is_not_exported_to_a_folder_that_is_missing(undisturbed: Run, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no such folder"):
        undisturbed.export(target=tmp_path / "no" / "net.onnx")


def test_other_data_cannot_resume_a_run_or_export_it(undisturbed: Run) -> None:
    other = Run.open(undisturbed.folder, small_dataset(seed=1))
    for work in (other.fit, other.export):
        with pytest.raises(RunError, match="was started on data with fingerprint"):
            work()


def test_a_run_finds_its_data_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "faces.npz"
    prepare(small_dataset(), path)
    Run.start(small_config(), small_dataset(), tmp_path / "run", data_path=path)
    assert Run.open(tmp_path / "run").datasets[0].fingerprint == small_dataset().fingerprint


def test_a_run_whose_data_has_moved_asks_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "faces.npz"
    prepare(small_dataset(), path)
    Run.start(small_config(), small_dataset(), tmp_path / "run", data_path=path)
    path.rename(tmp_path / "moved.npz")
    with pytest.raises(RunError, match=r"is no longer at '.*faces\.npz'; say where it is with --data"):
        Run.open(tmp_path / "run").fit()


def test_a_run_without_a_recorded_path_asks_for_its_data(undisturbed: Run) -> None:
    with pytest.raises(RunError, match="doesn't record where its data is; open it with the dataset"):
        Run.open(undisturbed.folder).fit()


def test_a_run_cannot_be_started_twice(undisturbed: Run) -> None:
    with pytest.raises(RunError, match=r"already holds a run; resume it \(mien train --resume"):
        Run.start(small_config(), small_dataset(), undisturbed.folder)


def test_of_two_starts_at_a_time_the_second_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start_another(_: object) -> None:
        monkeypatch.undo()
        Run.start(small_config(), small_dataset(), tmp_path / "run")

    monkeypatch.setattr("mien.training.run._warn_of_size", start_another)  # the last step before the folder is written
    with pytest.raises(RunError, match="already holds a run"):
        Run.start(small_config(), small_dataset(), tmp_path / "run")
    assert Run.open(tmp_path / "run").metrics() == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of Unix")
def test_one_process_at_a_time_trains_a_run(undisturbed: Run) -> None:
    with locked(undisturbed.folder / CONFIG), pytest.raises(RunError, match="another process is training"):
        undisturbed.fit()


@pytest.mark.parametrize("content", [None, "", "{}", '"text"', '{"data": {}}', "[" * 200_000], ids=range(6))
def test_a_folder_that_is_no_run_cannot_be_opened(tmp_path: Path, content: str | None) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(asdict(small_config())))
    if content is not None:
        (tmp_path / ENVIRONMENT).write_text(content)
    with pytest.raises(RunError, match="is not a run folder"):
        Run.open(tmp_path)


def test_a_damaged_checkpoint_raises(tmp_path: Path) -> None:
    run = interrupted(small_config(), small_dataset(), tmp_path / "run", (0, 0))
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:-100])
    with pytest.raises(RunError, match="cannot read checkpoint"):
        run.fit()
    with pytest.raises(RunError, match="cannot read checkpoint"):
        load_average(run.checkpoint)


def test_a_run_that_cannot_be_written_fails_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot make folder '.*file/run': .*; choose another place"):
        Run.start(small_config(), small_dataset(), tmp_path / "file" / "run")


def test_a_checkpoint_without_its_settings_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"weights")
    with pytest.raises(RunError, match="holds a checkpoint without its settings; name another --run"):
        Run.start(small_config(), small_dataset(), tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == b"weights"


def test_a_run_without_a_finished_epoch_is_not_exported(undisturbed: Run, tmp_path: Path) -> None:
    for name, config in (("random", small_config()), ("further", further_config(undisturbed.folder))):
        run = interrupted(config, small_dataset(), tmp_path / name, (0, 1))
        with pytest.raises(RunError, match="has no finished epoch yet; resume it: mien train --resume"):
            run.export()


def test_too_few_images_leave_no_run_behind(tmp_path: Path) -> None:
    few = small_dataset().select(np.arange(30))
    with pytest.raises(DatasetError, match="24 training images don't fill one batch of 32; set a smaller"):
        Run.start(small_config(), few, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_net_too_deep_for_the_images_leaves_no_run_behind(tmp_path: Path) -> None:
    config = replace(small_config("vgg-b"), stages=(Stage(size=8, epochs=1),))
    with pytest.raises(ConfigError, match="net 'vgg-b' cannot take images of 8 pixels; set larger ones in stages"):
        Run.start(config, small_dataset(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_more_devices_than_there_are_leave_no_run_behind(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"1000 devices \(--devices\) are more than this process may use; expected 1 to"
    ):
        Run.start(small_config(), small_dataset(), tmp_path / "run", devices=1000)
    assert not (tmp_path / "run").exists()


def test_plain_gradient_descent_needs_no_momentum(tmp_path: Path) -> None:
    run = Run.start(replace(small_config(), momentum=0.0), small_dataset(), tmp_path / "run")
    assert stopped(run, (0, 0)).metrics()[0]["train_loss"] > 0


def test_blank_images_do_not_count(tmp_path: Path) -> None:
    dataset = small_dataset()
    blank = replace(dataset, images=np.full_like(dataset.images, 7))
    with pytest.raises(DatasetError, match="0 training images"):
        Run.start(small_config(), blank, tmp_path / "run")


def test_a_last_stage_of_another_size_than_the_input_warns(tmp_path: Path) -> None:
    config = replace(small_config(), stages=(Stage(size=16, epochs=1),))
    with pytest.warns(UserWarning, match="the last stage trains at 16 pixels, but the model's input has 24"):
        Run.start(config, small_dataset(), tmp_path / "run")


class TestSelections:
    """Runs that are fitted on a selection of the training images."""

    def test_a_selection_is_fitted_as_if_the_other_images_were_absent(self, selective: Run, tmp_path: Path) -> None:
        dataset, rows = small_dataset(), small_selection().rows
        run = finished(small_config(), dataset.select(rows | (dataset.splits != 0)), tmp_path / "run")
        assert_same_weights(selective, run)
        losses = [[row["valid_loss"] for row in one.metrics()] for one in (selective, run)]
        assert losses[0] == losses[1]

    def test_run_and_spec_record_what_was_left_out_of_the_whole_dataset(self, selective: Run) -> None:
        data = selective.environment["data"][0]
        assert data["fingerprint"] == small_dataset().fingerprint
        assert (data["audit"], data["dropped"], data["fold"]) == ("audits/drawn", 20, "")
        assert data["fitted"] == small_selection().rows.sum()
        assert load_average(selective.checkpoint)[1].trained_on == {
            "name": "drawn", "fingerprint": small_dataset().fingerprint, "dropped": "20 leaks"
        }  # fmt: skip

    def test_an_interrupted_run_of_a_selection_ends_with_the_same_weights(self, selective: Run, tmp_path: Path) -> None:
        run = interrupted(small_config(), small_dataset(), tmp_path / "run", (2, 3), selection=small_selection())
        run.fit()
        assert_same_weights(run, selective)

    def test_a_run_knows_the_images_it_is_fitted_on(self, undisturbed: Run, selective: Run) -> None:
        dataset = small_dataset()
        assert undisturbed.fitted()[0].fingerprint == dataset.split("train").fingerprint
        assert selective.fitted()[0].fingerprint == dataset.select(small_selection().rows).fingerprint
        with pytest.raises(RunError, match="was started on data with fingerprint"):
            Run.open(selective.folder, small_dataset(seed=1)).fitted()

    @pytest.mark.parametrize("damage", ["lost", "empty", "of all images", "of others"])
    def test_a_run_that_lost_its_selection_is_not_resumed(self, tmp_path: Path, damage: str) -> None:
        run = interrupted(small_config(), small_dataset(), tmp_path, (0, 0), selection=small_selection())
        rows = np.load(tmp_path / ROWS)
        (tmp_path / ROWS).unlink()
        if damage == "empty":
            (tmp_path / ROWS).touch()
        elif damage == "of all images":
            np.save(tmp_path / ROWS, np.ones_like(rows))
        elif damage == "of others":
            np.save(tmp_path / ROWS, rows[:100])
        with pytest.raises(RunError, match=r"is damaged .*, so the images to fit on are unknown; start again"):
            run.fit()

    def test_a_selection_of_other_data_is_refused(self, tmp_path: Path) -> None:
        few = small_dataset().select(np.arange(150))
        with pytest.raises(DatasetError, match="the selection is of 200 images, but 'drawn' has 150"):
            Run.start(small_config(), few, tmp_path / "run", selection=small_selection())
        assert not (tmp_path / "run").exists()

    def test_an_empty_selection_is_too_few_images(self, tmp_path: Path) -> None:
        selection = Selection(rows=np.zeros(200, np.bool_), dropped=160)
        with pytest.raises(DatasetError, match="0 training images"):
            Run.start(small_config(), small_dataset(), tmp_path / "run", selection=selection)


class TestOlderVersions:
    """Run folders of older versions open, resume and export."""

    def test_a_run_of_an_older_version_ends_with_the_same_weights(self, undisturbed: Run, tmp_path: Path) -> None:
        config = further_config(undisturbed.folder)
        whole = finished(config, small_dataset(), tmp_path / "whole")
        interrupted(config, small_dataset(), tmp_path / "run", (2, 2))
        write_as_an_older_version(tmp_path / "run")
        run = Run.open(tmp_path / "run", small_dataset())
        assert run.config == config
        run.fit()
        assert_same_weights(run, whole)
        write_as_an_older_version(tmp_path / "run")
        path, parity = Run.open(tmp_path / "run", small_dataset()).export()
        assert parity.max_difference < 0.01
        expected = OnnxClassifier(whole.export()[0])
        crops = list(small_dataset().images[:8])
        np.testing.assert_array_equal(OnnxClassifier(path).predict_proba(crops), expected.predict_proba(crops))

    def test_a_stored_run_of_an_older_version_is_resumed_and_exported(self, selective: Run, tmp_path: Path) -> None:
        """`old_run` is `selective`, interrupted after two epochs, by the version before the class `Run`."""
        folder = tmp_path / "run"
        folder.mkdir()
        for file in OLD_RUN.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        environment = (folder / ENVIRONMENT).read_text(encoding="utf-8")
        known = json.loads(environment)["data"]["fingerprint"]
        (folder / ENVIRONMENT).write_text(environment.replace(known, small_dataset().fingerprint), encoding="utf-8")
        before = Run.open(folder).metrics()
        run = Run.open(folder, small_dataset())
        assert run.config == small_config()
        assert replace(run.spec, recipe={}) == replace(selective.spec, recipe={})
        run.fit()
        assert run.metrics()[:2] == before
        assert "train_cross_entropy" not in before[0]
        assert epochs_of(run) == [1, 2, 3, 4]
        losses = [row["valid_loss"] for row in run.metrics()]
        assert losses == pytest.approx([row["valid_loss"] for row in selective.metrics()], abs=1e-3)
        run.draw_curves()
        assert run.export()[1].max_difference < 0.01


def write_as_an_older_version(folder: Path) -> None:
    """Rename the backbone in a run's files to "body", as older versions wrote it."""

    def renamed(text: str) -> str:
        return text.replace("backbone", "body")

    for name in (CONFIG, ENVIRONMENT):
        (folder / name).write_text(renamed((folder / name).read_text(encoding="utf-8")), encoding="utf-8")
    with safe_open(folder / CHECKPOINT, framework="pt") as file:
        header = {key: renamed(value) for key, value in file.metadata().items()}
    tensors = {renamed(name): tensor for name, tensor in load_file(folder / CHECKPOINT).items()}
    save_file(tensors, folder / CHECKPOINT, metadata=header)
    assert {"net.body.0.0.weight", "average.body.0.0.weight", "momentum.body.1.0.weight"} <= tensors.keys()
