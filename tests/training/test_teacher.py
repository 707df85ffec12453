"""Soft labels: their file, their part in the objective, and that no image was seen by its teacher."""

from __future__ import annotations

from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mien.data.audit import Selection
from mien.data.dataset import Dataset
from mien.errors import DatasetError, RunError
from mien.labels import FER2013, FERPLUS
from mien.models.classifier import OnnxClassifier
from mien.training import Run, TrainConfig
from mien.training.batches import to_tensors
from mien.training.crossfit import PENALTY, out_of_fold
from mien.training.loss import HeadLoss, training_loss
from mien.training.targets import Classes, Distributions, Targets
from mien.training.teacher import Teacher, read_teacher, save_teacher
from runs import assert_same_weights, finished, small_config, small_dataset, small_selection, stopped

FACES = small_dataset()
HEADS = [FER2013, FERPLUS]


def teacher_of(dataset: Dataset = FACES) -> Teacher:
    """Return random soft labels of the training images for the head fer2013."""
    rows = np.random.default_rng(0).dirichlet(np.ones(7), len(dataset)).astype(np.float32)
    rows[dataset.splits != 0] = np.nan
    return Teacher(dataset.fingerprint, {"fer2013": FER2013.labels}, {"fer2013": rows}, ("a", "b"))


def test_a_file_of_soft_labels_reads_back(tmp_path: Path) -> None:
    save_teacher(teacher_of(), tmp_path / "t.npz")
    read = read_teacher(tmp_path / "t.npz", FACES, HEADS)
    assert (read.labels, read.members) == ({"fer2013": FER2013.labels}, ("a", "b"))
    np.testing.assert_allclose(read.probabilities["fer2013"], teacher_of().probabilities["fer2013"], atol=1e-3)


def test_soft_labels_are_softened_by_the_temperature() -> None:
    teacher = Teacher("", {"fer2013": FER2013.labels}, {"fer2013": np.eye(7, dtype=np.float32)[:2] * 0.9 + 0.1 / 7})
    soft = teacher.distributions(HEADS, temperature=2.0)
    assert soft.keys() == {"fer2013"}
    first = soft["fer2013"].probabilities[0]
    assert float(first.sum()) == pytest.approx(1)
    assert float(first[0] / first[1]) == pytest.approx(((0.9 + 0.1 / 7) / (0.1 / 7)) ** 0.5)


def test_a_taught_head_has_the_loss_by_labels_and_by_the_teacher() -> None:
    logits = {"mine": torch.tensor([[log(0.8), log(0.2)]])}
    taught = {"mine": Distributions(torch.tensor([[0.5, 0.5]]), torch.ones(1))}
    targets = Targets({"mine": Classes(torch.tensor([0]))}, taught=taught)
    loss = training_loss(logits, targets, {"mine": HeadLoss(distil_weight=0.7, temperature=2.0)}, smoothing=0.0)
    student = torch.tensor([0.8, 0.2]).sqrt() / torch.tensor([0.8, 0.2]).sqrt().sum()
    expected = -0.3 * log(0.8) - 0.7 * 4 * 0.5 * float(student.log().sum())
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_images_without_soft_labels_do_not_count() -> None:
    soft = teacher_of().distributions(HEADS, temperature=1.0)["fer2013"]
    assert (soft.counted.numpy() > 0).tolist() == (FACES.splits == 0).tolist()
    longer = soft.followed_by(3)
    assert longer.probabilities.shape == (len(FACES) + 3, 7)
    assert longer.counted[-3:].tolist() == [0, 0, 0]


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    path = tmp_path / "t.npz"
    save_teacher(teacher_of(), path)
    return replace(small_config(), teacher=str(path))


def test_a_taught_run_resumes_and_records_its_teacher(config: TrainConfig, undisturbed: Run, tmp_path: Path) -> None:
    whole = finished(config, FACES, tmp_path / "whole")
    run = stopped(Run.start(config, FACES, tmp_path / "parts"), (2, 2))
    Path(config.teacher).unlink()  # the run has a copy
    run.fit()
    assert_same_weights(run, whole)
    assert run.spec.trained_on["teacher"].startswith("t.npz (SHA-256 ")
    assert run.spec.recipe["teacher"] == "t.npz"
    assert run.metrics()[-1]["train_loss"] != undisturbed.metrics()[-1]["train_loss"]


def test_a_teacher_that_changed_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    run = stopped(Run.start(config, FACES, tmp_path / "run"), (0, 0))
    save_teacher(replace(teacher_of(), members=("c",)), tmp_path / "run" / "teacher.npz")
    with pytest.raises(RunError, match="has changed since the start"):
        run.fit()


def test_a_trained_run_needs_its_teacher_no_longer(config: TrainConfig, tmp_path: Path) -> None:
    run = finished(config, FACES, tmp_path / "run")
    (tmp_path / "run" / "teacher.npz").unlink()
    before = run.checkpoint.read_bytes()
    again = Run.open(tmp_path / "run", FACES)
    again.fit()
    again.export()
    assert again.finished
    assert run.checkpoint.read_bytes() == before


def test_soft_labels_follow_a_selection() -> None:
    rows = (FACES.splits == 0) & (np.arange(len(FACES)) % 2 == 0)
    chosen = teacher_of().select(rows).probabilities["fer2013"]
    np.testing.assert_array_equal(chosen, teacher_of().probabilities["fer2013"][rows])


def test_a_taught_run_on_a_selection_resumes_with_the_same_soft_labels(config: TrainConfig, tmp_path: Path) -> None:
    whole = Run.start(config, FACES, tmp_path / "whole", selection=small_selection())
    whole.fit()
    run = stopped(Run.start(config, FACES, tmp_path / "parts", selection=small_selection()), (1, 0))
    run.fit()
    assert_same_weights(run, whole)


def test_soft_labels_of_blank_images_are_dropped_with_them() -> None:
    images = FACES.images.copy()
    images[2] = 7
    blank, kept = replace(FACES, images=images), np.arange(len(FACES)) != 2
    data = to_tensors([blank], HEADS, ["fer2013"], small_config(), teacher=teacher_of(), drop_blanks=True)
    expected = teacher_of().select(kept).distributions(HEADS, temperature=2.0)["fer2013"]
    assert torch.equal(data.targets.taught["fer2013"].probabilities, expected.probabilities)
    assert torch.equal(data.targets["fer2013"].first, torch.from_numpy(FACES.targets[kept]))


@pytest.mark.parametrize("content", [None, b"", b"PK", b"text"])
def test_a_file_that_has_no_soft_labels_raises(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(DatasetError, match="is not a file of soft labels"):
        read_teacher(tmp_path / "t.npz", FACES, HEADS)
    with pytest.raises(DatasetError, match=r"soft labels.*t\.npz|t\.npz.*soft labels"):
        Run.start(replace(small_config(), teacher=str(tmp_path / "t.npz")), FACES, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("about", np.array("{}"), "'about.fingerprint' is missing"),
        ("head fer2013", None, "no array 'head fer2013'"),
        ("head fer2013", np.array([{}]), "an array of objects"),
        ("head fer2013", np.zeros((5, 7), np.float64), "expected float16 with 2 dimensions"),
        ("head fer2013", np.zeros((5, 8), np.float16), "expected a column per label"),
        ("head fer2013", np.full((5, 7), -1, np.float16), "are not probabilities"),
    ],
)
def test_a_damaged_file_of_soft_labels_is_refused_in_one_line(
    tmp_path: Path, name: str, array: np.ndarray | None, reason: str
) -> None:
    path = tmp_path / "t.npz"
    save_teacher(teacher_of(), path)
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files if key != name}
    np.savez(path, **arrays, **({} if array is None else {name: array}))
    with pytest.raises(DatasetError, match=f"is not a file of soft labels .*{reason}.*mien soft-labels") as caught:
        read_teacher(path, FACES, HEADS)
    assert "\n" not in str(caught.value)


def test_soft_labels_that_expand_beyond_measure_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.full((100_000, 7), np.nan, np.float32)
    save_teacher(Teacher("", {"fer2013": FER2013.labels}, {"fer2013": rows}), tmp_path / "t.npz")
    monkeypatch.setattr("mien.data.damage.SMALL_BYTES", 1000)
    with pytest.raises(DatasetError, match="expands to more than 100 times its size"):
        read_teacher(tmp_path / "t.npz", FACES, HEADS)


def test_soft_labels_of_other_data_or_heads_are_refused(tmp_path: Path) -> None:
    save_teacher(teacher_of(), tmp_path / "t.npz")
    with pytest.raises(DatasetError, match="are for data with fingerprint"):
        read_teacher(tmp_path / "t.npz", small_dataset(seed=1), HEADS)
    with pytest.raises(DatasetError, match="are of fer2013; the net has ferplus"):
        read_teacher(tmp_path / "t.npz", FACES, [FERPLUS])


@pytest.fixture(scope="module")
def folds(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two runs, each on the half of the training images that the other leaves out."""
    runs = []
    for fold in range(2):
        rows = (FACES.splits == 0) & (np.arange(len(FACES)) % 2 != fold)
        selection = Selection(rows=rows, fold=f"{fold} of 2")
        config = replace(small_config(), seed=fold)
        runs.append(finished(config, FACES, tmp_path_factory.mktemp("folds") / str(fold), selection=selection))
        runs[-1].export()
    return runs


def test_no_image_was_seen_by_its_teacher(folds: list[Run]) -> None:
    teacher = out_of_fold(folds, FACES)
    for fold, run in enumerate(folds):
        left_out = np.flatnonzero((FACES.splits == 0) & (np.arange(len(FACES)) % 2 == fold))
        assert not run.fitted_rows(FACES)[left_out].any()
        expected = OnnxClassifier(run.model).predict_proba(list(FACES.images[left_out]), head="ferplus")
        np.testing.assert_allclose(teacher.probabilities["ferplus"][left_out], expected, atol=1e-5)
    assert np.isnan(teacher.probabilities["fer2013"][FACES.splits != 0]).all()


def test_an_image_that_every_run_was_fitted_on_has_no_teacher(folds: list[Run]) -> None:
    with pytest.raises(RunError, match="training images were left out by no run; give the runs of all folds"):
        out_of_fold(folds[:1], FACES)


def test_runs_on_other_data_or_on_all_images_are_refused(folds: list[Run], undisturbed: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="was started on other data"):
        out_of_fold(folds, small_dataset(seed=1))
    with pytest.raises(RunError, match="is not on a fold; train with --audit, --folds and --fold"):
        out_of_fold([undisturbed], FACES)


def test_runs_that_start_from_weights_of_the_data_are_refused(
    folds: list[Run], undisturbed: Run, tmp_path: Path
) -> None:
    """Weights of a run on all images have seen those that a fold leaves out, whatever the data was called then."""
    config = replace(small_config(), init=str(undisturbed.folder))
    rows = folds[0].fitted_rows(FACES)
    run = Run.start(config, FACES, tmp_path / "run", selection=Selection(rows=rows, fold="0 of 2"))
    assert run.spec.trained_on["init"] == f"tiny ({FACES.name} {FACES.fingerprint[:12]})"
    for name in (FACES.name, "renamed"):
        with pytest.raises(RunError, match="its folds are not unseen"):
            out_of_fold([run, folds[1]], replace(FACES, name=name))


def test_runs_of_other_heads_are_refused(folds: list[Run], tmp_path: Path) -> None:
    selection = Selection(rows=folds[1].fitted_rows(FACES), fold="1 of 2")
    unvoted = finished(replace(small_config(), ferplus_weight=0.0), FACES, tmp_path / "run", selection=selection)
    unvoted.export()
    with pytest.raises(RunError, match="has other heads than"):
        out_of_fold([folds[0], unvoted], FACES)


def test_all_runs_are_checked_before_the_first_answers(folds: list[Run], undisturbed: Run) -> None:
    done: list[tuple[int, int | None]] = []
    for runs in ([*folds, undisturbed], folds[:1]):
        with pytest.raises(RunError):
            out_of_fold(runs, FACES, progress=lambda *steps: done.append(steps))
    assert done == []


def test_votes_are_stacked_by_regressions_fitted_on_other_images(folds: list[Run]) -> None:
    """scikit-learn is the oracle."""
    teacher = out_of_fold(folds, FACES)
    stacked = out_of_fold(folds, FACES, stack_votes=True)
    assert FACES.votes is not None
    rows = [*(np.log(found + 1e-4) for found in teacher.probabilities.values()), np.log(FACES.votes + 1)]
    features = np.concatenate(rows, axis=1)
    for run in folds:
        fitted = run.fitted_rows(FACES)
        left_out = (FACES.splits == 0) & ~fitted
        scaler = StandardScaler().fit(features[fitted])
        oracle = LogisticRegression(C=1 / (PENALTY * fitted.sum()), tol=1e-8, max_iter=5000)
        oracle.fit(scaler.transform(features[fitted]), FACES.targets[fitted])
        expected = np.zeros((left_out.sum(), 7))
        expected[:, oracle.classes_] = oracle.predict_proba(scaler.transform(features[left_out]))
        np.testing.assert_allclose(stacked.probabilities["fer2013"][left_out], expected, atol=0.02)
    np.testing.assert_array_equal(stacked.probabilities["ferplus"], teacher.probabilities["ferplus"])
    assert np.isnan(stacked.probabilities["fer2013"][FACES.splits != 0]).all()
    assert stacked.members == (*teacher.members, "FER+ votes")


def test_votes_can_only_be_stacked_where_there_are_some(folds: list[Run]) -> None:
    with pytest.raises(DatasetError, match=r"has no FER\+ votes to stack; train the runs with them"):
        out_of_fold(folds, replace(FACES, votes=None), stack_votes=True)
    others = replace(FACES, labels=replace(FER2013, name="others"))
    with pytest.raises(DatasetError, match="no votes can be stacked for 'others': the runs have fer2013, ferplus"):
        out_of_fold(folds, others, stack_votes=True)
