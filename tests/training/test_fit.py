import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mien.data.audit import Selection
from mien.data.dataset import Dataset
from mien.data.synthetic import draw_faces
from mien.errors import ConfigError, DatasetError, ModelError, OutputError, RunError
from mien.labels import FERPLUS, LabelSet
from mien.models.classifier import OnnxClassifier
from mien.models.onnx_file import read_spec
from mien.models.spec import Preprocess
from mien.nets.export import WithPixels
from mien.nets.nets import NETS, build_net
from mien.training.checkpoint import load_average
from mien.training.finish import export_run
from mien.training.fit import (
    CHECKPOINT,
    CONFIG,
    ENVIRONMENT,
    ROWS,
    Silent,
    _batches,
    _optimizer,
    _tensors,
    fitted_pictures,
    learning_rate,
    read_metrics,
    read_run,
    resume,
    start,
)
from mien.training.recipe import Precision, Stage, TrainConfig

EPOCHS = 4


def small_config(net: str = "tiny", precision: Precision = "32-true") -> TrainConfig:
    """All that could go astray when a run is resumed is switched on: two sizes, mixup, the average, dropout by net."""
    return TrainConfig(
        net=net,
        preprocess=Preprocess(size=24),
        stages=(Stage(size=16, epochs=2, augment=0.7), Stage(size=24, epochs=EPOCHS - 2)),
        batch_size=32,
        warmup_epochs=1,
        ema_decay=0.9,
        mixup_alpha=0.4,
        mixup_epochs=3,
        precision=precision,
    )


def small_dataset(seed: int = 0) -> Dataset:
    faces = draw_faces(200, seed=seed, size=24)
    votes = np.random.default_rng(seed).multinomial(10, [0.1] * 10, len(faces))
    return replace(faces, votes=votes.astype(np.float32))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Pictures this small are not worth a second thread, least of all on a machine that is busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.cpu_count", lambda: 1)
        yield


def small_selection() -> Selection:
    """Return a selection of all of train but 20 pictures."""
    rows = small_dataset().splits == 0
    rows[np.flatnonzero(rows)[::8][:20]] = False
    return Selection(rows=rows, dropped=20)


class Interrupted(Exception):
    pass


class Interrupter(Silent):
    """Raises in the given epoch, at the given step of it or, for step 0, when its checkpoint is written."""

    def __init__(self, epoch: int, step: int) -> None:
        self.at = (epoch, step)

    def step(self, epoch: int, done: int, total: int, loss: float, images_per_second: float) -> None:
        if (epoch, done) == self.at:
            raise Interrupted

    def epoch(self, row: Mapping[str, float]) -> None:
        if (row["epoch"] - 1, 0) == self.at:
            raise Interrupted


class Teller(Silent):
    """Says on standard output where it is."""

    def step(self, epoch: int, done: int, total: int, loss: float, images_per_second: float) -> None:
        print(epoch, done, flush=True)


def start_telling(run: str) -> None:
    """Run in another process, to be killed."""
    os.cpu_count = lambda: 1  # as in `_one_thread`
    start(small_config(), small_dataset(), Path(run), report=Teller())


def assert_same_weights(run: Path, expected: Path) -> None:
    ours, theirs = load_file(run / CHECKPOINT), load_file(expected / CHECKPOINT)
    assert ours.keys() == theirs.keys()
    assert any(name.startswith("momentum.") for name in ours)
    assert any(name.startswith("average.heads.ferplus") for name in ours)
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert different == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `small_config` on `small_dataset`."""
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    start(small_config(), small_dataset(), run)
    return run


def test_a_net_learns_the_drawn_faces(tmp_path: Path) -> None:
    config = TrainConfig(
        net="tiny",
        preprocess=Preprocess(size=16),
        stages=(Stage(size=16, epochs=8, augment=0),),
        batch_size=16,
        learning_rate=0.3,
        ema_decay=0.95,
        label_smoothing=0,
        precision="32-true",
    )
    start(config, draw_faces(1000, seed=0, size=32), tmp_path / "run")
    rows = read_metrics(tmp_path / "run")
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] / 2
    assert rows[-1]["valid_accuracy"] > 0.6  # chance is 0.14


def test_a_run_folder_tells_how_it_was_made(undisturbed: Path) -> None:
    config, environment = read_run(undisturbed)
    assert config == small_config()
    assert environment["data"]["fingerprint"] == small_dataset().fingerprint
    assert {"mien", "torch", "python", "processor", "cores", "commit", "precision"} <= set(environment)
    net, spec = load_average(undisturbed / CHECKPOINT)
    assert not net.training
    assert [head.labels.name for head in spec.heads] == ["fer2013", "ferplus"]
    assert spec.recipe == json.loads(json.dumps(asdict(config) | {"name": "tiny"}))


def test_metrics_have_a_row_for_each_epoch(undisturbed: Path) -> None:
    rows = read_metrics(undisturbed)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["size"] for row in rows] == [16, 16, 24, 24]
    assert rows[-1]["learning_rate"] == pytest.approx(0)
    assert all(math.isfinite(value) for row in rows for value in row.values())


@pytest.mark.parametrize(
    ("epoch", "step"), [(0, 1), (2, 3), (2, 0)], ids=["in the first epoch", "within an epoch", "between epochs"]
)
def test_an_interrupted_run_ends_with_the_same_weights(
    undisturbed: Path, tmp_path: Path, epoch: int, step: int
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(small_config(), small_dataset(), run, report=Interrupter(epoch, step))
    resume(run, small_dataset())
    assert_same_weights(run, undisturbed)
    assert [row["epoch"] for row in read_metrics(run)] == [1, 2, 3, 4]


def test_a_run_interrupted_again_and_again_ends_with_the_same_weights(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(small_config(), small_dataset(), run, report=Interrupter(1, 2))
    for epoch, step in ((1, 4), (2, 1), (3, 5)):
        with pytest.raises(Interrupted):
            resume(run, small_dataset(), report=Interrupter(epoch, step))
    resume(run, small_dataset())
    assert_same_weights(run, undisturbed)


@pytest.mark.parametrize(("net", "precision"), [("model2020", "32-true"), ("tiny", "bf16-mixed")])
def test_dropout_and_half_precision_resume_too(tmp_path: Path, net: str, precision: Precision) -> None:
    config = replace(small_config(net, precision), learning_rate=0.01)
    start(config, small_dataset(), tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(config, small_dataset(), tmp_path / "parts", report=Interrupter(2, 2))
    resume(tmp_path / "parts", small_dataset())
    assert_same_weights(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    code = f"import runpy; runpy.run_path({__file__!r})['{start_telling.__name__}']({str(run)!r})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.split() == ["2", "2"]:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert 2 <= len(read_metrics(run)) < EPOCHS
    resume(run, small_dataset())
    assert_same_weights(run, undisturbed)
    assert [row["epoch"] for row in read_metrics(run)] == [1, 2, 3, 4]


def test_a_row_without_its_checkpoint_is_written_anew(undisturbed: Path, tmp_path: Path) -> None:
    """A kill can fall between the two files."""
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(small_config(), small_dataset(), run, report=Interrupter(1, 0))
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train_loss": 99.0}\n')
    resume(run, small_dataset())
    rows = read_metrics(run)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[2]["train_loss"] == read_metrics(undisturbed)[2]["train_loss"]


def test_a_finished_run_is_left_as_it_is(undisturbed: Path) -> None:
    before = (undisturbed / CHECKPOINT).read_bytes()
    assert resume(undisturbed, small_dataset()) == undisturbed / CHECKPOINT
    assert (undisturbed / CHECKPOINT).read_bytes() == before


def test_other_data_cannot_resume_a_run(undisturbed: Path) -> None:
    with pytest.raises(RunError, match="was started on data with fingerprint"):
        resume(undisturbed, small_dataset(seed=1))


def test_a_run_cannot_be_started_twice(undisturbed: Path) -> None:
    with pytest.raises(RunError, match="is a run already; go on with it"):
        start(small_config(), small_dataset(), undisturbed)


@pytest.mark.parametrize("content", [None, "", "{}", '"text"', '{"data": {}}', "[" * 200_000], ids=range(6))
def test_a_folder_that_is_no_run_cannot_be_resumed(tmp_path: Path, content: str | None) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(asdict(small_config())))
    if content is not None:
        (tmp_path / ENVIRONMENT).write_text(content)
    with pytest.raises(RunError, match="is not a run folder"):
        resume(tmp_path, small_dataset())


def test_a_damaged_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        start(small_config(), small_dataset(), tmp_path / "run", report=Interrupter(0, 0))
    checkpoint = tmp_path / "run" / CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(RunError, match="cannot read checkpoint"):
        resume(tmp_path / "run", small_dataset())
    with pytest.raises(RunError, match="cannot read checkpoint"):
        load_average(checkpoint)


@pytest.fixture(scope="module")
def selective(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `small_config` on `small_selection`."""
    run = tmp_path_factory.mktemp("runs") / "selective"
    start(small_config(), small_dataset(), run, selection=small_selection(), audit_path=Path("audits/drawn"))
    return run


def test_a_selection_is_fitted_as_if_the_other_pictures_were_not_there(selective: Path, tmp_path: Path) -> None:
    dataset, rows = small_dataset(), small_selection().rows
    start(small_config(), dataset.select(rows | (dataset.splits != 0)), tmp_path / "run")
    assert_same_weights(selective, tmp_path / "run")
    ours, theirs = read_metrics(selective), read_metrics(tmp_path / "run")
    assert [row["valid_loss"] for row in ours] == [row["valid_loss"] for row in theirs]


def test_run_and_spec_tell_what_was_left_out_of_the_whole_dataset(selective: Path) -> None:
    data = read_run(selective)[1]["data"]
    assert data["fingerprint"] == small_dataset().fingerprint
    assert (data["audit"], data["dropped"], data["fold"]) == ("audits/drawn", 20, "")
    assert data["fitted"] == small_selection().rows.sum()
    spec = load_average(selective / CHECKPOINT)[1]
    assert spec.trained_on == {
        "name": "drawn", "fingerprint": small_dataset().fingerprint, "dropped": "20 leaks"
    }  # fmt: skip


def test_an_interrupted_run_of_a_selection_ends_with_the_same_weights(selective: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(small_config(), small_dataset(), run, selection=small_selection(), report=Interrupter(2, 3))
    resume(run, small_dataset())
    assert_same_weights(run, selective)


def test_a_run_knows_the_pictures_it_is_fitted_on(undisturbed: Path, selective: Path) -> None:
    dataset = small_dataset()
    assert fitted_pictures(undisturbed, dataset).fingerprint == dataset.split("train").fingerprint
    expected = dataset.select(small_selection().rows)
    assert fitted_pictures(selective, dataset).fingerprint == expected.fingerprint
    with pytest.raises(RunError, match="was started on data with fingerprint"):
        fitted_pictures(selective, small_dataset(seed=1))


@pytest.mark.parametrize("damage", ["lost", "empty", "of all pictures", "of others"])
def test_a_run_that_forgot_its_selection_is_not_resumed(tmp_path: Path, damage: str) -> None:
    with pytest.raises(Interrupted):
        start(small_config(), small_dataset(), tmp_path, selection=small_selection(), report=Interrupter(0, 0))
    rows = np.load(tmp_path / ROWS)
    (tmp_path / ROWS).unlink()
    if damage == "empty":
        (tmp_path / ROWS).touch()
    elif damage == "of all pictures":
        np.save(tmp_path / ROWS, np.ones_like(rows))
    elif damage == "of others":
        np.save(tmp_path / ROWS, rows[:100])
    with pytest.raises(RunError, match=r"doesn't tell what .* is fitted on"):
        resume(tmp_path, small_dataset())


def test_a_selection_of_other_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="the selection is of 200 pictures, but 'drawn' has 150"):
        start(small_config(), small_dataset().select(np.arange(150)), tmp_path / "run", selection=small_selection())
    assert not (tmp_path / "run").exists()


def test_a_selection_of_nothing_is_too_few_pictures(tmp_path: Path) -> None:
    selection = Selection(rows=np.zeros(200, np.bool_), dropped=160)
    with pytest.raises(DatasetError, match="0 pictures to train on"):
        start(small_config(), small_dataset(), tmp_path / "run", selection=selection)


def test_too_few_pictures_leave_no_run_behind(tmp_path: Path) -> None:
    few = small_dataset().select(np.arange(30))
    with pytest.raises(DatasetError, match="24 pictures to train on do not fill one batch of 32; set a smaller"):
        start(small_config(), few, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_blank_pictures_do_not_count(tmp_path: Path) -> None:
    dataset = small_dataset()
    blank = replace(dataset, images=np.full_like(dataset.images, 7))
    with pytest.raises(DatasetError, match="0 pictures to train on"):
        start(small_config(), blank, tmp_path / "run")


def test_a_diverging_run_says_so(tmp_path: Path) -> None:
    config = replace(small_config(), learning_rate=1e30, clip_norm=1e30)
    with pytest.raises(RunError, match="the loss became nan in epoch 1; try a smaller learning_rate"):
        start(config, small_dataset(), tmp_path / "run")


def test_data_without_votes_or_validation_trains_one_head(tmp_path: Path) -> None:
    faces = draw_faces(64, seed=0, size=24)
    faces = replace(faces, splits=np.zeros_like(faces.splits))
    start(small_config(), faces, tmp_path / "run")
    assert "valid_loss" not in read_metrics(tmp_path / "run")[0]
    assert load_average(tmp_path / "run" / CHECKPOINT)[1].names == ("fer2013",)


def test_votes_for_no_expression_do_not_count() -> None:
    """Where "unknown" or "not a face" leads, the raters say nothing; else the eight expressions share the whole."""
    votes = np.zeros((3, 10), np.float32)
    votes[0, [1, 2, 9]] = 6, 2, 2
    votes[1, [0, 8]] = 4, 6
    votes[2, 9] = 10
    dataset = replace(draw_faces(3, seed=0, size=24), votes=votes)
    result = _tensors(dataset, small_config())
    assert result.has_votes.tolist() == [1, 0, 0]
    assert result.votes[0].tolist() == [0, 0.75, 0.25, 0, 0, 0, 0, 0]
    assert result.votes.shape == (3, len(FERPLUS))


MINE = LabelSet("mine", ("calm", "cross", "glad", "scared", "sad", "awed", "plain"))


class Listener(Silent):
    """Keeps what a run says it starts from."""

    said = ""

    def begun(self, origin: str) -> None:
        self.said += origin


def other_dataset() -> Dataset:
    """Return faces under labels that no model knows."""
    return replace(small_dataset(seed=1), labels=MINE, votes=None, name="faces")


def further_config(init: Path, **changes: object) -> TrainConfig:
    fixed = {"init": str(init), "freeze": ("backbone.0",), "backbone_rate": 0.1, "mixup_alpha": 0.0}
    return replace(small_config(), **fixed, **changes)  # type: ignore[arg-type]


def test_a_run_starts_from_weights_with_new_heads_and_says_so(undisturbed: Path, tmp_path: Path) -> None:
    listener = Listener()
    start(further_config(undisturbed), other_dataset(), tmp_path / "run", report=listener)
    line = "started from tiny (drawn): loaded backbone; left out head fer2013, head ferplus; new head mine"
    assert listener.said == line
    config, environment = read_run(tmp_path / "run")
    assert (environment["init"], config.init) == (line, str(undisturbed))
    spec = load_average(tmp_path / "run" / CHECKPOINT)[1]
    assert spec.names == ("mine",)
    assert spec.trained_on["init"] == "tiny (drawn)"
    assert spec.recipe["init"] == undisturbed.name  # not in whose folder it lay


def test_the_first_step_is_taken_from_the_average_of_the_run_before(undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        start(further_config(undisturbed / CHECKPOINT), small_dataset(), tmp_path / "run", report=Interrupter(0, 1))
    before, begun = load_file(undisturbed / CHECKPOINT), load_file(tmp_path / "run" / CHECKPOINT)
    assert begun.keys() == {name for name in before if not name.startswith("momentum.")}
    for part in ("net", "average"):
        names = [name.removeprefix("net.") for name in begun if name.startswith("net.")]
        assert [n for n in names if not torch.equal(begun[f"{part}.{n}"], before[f"average.{n}"])] == []


def test_a_frozen_part_stays_bit_for_bit_and_the_rest_learns(undisturbed: Path, tmp_path: Path) -> None:
    start(further_config(undisturbed), other_dataset(), tmp_path / "run")
    before, after = load_file(undisturbed / CHECKPOINT), load_file(tmp_path / "run" / CHECKPOINT)
    frozen = [name for name in before if name.startswith("average.backbone.0.")]
    assert len(frozen) == 6  # a convolution, weights and statistics of its norm
    for part in ("net", "average"):
        assert [n for n in frozen if not torch.equal(after[n.replace("average", part, 1)], before[n])] == []
    assert not torch.equal(after["net.backbone.1.0.weight"], before["average.backbone.1.0.weight"])
    assert not torch.equal(after["net.backbone.1.1.running_mean"], before["average.backbone.1.1.running_mean"])
    assert not any(name.startswith("momentum.backbone.0.") for name in after)


def test_an_export_keeps_the_statistics_of_a_frozen_part(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(further_config(undisturbed), other_dataset(), tmp_path / "run")
    nets = []
    monkeypatch.setattr("mien.training.finish.export", lambda net, *_, **__: nets.append(net))
    monkeypatch.setattr("mien.training.finish.check_parity", lambda *_: None)
    export_run(tmp_path / "run", other_dataset())
    before = load_average(tmp_path / "run" / CHECKPOINT)[0]
    assert torch.equal(nets[0].backbone[0][1].running_mean, before.backbone[0][1].running_mean)
    assert torch.equal(nets[0].backbone[0][1].running_var, before.backbone[0][1].running_var)
    assert not torch.equal(nets[0].backbone[1][1].running_mean, before.backbone[1][1].running_mean)


def test_a_slow_backbone_hardly_moves_while_its_heads_learn(undisturbed: Path, tmp_path: Path) -> None:
    config = replace(further_config(undisturbed), freeze=(), backbone_rate=1e-6)
    start(config, small_dataset(), tmp_path / "run")
    before, after = load_file(undisturbed / CHECKPOINT), load_file(tmp_path / "run" / CHECKPOINT)
    backbone, head = "backbone.1.0.weight", "heads.fer2013.weight"
    assert 0 < (after[f"net.{backbone}"] - before[f"average.{backbone}"]).abs().max() < 1e-5
    assert (after[f"net.{head}"] - before[f"average.{head}"]).abs().max() > 1e-2


@pytest.mark.parametrize("at", [(0, 3), (1, 0), (2, 2)])
def test_a_resumed_run_needs_the_weights_it_started_from_no_more(
    undisturbed: Path, tmp_path: Path, at: tuple[int, int]
) -> None:
    (tmp_path / "weights.safetensors").write_bytes((undisturbed / CHECKPOINT).read_bytes())
    config = further_config(tmp_path / "weights.safetensors")
    start(config, small_dataset(), tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(config, small_dataset(), tmp_path / "run", report=Interrupter(*at))
    (tmp_path / "weights.safetensors").unlink()
    resume(tmp_path / "run", small_dataset())
    assert_same_weights(tmp_path / "run", tmp_path / "whole")


def write_as_an_older_version(run: Path) -> None:
    """Rename the backbone in a run's files to "body", as older versions wrote it."""

    def renamed(text: str) -> str:
        return text.replace("backbone", "body")

    for name in (CONFIG, ENVIRONMENT):
        (run / name).write_text(renamed((run / name).read_text(encoding="utf-8")), encoding="utf-8")
    with safe_open(run / CHECKPOINT, framework="pt") as file:
        header = {key: renamed(value) for key, value in file.metadata().items()}
    tensors = {renamed(name): tensor for name, tensor in load_file(run / CHECKPOINT).items()}
    save_file(tensors, run / CHECKPOINT, metadata=header)
    assert {"net.body.0.0.weight", "average.body.0.0.weight", "momentum.body.1.0.weight"} <= tensors.keys()


def test_a_run_of_an_older_version_is_resumed_and_exported(undisturbed: Path, tmp_path: Path) -> None:
    config = further_config(undisturbed)
    start(config, small_dataset(), tmp_path / "whole")
    with pytest.raises(Interrupted):
        start(config, small_dataset(), tmp_path / "run", report=Interrupter(2, 2))
    write_as_an_older_version(tmp_path / "run")
    assert read_run(tmp_path / "run")[0] == config
    resume(tmp_path / "run", small_dataset())
    assert_same_weights(tmp_path / "run", tmp_path / "whole")
    write_as_an_older_version(tmp_path / "run")
    path, parity = export_run(tmp_path / "run", small_dataset())
    assert parity.max_difference < 0.01
    expected = OnnxClassifier(export_run(tmp_path / "whole", small_dataset())[0])
    crops = list(small_dataset().images[:8])
    np.testing.assert_array_equal(OnnxClassifier(path).predict_proba(crops), expected.predict_proba(crops))


@pytest.mark.parametrize("name", ["train", "faces.v2"])
def test_labels_may_be_called_as_pytorch_allows_no_module(name: str, tmp_path: Path) -> None:
    faces = draw_faces(100, seed=0, size=24)
    faces = replace(faces, labels=LabelSet(name, tuple("abcdefg")))
    config = replace(small_config(), stages=(Stage(size=24, epochs=1),))
    run, listener = tmp_path / "run", Listener()
    start(config, faces, run)
    path, parity = export_run(run, faces)
    assert OnnxClassifier(path).spec.names == (name,)
    assert parity.max_difference < 0.01
    for init in (run, path):
        start(replace(config, init=str(init)), faces, tmp_path / f"from-{init.name}", report=listener)
        assert f"loaded backbone, head {name}; left out nothing; new nothing" in listener.said


def test_the_average_of_a_run_of_one_step_has_moved(tmp_path: Path) -> None:
    faces = draw_faces(60, seed=0, size=24)
    config = replace(small_config(), stages=(Stage(size=24, epochs=1),))
    assert int((faces.splits == 0).sum()) // config.batch_size == 1
    start(config, faces, tmp_path / "run")
    torch.manual_seed(config.seed)
    begun = build_net("tiny", config.preprocess, {"fer2013": 7})
    with pytest.raises(Interrupted):
        start(config, faces, tmp_path / "begun", report=Interrupter(0, 1))
    ended = load_average(tmp_path / "run" / CHECKPOINT)[0]
    assert all((a != b).any() for a, b in zip(ended.parameters(), begun.parameters(), strict=True))


def test_a_run_that_has_no_place_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot make folder '.*file/run': .*; choose another place"):
        start(small_config(), small_dataset(), tmp_path / "file" / "run", report=Interrupter(0, 1))


def test_a_run_starts_from_an_exported_model(undisturbed: Path, tmp_path: Path) -> None:
    """Its batch norms were folded away, so they take their statistics from the first batch."""
    path, _ = export_run(undisturbed, small_dataset(), target=tmp_path / "tiny.onnx", storage="float32")
    config = replace(further_config(path), freeze=(), stages=(Stage(size=24, epochs=1, augment=0),))
    with pytest.raises(Interrupted):
        start(config, small_dataset(), tmp_path / "run", report=Interrupter(0, 1))
    net, spec = load_average(tmp_path / "run" / CHECKPOINT)
    pictures = torch.from_numpy(draw_faces(5, seed=3, size=24).images)
    classifier = OnnxClassifier(path)
    temperatures = [head.temperature for head in classifier.spec.heads]
    with torch.inference_mode():
        got = WithPixels(net, "standardize", temperatures)(pictures)[0].numpy()
    np.testing.assert_allclose(got, classifier.predict_proba(list(pictures.numpy())), atol=1e-4)
    assert spec.trained_on["init"] == "tiny (drawn)"
    assert (net.backbone[0][1].running_var - 1).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"net": "base"}, ConfigError, "has weights of net 'tiny', the recipe trains 'base'; .* --set net=tiny"),
        ({"freeze": ("backbone.7",)}, ConfigError, "cannot freeze 'backbone.7', the net has no such part"),
        ({"preprocess": Preprocess(size=24, channels=3)}, ModelError, "the recipe's net has"),
        ({"init": "runs/none.safetensors"}, RunError, "cannot read checkpoint"),
    ],
)
def test_weights_that_do_not_fit_leave_no_run_behind(
    undisturbed: Path, tmp_path: Path, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    config = replace(further_config(undisturbed), **changes)  # type: ignore[arg-type]
    with pytest.raises(error, match=message):
        start(config, small_dataset(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_without_its_settings_is_left_alone(undisturbed: Path, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"weights")
    with pytest.raises(RunError, match="holds a checkpoint, but not how it was trained; name another --run"):
        start(small_config(), small_dataset(), tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == b"weights"


def test_a_run_that_has_only_begun_is_not_exported(undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        start(further_config(undisturbed), small_dataset(), tmp_path / "run", report=Interrupter(0, 1))
    with pytest.raises(RunError, match="has no checkpoint yet; go on with it"):
        export_run(tmp_path / "run", small_dataset())


def test_grey_pictures_lie_small_in_memory_and_reach_a_large_net_in_colour() -> None:
    config = TrainConfig(
        net="tiny", preprocess=Preprocess(size=64, channels=3), stages=(Stage(size=64, epochs=1, augment=0),),
        batch_size=16,
    )  # fmt: skip
    dataset = draw_faces(16, seed=0, size=24)
    tensors = _tensors(dataset, config)
    assert tensors.pictures.shape == (16, 24, 24, 1)
    pictures, targets = next(_batches(tensors, config, config.stages[0], epoch=0, rank=0, world=1))
    assert pictures.shape == (16, 3, 64, 64)
    assert torch.equal(pictures[:, 0], pictures[:, 2])
    order = [dataset.targets.tolist().index(target) for target in targets.first.tolist()]
    wanted = cv2.resize(dataset.images[order[0], :, :, 0], (64, 64), interpolation=cv2.INTER_LINEAR)
    same = [np.abs(picture[0].numpy() - wanted).max() < 1 for picture in pictures]
    assert any(same)  # as it would be resized for a prediction


def test_one_command_fine_tunes_on_a_folder_of_other_classes(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from commands import run as run_command  # not on the path of the scripts that import this file

    monkeypatch.chdir(tmp_path)
    faces = draw_faces(210, seed=2, size=40)
    for i, (image, target) in enumerate(zip(faces.images, faces.targets, strict=True)):
        if target in (0, 3, 5):
            folder = tmp_path / "faces" / ("grumpy", "", "", "beaming", "", "startled")[target]
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{i}.png"), cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    settings = ["net=tiny", "batch_size=8", "stages=[{size=24,epochs=3,augment=0.2}]", "preprocess.size=24"]
    flags = [word for setting in (*settings, "precision=32-true") for word in ("--set", setting)]
    command = ("train", "finetune", "--data", "faces", "--init", undisturbed, "--freeze", "backbone.0", "--run", "run")
    assert run_command(*command, *flags) == 0
    assert "loaded backbone; left out head fer2013, head ferplus; new head faces" in capsys.readouterr().out
    spec = read_spec(Path("run/finetuned.onnx"))
    assert spec.labels.labels == ("beaming", "grumpy", "startled")
    assert spec.recipe["freeze"] == ["backbone.0"]
    assert run_command("train", "--resume", "run", "--init", "base") == 2
    assert "a resumed run goes on from its own checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("epochs_done", "expected"),
    [(0, 0.01), (1, 0.055), (2, 0.1), (6, 0.05), (8, 0.1 * (1 - math.sqrt(0.5)) / 2), (10, 0)],
)
def test_the_learning_rate_warms_up_and_then_follows_a_cosine(epochs_done: float, expected: float) -> None:
    config = TrainConfig(net="tiny", learning_rate=0.1, warmup_epochs=2, stages=(Stage(size=48, epochs=10),))
    assert learning_rate(config, epochs_done) == pytest.approx(expected, abs=1e-12)


def test_a_run_without_warm_up_begins_at_the_peak() -> None:
    config = TrainConfig(net="tiny", learning_rate=0.1, warmup_epochs=0, stages=(Stage(size=48, epochs=4),))
    assert learning_rate(config, 0) == pytest.approx(0.1)


def test_a_run_shorter_than_its_warm_up_ends() -> None:
    config = TrainConfig(net="tiny", learning_rate=0.1, warmup_epochs=5, stages=(Stage(size=48, epochs=2),))
    assert [learning_rate(config, e) for e in (0, 1, 2)] == pytest.approx([0.01, 0.055, 0.1])


@pytest.mark.slow
def test_two_processes_train_about_as_well_as_one(undisturbed: Path, tmp_path: Path) -> None:
    """Fabric starts the second process by calling the script again, so this needs a script."""
    script = tmp_path / "train.py"
    script.write_text(
        "import runpy, sys\n"
        "from pathlib import Path\n"
        "from mien.training.fit import start\n"
        f"here = runpy.run_path({__file__!r})\n"
        "start(here['small_config'](), here['small_dataset'](), Path(sys.argv[1]), devices=2)\n"
    )
    run = tmp_path / "run"
    done = subprocess.run([sys.executable, str(script), str(run)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ours, theirs = read_metrics(run), read_metrics(undisturbed)
    assert [row["epoch"] for row in ours] == [1, 2, 3, 4]
    assert ours[-1]["train_loss"] == pytest.approx(theirs[-1]["train_loss"], abs=0.3)
    assert ours[-1]["valid_loss"] == pytest.approx(theirs[-1]["valid_loss"], abs=0.3)


@pytest.mark.parametrize("net", NETS)
def test_weights_of_convolutions_and_dense_layers_decay_and_nothing_else_does(net: str) -> None:
    """Not biases, nor norms, nor embeddings of places, though these have as many axes as a convolution's weight."""
    built = build_net(net, Preprocess(size=32), {"fer2013": 7})
    names = {parameter: name for name, parameter in built.named_parameters()}
    groups = _optimizer(built, small_config(net)).param_groups
    decayed = {names[p] for group in groups if group["weight_decay"] > 0 for p in group["params"]}
    kept = {names[p] for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    assert decayed | kept == set(names.values())
    assert not decayed & kept
    assert all(name.endswith(".weight") and built.get_parameter(name).ndim in (2, 4) for name in decayed)
    assert {name for name in kept if built.get_parameter(name).ndim > 1} == (
        {"backbone.7.weight"} if net == "base-vit" else set()
    )
