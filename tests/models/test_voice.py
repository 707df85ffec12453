"""Voice models: what they accept, what they answer, and that faces and voices are not mixed up."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.errors import InputError, ModelError, UnknownModel
from mien.models.classifier import OnnxClassifier, load_classifier
from mien.models.spec import ModelSpec
from mien.models.store import list_models, shipped_dir
from mien.models.temporal import TemporalModel
from mien.models.voice import VoiceClassifier, load_voice
from mien.structures import FloatArray

SHIPPED = [model.name for model in list_models(shipped_dir(), kind="voice")]


def speech(seconds: float, *, seed: int = 0) -> FloatArray:
    """Noise with the rhythm of syllables."""
    n = int(16_000 * seconds)
    rhythm = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * np.arange(n) / 16_000)
    return (0.1 * rhythm * np.random.default_rng(seed).normal(size=n)).astype(np.float32)


@pytest.fixture
def model(tiny_voice: Path) -> VoiceClassifier:
    return VoiceClassifier(tiny_voice)


def test_answer_is_a_probability_per_label(model: VoiceClassifier) -> None:
    found = model.predict_proba(speech(1.2))
    assert found.shape == (len(model.labels),) == (4,)
    assert found.dtype == np.float32
    assert found.sum() == pytest.approx(1, abs=1e-5)


def test_level_does_not_matter_and_float64_is_taken(model: VoiceClassifier) -> None:
    sound = speech(1.0)
    np.testing.assert_allclose(model.predict_proba(sound), model.predict_proba(0.1 * sound), atol=1e-4)
    np.testing.assert_allclose(model.predict_proba(sound), model.predict_proba(sound.astype(np.float64)), atol=1e-6)


def test_longer_speech_is_cut_into_equal_parts_whose_answers_are_averaged(model: VoiceClassifier) -> None:
    sound = speech(5.0)
    parts = [model.predict_proba(part) for part in np.array_split(sound, 3)]  # of at most 2 s each
    np.testing.assert_allclose(model.predict_proba(sound), np.mean(parts, axis=0), atol=1e-6)


def test_enrolment_changes_the_answer(model: VoiceClassifier) -> None:
    neutral = model.enrol(speech(1.5, seed=1))
    assert neutral.shape == (model.sound.width,)
    enrolled = model.predict_proba(speech(1.0), neutral=neutral)
    assert enrolled.sum() == pytest.approx(1, abs=1e-5)
    assert not np.allclose(enrolled, model.predict_proba(speech(1.0)))


def test_the_neutral_voice_shifts_the_logarithms_in_proportion(model: VoiceClassifier) -> None:
    """The enrolled head is linear in the features and in their difference from the neutral voice."""

    def logits(neutral: FloatArray) -> FloatArray:
        logs = np.log(model.predict_proba(speech(1.0), neutral=neutral).astype(np.float64))
        return np.asarray(logs - logs.mean(), np.float32)

    own, other = model.enrol(speech(1.0)), model.enrol(speech(1.5, seed=1))
    assert logits((own + other) / 2) == pytest.approx((logits(own) + logits(other)) / 2, abs=1e-4)


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        (np.zeros((2, 16_000), np.float32), r"shape \(2, 16000\); expected floats in \[-1, 1\], mono"),
        (np.zeros(16_000, np.int16), "int16"),
        ([], "0.00 s; expected 0.1 s or more"),
        (np.zeros(900, np.float32), "0.06 s; expected 0.1 s or more"),
        (np.full(16_000, np.nan), "not finite"),
        (np.full(16_000, 1e30), r"samples of 1e\+30; expected floats in \[-1, 1\]"),
        ([[0.1], [0.1, 0.2]], "no array"),
    ],
)
def test_what_is_no_sound_is_refused(model: VoiceClassifier, sound: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model.predict_proba(sound)


def test_features_of_another_model_are_refused(model: VoiceClassifier) -> None:
    for neutral in (np.zeros(3, np.float32), np.full(model.sound.width, np.nan), np.array(["a"] * model.sound.width)):
        with pytest.raises(InputError, match="expected what enrol of this model returns"):
            model.predict_proba(speech(1.0), neutral=neutral)


def test_a_voice_model_is_no_face_model(tiny_voice: Path) -> None:
    with pytest.raises(ModelError, match=r"is a voice model, which hears speech .*: mien listen FILE --model tiny-voi"):
        OnnxClassifier(tiny_voice)
    with pytest.raises(ModelError, match="is a voice model, not a temporal model"):
        TemporalModel(tiny_voice)


def test_a_face_model_is_no_voice_model(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="is a face model, not a voice model; choose one whose kind is voice"):
        load_voice(tiny_model)


def test_kinds_are_listed_apart(tiny_voice: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_voice, tmp_path / "mine.onnx")
    assert "mine" in [found.name for found in list_models(tmp_path, kind="voice")]
    assert "mine" not in [found.name for found in list_models(tmp_path)]
    assert load_voice("mine", models_dir=tmp_path).spec.name == "tiny-voice"
    with pytest.raises(UnknownModel, match=r"no voice model 'ours'; choose from .*mine"):
        load_voice("ours", models_dir=tmp_path)
    with pytest.raises(UnknownModel) as refused:
        load_classifier("ours", models_dir=tmp_path)
    assert "mine" not in str(refused.value)


def test_spec_of_a_voice_model_has_nothing_about_pictures(model: VoiceClassifier) -> None:
    text = model.spec.to_json()
    assert "preprocess" not in text
    assert "crop" not in text
    assert ModelSpec.from_json(text) == model.spec


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_are_small_and_free_and_answer(name: str) -> None:
    model = VoiceClassifier(shipped_dir() / f"{name}.onnx")
    assert model.path.stat().st_size <= 16_000_000
    assert model.spec.license == "Apache-2.0"
    for seconds in (1.5, 4.0, 12.0):
        assert model.predict_proba(speech(seconds)).sum() == pytest.approx(1, abs=1e-4)


def test_a_voice_model_is_shipped() -> None:
    assert "voice" in SHIPPED
