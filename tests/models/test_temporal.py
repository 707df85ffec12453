"""Temporal models: the classifier each belongs to, and the state of each track."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import ModelError, UnknownModel
from mien.labels import FER2013, FERPLUS
from mien.models.classifier import OnnxClassifier, load_classifier
from mien.models.onnx_file import read_spec, write_with_spec
from mien.models.store import find_model, list_models, shipped_dir
from mien.models.temporal import TemporalModel, find_temporal
from mien.structures import Box, Expression, Face, FloatArray, Prediction
from mien.vision.smooth import FORGET_AFTER, TemporalSmoother

RNG = np.random.default_rng(0)
HEADS = np.concatenate([RNG.dirichlet(np.ones(n), 40) for n in (7, 8)], axis=1).astype(np.float32)  # (40, 15)


def expressions(*tracks: int | None, heads: FloatArray) -> list[Expression]:
    faces = [Face(Box(0, 0, 9, 9), 1.0, track_id=track) for track in tracks]
    return [
        Expression(face, by_head["fer2013"], 0.5, heads=by_head)
        for face, by_head in zip(faces, map(predictions, heads), strict=True)
    ]


def predictions(row: FloatArray) -> dict[str, Prediction]:
    """Return the predictions of the two heads with their probabilities side by side."""
    return {"fer2013": Prediction(row[:7], FER2013), "ferplus": Prediction(row[7:], FERPLUS)}


def follow(follower: TemporalSmoother, heads: FloatArray, times: list[float], *, track: int = 1) -> list[FloatArray]:
    """Return the probabilities of each frame of one face."""
    found = [follower.update(expressions(track, heads=row[None]), time) for row, time in zip(heads, times, strict=True)]
    return [expression.prediction.probabilities for (expression,) in found]


@pytest.fixture
def model(tiny_temporal: Path) -> TemporalModel:
    return TemporalModel(tiny_temporal)


def test_what_the_frame_alone_shows_stays_in_raw_and_all_else_is_kept(model: TemporalModel) -> None:
    (seen,) = expressions(3, heads=HEADS[:1])
    (followed,) = TemporalSmoother(model).update([seen], 0.0)
    assert followed.raw == seen.prediction
    assert followed.raw is not None
    np.testing.assert_array_equal(followed.raw.probabilities, seen.prediction.probabilities)
    assert (followed.face, followed.min_confidence) == (seen.face, 0.5)
    assert followed.prediction.labels == FER2013
    assert followed.prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_the_same_stream_gives_the_same_again_and_what_came_before_matters(model: TemporalModel) -> None:
    times = [i / 10 for i in range(10)]
    once, again = (follow(TemporalSmoother(model), HEADS[:10], times) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    (alone,) = follow(TemporalSmoother(model), HEADS[9:10], [0.9])
    assert np.abs(alone - once[-1]).max() > 1e-3


def test_time_between_frames_matters(model: TemporalModel) -> None:
    quick, slow = (follow(TemporalSmoother(model), HEADS[:5], [i * gap for i in range(5)]) for gap in (0.03, 0.3))
    np.testing.assert_array_equal(quick[0], slow[0])
    assert np.abs(quick[-1] - slow[-1]).max() > 1e-4


def test_faces_that_change_places_do_not_mix(model: TemporalModel) -> None:
    times = [i / 10 for i in range(20)]
    alone = [follow(TemporalSmoother(model), HEADS[20 * i : 20 * (i + 1)], times) for i in (0, 1)]
    follower = TemporalSmoother(model)
    for k, time in enumerate(times):
        order = [0, 1] if k % 2 else [1, 0]  # crossing faces are listed now in this order, now in that
        heads = HEADS[[20 * i + k for i in order]]
        found = follower.update(expressions(*(order[j] + 1 for j in (0, 1)), heads=heads), time)
        for i, expression in zip(order, found, strict=True):
            np.testing.assert_allclose(expression.prediction.probabilities, alone[i][k], atol=1e-6)


def test_a_face_that_was_missed_for_a_while_is_remembered_and_one_that_left_is_not(model: TemporalModel) -> None:
    (fresh,) = follow(TemporalSmoother(model), HEADS[5:6], [0.0])
    for gap, remembered in ((FORGET_AFTER - 0.1, True), (FORGET_AFTER + 0.1, False)):
        follower = TemporalSmoother(model)
        follow(follower, HEADS[:5], [0.0, 0.1, 0.2, 0.3, 0.4])
        assert follower.update([], 0.5) == []
        (later,) = follow(follower, HEADS[5:6], [0.4 + gap])
        assert (np.abs(later - fresh).max() > 1e-4) == remembered


def test_when_time_goes_back_all_are_forgotten(model: TemporalModel) -> None:
    (fresh,) = follow(TemporalSmoother(model), HEADS[5:6], [0.0])
    follower = TemporalSmoother(model)
    follow(follower, HEADS[:3], [5.0, 5.1, 5.2])
    (back,) = follow(follower, HEADS[5:6], [1.0])
    np.testing.assert_array_equal(back, fresh)


def test_a_face_without_a_number_passes_unchanged(model: TemporalModel) -> None:
    seen = expressions(None, 1, heads=HEADS[:2])
    stranger, known = TemporalSmoother(model).update(seen, 0.0)
    assert stranger is seen[0]
    (alone,) = follow(TemporalSmoother(model), HEADS[1:2], [0.0])
    np.testing.assert_allclose(known.prediction.probabilities, alone, atol=1e-6)


def test_a_temporal_model_belongs_to_one_graph_with_any_spec(
    model: TemporalModel, tiny_model: Path, tmp_path: Path
) -> None:
    renamed = tmp_path / "renamed.onnx"
    write_with_spec(tiny_model, renamed, replace(read_spec(tiny_model), name="renamed", metrics={"x": 1.0}))
    model.check(OnnxClassifier(renamed), FER2013)
    shipped = load_classifier("base", models_dir=tmp_path)
    with pytest.raises(ModelError, match=r"for another classifier \('tiny'\), not for this 'base'; train one .*base$"):
        model.check(shipped, FER2013)
    with pytest.raises(ModelError, match=r"the labels 'fer2013', not 'ferplus'; .* mien train-temporal .*ferplus$"):
        model.check(OnnxClassifier(tiny_model), FERPLUS)


def test_the_temporal_model_of_a_classifier_is_found(tiny_model: Path, tiny_temporal: Path, tmp_path: Path) -> None:
    classifier = OnnxClassifier(tiny_model)
    with pytest.raises(UnknownModel, match=r"no temporal model fits this 'tiny' .*, or train one: mien train-temporal"):
        find_temporal(classifier, FER2013, models_dir=tmp_path)
    mine = Path(shutil.copy(tiny_temporal, tmp_path / "mine.onnx"))
    junk = tmp_path / "junk"
    junk.write_bytes(b"\x3a\x04junk")  # a protocol buffer with a graph that is none
    write_with_spec(junk, tmp_path / "zz.onnx", read_spec(mine))  # it is asked first, and damaged
    assert find_temporal(classifier, FER2013, models_dir=tmp_path).path == mine
    with pytest.raises(UnknownModel, match=r"the labels 'ferplus'; installed: mine \(for tiny, fer2013\)"):
        find_temporal(classifier, FERPLUS, models_dir=tmp_path)


def test_a_temporal_model_is_not_offered_as_a_classifier_and_names_its_command(
    tiny_model: Path, tiny_temporal: Path, tmp_path: Path
) -> None:
    shutil.copy(tiny_temporal, tmp_path / "mine.onnx")
    assert "mine" not in [found.name for found in list_models(tmp_path)]
    assert "mine" in [found.name for found in list_models(tmp_path, kind="temporal")]
    assert find_model("mine", models_dir=tmp_path).is_file()
    with pytest.raises(ModelError, match=r"sees no faces itself.*mien live --model tiny --temporal") as caught:
        load_classifier("mine", models_dir=tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="is a face model, not a temporal model"):
        TemporalModel(tiny_model)


@pytest.mark.parametrize("name", [found.name for found in list_models(shipped_dir(), kind="temporal")])
def test_every_shipped_temporal_model_belongs_to_a_shipped_classifier(name: str) -> None:
    model = TemporalModel(shipped_dir() / f"{name}.onnx")
    classifier = OnnxClassifier(shipped_dir() / f"{model.belongs.classifier}.onnx")
    model.check(classifier, model.labels)
    assert model.belongs.width == sum(len(head.labels) for head in classifier.spec.heads)
    assert model.path.stat().st_size < 1e6
