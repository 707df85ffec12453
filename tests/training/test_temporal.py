"""Temporal models are trained, exported, and their steps compared with PyTorch's own GRU."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from commands import run
from mien.data.dataset import Dataset
from mien.data.sequences import read_clips
from mien.data.synthetic import draw_faces
from mien.errors import ConfigError, DatasetError, OutputError
from mien.evaluation.temporal import (
    PredictedSequence,
    compare_smoothing,
    predict_sequences,
    run_temporal,
    score_labels,
    smooth,
)
from mien.labels import FER2013, LabelSet
from mien.models.classifier import OnnxClassifier, load_classifier
from mien.models.onnx_file import read_spec
from mien.models.temporal import TemporalModel
from mien.nets.temporal import TemporalNet
from mien.training import TemporalConfig, temporal_data, train_temporal
from mien.training.temporal import export_temporal, fit_temporal, step_difference
from mien.vision.detect import WholeImage

ROOT = Path(__file__).parents[2]
WIDTH = 15
SMALL = TemporalConfig(drawn=2, extras=1, stills=2, state=16, steps=3, batch_size=2)


@pytest.fixture(autouse=True)
def few_are_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal_data, "HELD_OUT", (1, 1))


def write_clips(root: Path, *splits: str, n: int = 4) -> Path:
    """Write a clip of n frames, as a folder, per split."""
    for split in splits:
        folder = root / split / "happy" / "one"
        folder.mkdir(parents=True)
        for i in range(n):
            cv2.imwrite(str(folder / f"{i}.png"), np.full((60, 60, 3), 30 * i, np.uint8))
    return root


def noisy(n: int, *, seed: int, certainty: float = 1.0) -> list[PredictedSequence]:
    """Return sequences whose label changes once, with noisy predictions per frame."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        times = np.cumsum(rng.uniform(0.03, 0.12, 40))
        targets = np.where(np.arange(40) < rng.integers(10, 30), *rng.choice(7, 2, replace=False)).astype(np.int64)
        logits = certainty * np.eye(7)[targets] + rng.normal(0, 0.8, (40, 7))
        heads = np.concatenate([np.exp(logits), np.ones((40, 8))], axis=1)
        heads[:, :7] /= heads[:, :7].sum(1, keepdims=True)
        heads[:, 7:] /= 8
        found.append(PredictedSequence(heads.astype(np.float32), times, targets))
    return found


def test_steps_of_the_file_are_those_of_pytorchs_gru_over_whole_sequences(tiny_model: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = TemporalNet(WIDTH, (0, 7), state=20, dropout=0.5)
    torch.nn.init.normal_(net.correct.weight)
    path = tmp_path / "t.onnx"
    classifier, config = OnnxClassifier(tiny_model), TemporalConfig(state=20)
    spec = export_temporal(net, path, classifier=classifier, labels=FER2013, config=config, trained_on={"x": "y"})
    assert read_spec(path) == spec
    assert (spec.version, spec.labels, spec.name) == (2, FER2013, "tiny-temporal")
    sequences = noisy(3, seed=0)
    assert step_difference(net, TemporalModel(path), sequences) < 1e-5
    # The same as in the docstring of TemporalNet, with PyTorch's own GRU over the whole sequence.
    sequence = sequences[0]
    logs = torch.from_numpy(sequence.heads).clamp(min=1e-4).log() / 3 + 1
    seconds = torch.from_numpy(sequence.seconds)[:, None].clamp(0.01, 1).log() / 2 + 1.4
    with torch.no_grad():
        known = net.gru(torch.cat([logs, seconds], 1)[None])[0][0]
        gates, corrections = torch.sigmoid(net.gate(known))[:, 0].numpy(), net.correct(known).numpy()
    weights = [gates[k] * np.prod(1 - gates[k + 1 :]) for k in range(len(gates))]
    mean = np.average(sequence.heads[:, :7], axis=0, weights=weights)
    expected = mean * np.exp(corrections[-1])
    found = run_temporal(TemporalModel(path), [sequence])[0][-1]
    np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-4)


def test_training_learns_to_average_frames_and_is_deterministic(tiny_model: Path, tmp_path: Path) -> None:
    config = TemporalConfig(state=24, steps=60, batch_size=12, learning_rate=1e-2)
    net, again = (fit_temporal(noisy(60, seed=0), config, head=(0, 7)) for _ in range(2))
    for one, other in zip(net.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    path = tmp_path / "t.onnx"
    export_temporal(net, path, classifier=OnnxClassifier(tiny_model), labels=FER2013, config=config, trained_on={})
    held_out = noisy(20, seed=1)
    alone = score_labels([s.heads[:, :7].argmax(1) for s in held_out], held_out)
    learnt = score_labels([rows.argmax(1) for rows in run_temporal(TemporalModel(path), held_out)], held_out)
    assert learnt.accuracy > alone.accuracy + 0.1
    assert learnt.changes < alone.changes / 2


def test_scores_of_a_small_case() -> None:
    targets = np.array([0, 0, 1, 1, 1, 2], np.int64)
    sequence = PredictedSequence(np.zeros((6, 3), np.float32), np.arange(6) / 2, targets)
    found = score_labels([np.array([0, 0, 0, 1, 0, 0])], [sequence])
    assert found.accuracy == pytest.approx(3 / 6)
    assert found.changes == pytest.approx(2 / 2.5)
    assert found.delay == pytest.approx(0.5)  # label 1 is shown a frame late, label 2 never
    assert found.missed == pytest.approx(1 / 2)


def test_the_smoothing_it_is_compared_with_is_that_of_live_use() -> None:
    from mien.structures import Box, Expression, Face, Prediction
    from mien.vision.smooth import HalfLifeSmoother

    (sequence,) = noisy(1, seed=3)
    smoother, face = HalfLifeSmoother(0.3), Face(Box(0, 0, 1, 1), 1.0, track_id=1)
    live = [
        smoother.update([Expression(face, Prediction(row[:7], FER2013))], float(time))[0].prediction.probabilities
        for row, time in zip(sequence.heads, sequence.times, strict=True)
    ]
    np.testing.assert_allclose(smooth(sequence.heads[:, :7], sequence.seconds, 0.3), live, atol=1e-5)


def test_a_model_is_trained_on_drawn_faces_images_and_clips(tiny_model: Path, tmp_path: Path) -> None:
    clips = write_clips(tmp_path / "clips", "train", "valid")
    done = train_temporal(
        OnnxClassifier(tiny_model), tmp_path / "mine.onnx", SMALL, labels=FER2013, images=draw_faces(60, seed=0),
        clips=clips, detector=WholeImage(),
    )  # fmt: skip
    assert done.difference < 1e-4
    made = [f"{what}, {n} frames/s" for what in ("drawn faces", "pictures of drawn") for n in (30, 15, 10)]
    assert list(done.results) == [*made, "clips of clips, as filmed"]
    card = done.card.read_text(encoding="utf-8")
    assert "`mien live --model tiny --temporal`" in card
    assert all(f"| {what} | temporal |" in card for what in done.results)
    assert "nan" not in card  # no label changes in the clip
    assert set(read_spec(done.path).trained_on) == {"drawn faces", "pictures of drawn", "clips of clips"}
    assert "- Part of its training data is synthetic: drawn faces that" in card
    assert "No film" not in card


def test_clips_are_measured_on_every_frame_at_its_own_time(tiny_model: Path, tmp_path: Path) -> None:
    classifier, clips = OnnxClassifier(tiny_model), write_clips(tmp_path / "clips", "train", "valid", n=7)
    only = replace(SMALL, drawn=0)
    options = {"labels": FER2013, "clips": clips, "detector": WholeImage()}
    done = train_temporal(classifier, tmp_path / "t.onnx", only, **options)  # type: ignore[arg-type]
    (sequence,) = (s for split, s in read_clips(clips, WholeImage(), FER2013, size=48) if split == "valid")
    assert len(sequence.times) == 7
    expected = compare_smoothing(TemporalModel(done.path), classifier, predict_sequences(classifier, [sequence]))
    assert [{way: f.accuracy for way, f in found.items()} for found in done.results.values()] == [
        {way: f.accuracy for way, f in expected.items()}
    ]


def test_images_are_ignored_without_stills(tiny_model: Path, tmp_path: Path) -> None:
    config = replace(SMALL, stills=0)
    done = train_temporal(
        OnnxClassifier(tiny_model), tmp_path / "t.onnx", config, labels=FER2013, images=draw_faces(9, seed=0)
    )
    assert set(read_spec(done.path).trained_on) == {"drawn faces"}


@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize("name", ["y.md", "x.txt", "model"])
def test_a_model_is_written_to_an_onnx_file_or_nothing_is_done(
    name: str, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("train-temporal", "--model", tiny_model, "--data", "none.csv", "--install", "--models", "models")
    assert run(*command, "--out", name) == 2  # before the data is looked for
    expected = f"cannot write a model to {name}; expected a name that ends in .onnx"
    assert capsys.readouterr().err.strip().endswith(expected)
    assert list(Path().iterdir()) == []
    with pytest.raises(ConfigError, match=re.escape(expected)):
        train_temporal(OnnxClassifier(tiny_model), Path(name), SMALL, labels=FER2013)


def test_other_labels_and_nothing_to_train_on_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    classifier, path = OnnxClassifier(tiny_model), tmp_path / "t.onnx"
    drawn = draw_faces(30, seed=0)
    strange = Dataset("strange", drawn.images, drawn.targets % 2, LabelSet("two", ("happy", "smug")), drawn.splits)
    with pytest.raises(DatasetError, match="pictures of strange show smug, which is not among the labels angry"):
        train_temporal(classifier, path, TemporalConfig(drawn=0), labels=FER2013, images=strange)
    with pytest.raises(ConfigError, match="no sequence to train on"):
        train_temporal(classifier, path, TemporalConfig(drawn=0), labels=FER2013)
    assert not path.exists()
    with pytest.raises(OutputError, match="there is no such folder"):
        train_temporal(classifier, tmp_path / "no" / "t.onnx", TemporalConfig(), labels=FER2013)


@pytest.mark.usefixtures("own_folder")
def test_the_command_trains_and_live_uses_it(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "mine"
    models.mkdir()
    shutil.copy(tiny_model, models / "tiny.onnx")
    settings = [part for key in ("drawn=1", "steps=2", "state=16", "extras=1") for part in ("--set", key)]
    assert run("train-temporal", "--model", "tiny", "--models", models, "--install", *settings) == 0
    assert f"use it: mien live --model tiny --temporal --models {models}" in capsys.readouterr().out
    assert run("train-temporal", "--model", "tiny", "--models", models, *settings) == 0
    assert f"use it: mien live --model {models / 'tiny.onnx'} --temporal --models ." in capsys.readouterr().out
    astronaut = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
    live = ("live", astronaut, "--no-window", "--models", models, "--temporal", "--csv", "faces.csv")
    assert run(*live, "--model", "tiny") == 0
    assert "raw_angry" in Path("faces.csv").read_text()
    assert run("models", "--models", models) == 0
    assert "probabilities of tiny" in capsys.readouterr().out
    assert run(*live, "--model", "tiny", "--labels", "fer2013") == 2
    assert "no temporal model fits this 'tiny' and the labels 'fer2013'" in capsys.readouterr().err
    assert run("predict", astronaut, "--model", "tiny-temporal", "--models", models) == 2
    error = capsys.readouterr().err.strip()
    assert "sees no faces itself" in error
    assert "\n" not in error


@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), "holds no clips; expected <class>/<clip>"),
        (("notes.txt",), "holds no clips"),
        (("0.png",), "'0.png' in 'clips' is not in a clip's folder; expected <class>/<clip>"),
        (("happy/cover.jpg", "happy/one/0.png"), "'happy/cover.jpg' in 'clips' is not in a clip's folder"),
        (("smug/one/0.png", "happy/one/0.png"), "unknown label 'smug'"),
    ],
)
def test_a_bad_folder_of_clips_is_one_line(
    names: tuple[str, ...], expected: str, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("clips").mkdir()
    for name in names:
        path = Path("clips", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((9, 9, 3), np.uint8)) if path.suffix != ".txt" else path.write_text("x")
    assert run("train-temporal", "--model", tiny_model, "--clips", "clips", "--set", "drawn=0") == 2
    error = capsys.readouterr().err.strip()
    assert expected in error
    assert "\n" not in error
    assert not list(Path().glob("*.onnx"))


@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("steps=0", "steps is 0; expected 1 to 1000000"),
        ("mood=1", "unknown setting 'mood'"),
        ("state='x'", "expected int"),
        ("learning_rate=0", "learning_rate is 0.0; expected a positive number"),
        ("learning_rate=-0.1", "learning_rate is -0.1; expected a positive number"),
        ("learning_rate=nan", "learning_rate is nan; expected a positive number"),
        ("learning_rate=inf", "learning_rate is inf; expected a positive number"),
        ("clip_norm=0", "clip_norm is 0.0; expected a positive number"),
        ("weight_decay=-1", "weight_decay is -1.0; expected 0 or more"),
        ("weight_decay=nan", "weight_decay is nan; expected 0 or more"),
        ("dropout=1", "dropout is 1.0; expected 0 <= dropout < 1"),
        ("dropout=nan", "dropout is nan; expected 0 <= dropout < 1"),
        ("left_out=-0.1", "left_out is -0.1; expected 0 <= left_out < 1"),
        ("left_out=1", "left_out is 1.0; expected 0 <= left_out < 1"),
        ("seed=18446744073709551616", "seed is 18446744073709551616; expected 0 to 9223372036854775807"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(
    setting: str, expected: str, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train-temporal", "--model", tiny_model, "--set", setting) == 2
    error = capsys.readouterr().err.strip()
    assert expected in error
    assert "\n" not in error


def test_a_missing_folder_of_clips_is_reported_before_anything_is_drawn(tmp_path: Path) -> None:
    calls: list[object] = []
    with pytest.raises(DatasetError, match="no folder"):
        train_temporal(
            load_classifier("base"), tmp_path / "a.onnx", TemporalConfig(), labels=FER2013,
            clips=tmp_path / "none", progress=lambda *count: calls.append(count),
        )  # fmt: skip
    assert calls == []
    assert list(tmp_path.iterdir()) == []
