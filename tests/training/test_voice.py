"""Training of voice models: a head that tells simple sounds apart, measured by speaker, and resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from mien.data import Speech
from mien.errors import ConfigError, DatasetError, ModelError, RunError
from mien.evaluation.voice import NOISY, WHOLE
from mien.labels import LabelSet
from mien.models.classifier import softmax
from mien.models.onnx_file import read_spec
from mien.models.spec import Sound
from mien.models.voice import VoiceClassifier
from mien.nets.audio import Encoder
from mien.reports.voice import read_voice_metrics
from mien.structures import FloatArray
from mien.training import VoiceConfig, train_voice
from mien.training.voice import ENROLLED, NOT_ENROLLED, _temperatures, copy_of

LABELS = LabelSet("beeps", ("happy", "neutral"))


def beep(label: int, speaker: int, seed: int) -> FloatArray:
    """A high or a low tone, at the speaker's own pitch, with harmonics and some noise."""
    seconds = np.arange(12_000) / 16_000
    pitch = (900, 250)[label] * (1 + 0.1 * speaker)
    tones = sum(np.sin(2 * np.pi * k * pitch * seconds) / k for k in (1, 2, 3))
    return np.asarray(0.2 * tones + 0.01 * np.random.default_rng(seed).normal(size=12_000), np.float32)


def beeps(*, speakers: int = 3, each: int = 3) -> Speech:
    rows = [(label, speaker, n) for speaker in range(speakers) for label in (0, 1) for n in range(each)]
    return Speech(
        name="beeps",
        clips=[(32767 * beep(*row) / 2).astype(np.int16) for row in rows],
        targets=np.array([row[0] for row in rows]),
        labels=LABELS,
        speakers=np.array([f"s{row[1]}" for row in rows]),
        names=np.array(["-".join(map(str, row)) for row in rows]),
    )


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with random weights, by the names of CTranslate2."""
    torch.manual_seed(0)
    net = Encoder(Sound(), width=16, blocks=1, heads=8)
    parts = {"norm1": "self_attention/layer_norm", "attend": "self_attention/linear_0", "norm2": "ffn/layer_norm"}
    parts |= {"project": "self_attention/linear_1", "widen": "ffn/linear_0", "narrow": "ffn/linear_1"}
    found = {}
    for name, tensor in net.state_dict().items():
        *_, part, kind = name.split(".")
        kind = {"weight": "gamma", "bias": "beta"}[kind] if part.startswith("norm") else kind
        place = part if part.startswith("conv") else f"layer_0/{parts[part]}"
        found[f"encoder/{place}/{kind}"] = tensor.numpy()
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_file(found, path)
    return path


@pytest.fixture
def config(encoder_file: Path) -> VoiceConfig:
    return VoiceConfig(init=str(encoder_file), blocks=(1,), copies=2)


def test_a_trained_model_tells_sounds_apart_by_speakers_it_has_not_heard(config: VoiceConfig, tmp_path: Path) -> None:
    trained = train_voice(beeps(), tmp_path / "run", config, license="CC0-1.0")
    found = trained.evaluation.conditions
    assert found[WHOLE].pooled_uar == 1
    assert found[NOISY].pooled_uar > 0.5
    assert {ENROLLED, NOT_ENROLLED} <= set(found)
    assert trained.evaluation.n_folds == 3
    classifier = VoiceClassifier(trained.path)
    assert classifier.spec.name == "voice-beeps"
    assert classifier.spec.license == "CC0-1.0"
    assert classifier.spec.trained_on["speakers"] == "s0 s1 s2"
    assert classifier.spec.metrics["by-speaker/whole/uar"] == 1
    assert classifier.predict_proba(beep(0, 1, 99)).argmax() == 0
    neutral = classifier.enrol(beep(1, 1, 98))
    happy, ordinary = (classifier.predict_proba(beep(label, 1, 99), neutral=neutral)[0] for label in (0, 1))
    assert happy > ordinary
    assert trained.difference < 0.15
    assert read_voice_metrics(tmp_path / "run" / "metrics.json") == [trained.evaluation]
    card = trained.card.read_text(encoding="utf-8")
    assert "mien names how speech sounds, not what a person feels" in card
    assert str(tmp_path) not in card + classifier.spec.to_json()


def test_a_run_that_was_stopped_continues_and_gives_the_same(config: VoiceConfig, tmp_path: Path) -> None:
    whole = train_voice(beeps(), tmp_path / "whole", config)
    stopped = tmp_path / "stopped"

    class StopError(Exception):
        pass

    def stop(step: str):  # type: ignore[no-untyped-def]
        if step == "features, copy-2":
            raise StopError
        return lambda _done, _total: None

    with pytest.raises(StopError):
        train_voice(beeps(), stopped, config, steps=stop)
    kept = {path: path.stat().st_mtime_ns for path in stopped.glob("features-*.npy")}
    assert len(kept) == 2
    again = train_voice(beeps(), stopped, config)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert again.evaluation == whole.evaluation


def test_a_folder_of_another_run_is_refused(config: VoiceConfig, tmp_path: Path) -> None:
    train_voice(beeps(), tmp_path, config)
    with pytest.raises(RunError, match="holds a run of other data or settings"):
        train_voice(beeps(each=4), tmp_path, config)


def test_where_a_speaker_has_one_neutral_clip_there_is_no_enrolment(config: VoiceConfig, tmp_path: Path) -> None:
    speech = beeps(each=2)
    trained = train_voice(speech.select(speech.names != "1-0-1"), tmp_path, config)
    assert read_spec(trained.path).sound == Sound(width=0)
    assert ENROLLED not in trained.evaluation.conditions


def test_a_class_of_the_speakers_of_one_fold_is_refused(config: VoiceConfig, tmp_path: Path) -> None:
    speech = beeps()
    kept = (speech.targets == 0) | (speech.speakers == "s0")
    with pytest.raises(DatasetError, match="all clips of 'neutral' are by the speakers of one fold"):
        train_voice(speech.select(kept), tmp_path, config)


def test_a_missing_encoder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read the encoder in .*none\.safetensors"):
        train_voice(beeps(), tmp_path, VoiceConfig(init=str(tmp_path / "none.safetensors")))


def test_runs_on_the_same_recordings_can_share_features(config: VoiceConfig, tmp_path: Path) -> None:
    features = tmp_path / "features"
    train_voice(beeps(), tmp_path / "one", config, features=features)
    kept = sorted(features.glob("features-*.npy"))
    train_voice(beeps(), tmp_path / "two", replace(config, penalty=1.0), features=features)
    assert sorted(features.glob("features-*.npy")) == kept


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="blocks is"):
        VoiceConfig(blocks=())
    with pytest.raises(ConfigError, match="penalty"):
        VoiceConfig(penalty=0)


def test_probabilities_are_as_sure_as_heads_that_heard_few_speakers_may_be() -> None:
    answers = {NOISY: np.tile(np.array([0.9, 0.1], np.float32), (100, 1))}
    often, seldom = (np.repeat([0, 1], [right, 100 - right]) for right in (90, 60))
    for strange, expected in (([(answers, seldom)], 0.6), ([], 0.9)):
        temperature = _temperatures(strange, answers, often)[False]
        assert softmax(np.log(answers[NOISY]), temperature=temperature)[0, 0] == pytest.approx(expected, abs=1e-3)


def test_copies_are_noisy_fast_and_short() -> None:
    sound = np.random.default_rng(0).normal(scale=0.1, size=80_000).astype(np.float32)
    copies = [copy_of(sound, i, np.random.default_rng(i)) for i in range(5)]
    assert copies[0] is sound
    assert len(copies[1]) == len(sound)
    assert len(copies[2]) != len(sound)
    assert all(len(copies[i]) <= 3 * 16_000 for i in (3, 4))
