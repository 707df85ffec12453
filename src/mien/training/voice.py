"""Training of voice models: a linear head on statistics of a speech encoder, judged by speaker (extra: train).

Features of all clips and their copies are computed once, a head is then a matter of seconds. Everything is kept in the
run's folder, so that a run that was stopped continues where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mien.data.noise import at_speed, cropped, noisy
from mien.data.speech import Speech, check_apart, folds_of
from mien.errors import DatasetError, RunError
from mien.evaluation.calibration import fit_temperature
from mien.evaluation.voice import CONDITIONS, NOISY, WHOLE, VoiceEvaluation, score_voice
from mien.files import as_path, atomic_path, make_folder, sha256_of, write_text
from mien.labels import LabelSet
from mien.models.classifier import softmax
from mien.models.log_mel import log_mel
from mien.models.spec import Head, ModelSpec, Preprocess, Sound
from mien.models.store import shipped_dir
from mien.models.voice import VoiceClassifier
from mien.nets.audio import Encoder, VoiceNet, read_encoder
from mien.nets.export_voice import export_voice
from mien.reports.voice import voice_card, write_voice_metrics
from mien.structures import BoolArray, FloatArray, IntArray, Progress
from mien.training.logistic import Layer, fit_logistic, predict_logistic
from mien.training.recipe import VoiceConfig

ENCODER = "MIEN_ENCODER"  # environment variable with the encoder to start from
NEUTRAL = "neutral"  # the label of a speaker's ordinary voice
NOT_ENROLLED, ENROLLED = "whole, not enrolled", "whole, enrolled"  # on the same clips
NOT_ENROLLED_NOISY, ENROLLED_NOISY = "noisy, not enrolled", "noisy, enrolled"
PREDICTIONS = "answers.npz"  # of a run: out-of-fold predictions; the name is that of earlier runs
SPEEDS = 0.88, 1.12
CUT_SECONDS = 1.2, 3.0
LOUD_NOISE_DB = 3.0, 25.0
TELEPHONE_SHARE = 0.2

OutOfFoldPredictions = dict[str, FloatArray]  # probabilities (n, k) by condition; rows of NaN were not tested
Steps = Callable[[str], Progress]


@dataclass(frozen=True, slots=True)
class TrainedVoice:
    """A trained voice model.

    Args:
        path: Its file, in the run's folder.
        card: Its card, a Markdown file.
        spec: Its spec.
        evaluation: Figures by speaker.
        difference: Largest difference of probabilities between the file and PyTorch, on clips of the training.
    """

    path: Path
    card: Path
    spec: ModelSpec
    evaluation: VoiceEvaluation
    difference: float


def encoder_path(init: str = "") -> Path:
    """Return the file of the encoder to start from: the given one, $MIEN_ENCODER, or the shipped voice model."""
    return Path(init or os.environ.get(ENCODER) or shipped_dir() / "voice.onnx")


def train_voice(
    speech: Speech, folder: str | Path, config: VoiceConfig, *, license: str = "", features: Path | None = None,
    steps: Steps = lambda _: lambda _done, _total: None,
) -> TrainedVoice:  # fmt: skip
    """Train a voice model, measure it by speaker, and write the model, its figures and its card into a folder.

    Args:
        speech: The recordings.
        folder: Of the run, which continues if it holds one of the same data and settings.
        config: Settings.
        license: Of the weights, for the spec.
        features: Folder that keeps the features, which several runs on the same recordings can share; the run's folder
            when None.
        steps: Returns a function for the progress of a named step.

    Raises:
        DatasetError: There are too few speakers, or a class is missing without the speakers of a fold.
        ModelError: The encoder cannot be read.
        RunError: The folder holds a run of other data or settings.
        OutputError: A file cannot be written.
    """
    folder = as_path(folder)
    init = encoder_path(config.init)
    encoder = read_encoder(init, Sound(), blocks=max(config.blocks))
    spec = _new_spec(speech, config, encoder, init)
    _start(make_folder(folder), spec)
    config = replace(config, enrolment=_can_enrol(speech, config))
    folds = folds_of(speech, config.folds or None)
    store = FeatureStore(features or folder, encoder, speech, config, steps)
    copies = [store.copy(i) for i in range(1 + config.copies)]
    tested = {name: copies[0] if name == WHOLE else store.condition(name) for name in CONDITIONS}
    answers = []
    for fold in np.unique(folds):
        answers.append(_fold_answers(speech, copies, tested, folds == fold, config))
        steps("heads by fold")(len(answers), len(np.unique(folds)))
    merged = {key: _merged([found[key] for found in answers], folds) for key in answers[0]}
    temperatures = _temperatures(_as_strangers(speech, copies, tested, folds, config), merged, speech.targets)
    calibrated = {
        key: softmax(np.log(found + 1e-9), temperature=temperatures[key in (ENROLLED, ENROLLED_NOISY)])
        for key, found in merged.items()
    }
    evaluation = score_voice(calibrated, speech, folds, model=spec.name)
    _write_answers(folder / PREDICTIONS, calibrated[WHOLE], speech, folds)
    net = _net(encoder, config, speech, fit_heads(copies, speech, config))
    for layer, enrolled in ((net.head, False), (net.enrolled, True)):
        if layer is not None:
            layer.weight.data /= temperatures[enrolled]
            layer.bias.data /= temperatures[enrolled]
    spec = replace(
        spec, heads=(Head(speech.labels, temperatures[False]),), license=license, metrics=_figures(evaluation),
    )  # fmt: skip
    path, card = folder / f"{spec.name}.onnx", folder / f"{spec.name}.md"
    export_voice(net, spec, path)
    write_voice_metrics(folder / "metrics.json", [evaluation])
    write_text(card, voice_card(spec, [evaluation], size_bytes=path.stat().st_size))
    return TrainedVoice(path, card, spec, evaluation, _difference(net, path, speech))


def _new_spec(speech: Speech, config: VoiceConfig, encoder: Encoder, init: Path) -> ModelSpec:
    width = 2 * encoder.width * len(config.blocks)
    return ModelSpec(
        name=config.name_for(speech.name),
        arch="whisper-voice",
        heads=(Head(speech.labels),),
        preprocess=Preprocess(),
        kind="voice",
        input="sound",
        sound=Sound(width=width if _can_enrol(speech, config) else 0),
        trained_on={
            "name": speech.name,
            "fingerprint": speech.fingerprint,
            "speakers": " ".join(np.unique(speech.speakers).tolist()),
            "init": f"{init.name} (SHA-256 {sha256_of(init)}), of OpenAI's Whisper base, MIT",
        },
        recipe=json.loads(json.dumps(asdict(config) | {"init": init.name, "name": config.name_for(speech.name)})),
        version=3,
    )


def _start(folder: Path, spec: ModelSpec) -> None:
    """Note what the run trains in its folder, or check that it is what the folder notes."""
    note = folder / "run.json"
    text = spec.to_json() + "\n"
    if not os.path.exists(note):
        write_text(note, text)
    elif note.read_text(encoding="utf-8") != text:
        raise RunError(f"'{folder}' holds a run of other data or settings; choose a new folder, or the same of both")


# ---------------------------------------------------------------- clips, copies and their features


def copy_of(samples: FloatArray, i: int, rng: np.random.Generator) -> FloatArray:
    """Return copy i of a clip: 0 as it is, then in turns with noise, at another speed with noise, at another speed and
    cut, and all of it."""
    if i == 0:
        return samples
    kind = (i - 1) % 4
    if kind == 0:
        return noisy(samples, rng)
    copy = at_speed(samples, rng.uniform(*SPEEDS))
    if kind >= 2:
        copy = cropped(copy, rng.uniform(*CUT_SECONDS), rng)
    return copy if kind == 2 else noisy(copy, rng, decibels=LOUD_NOISE_DB, telephone=TELEPHONE_SHARE)


class FeatureStore:
    """Features of copies of clips, computed once by the exported encoder and kept in files.

    Args:
        folder: Of the files; it may be shared by runs on the same recordings.
        encoder: The encoder.
        speech: The clips.
        config: Settings; only the seed and the chosen blocks matter.
        steps: As for `train_voice`.
    """

    def __init__(self, folder: Path, encoder: Encoder, speech: Speech, config: VoiceConfig, steps: Steps) -> None:
        self.folder, self.encoder, self.speech, self.steps = make_folder(folder), encoder, speech, steps
        self.seed, self.columns = config.seed, _columns(encoder, config)
        digest = hashlib.sha256(repr((config.seed, len(encoder.blocks))).encode())
        for tensor in encoder.state_dict().values():
            digest.update(tensor.numpy().tobytes())
        for clip in speech.clips:
            digest.update(clip.tobytes())
        self._key = digest.hexdigest()[:12]
        self._extractor: VoiceClassifier | None = None

    def copy(self, i: int) -> FloatArray:
        """Return the features of copy i of each clip, (n, width); see `copy_of`."""
        return self._features(f"copy-{i}", lambda sound, n: copy_of(sound, i, np.random.default_rng([self.seed, i, n])))

    def condition(self, name: str) -> FloatArray:
        """Return the features of each clip in one of `CONDITIONS`, (n, width)."""
        changed = CONDITIONS[name]
        return self._features(name.replace(" ", "-"), lambda sound, n: changed(sound, np.random.default_rng(n)))

    def _features(self, name: str, change: Callable[[FloatArray, int], FloatArray]) -> FloatArray:
        path = self.folder / f"features-{self._key}-{name}.npy"
        if not os.path.exists(path):
            progress, rows, extractor = self.steps(f"features, {name}"), [], self._opened()
            for n in range(len(self.speech)):
                rows.append(extractor.enrol(change(self.speech.sound(n), n)))
                progress(n + 1, len(self.speech))
            with atomic_path(path) as temporary:
                np.save(temporary, np.stack(rows))
        found = np.asarray(np.load(path, allow_pickle=False), np.float32)
        return np.ascontiguousarray(found[:, self.columns])

    def _opened(self) -> VoiceClassifier:
        """Return the encoder as it will be exported, in 8 bits, whose features are statistics of all blocks."""
        if self._extractor is None:
            blocks = range(len(self.encoder.blocks))
            net = VoiceNet(deepcopy(self.encoder), blocks, 2)
            spec = ModelSpec(
                name="features", arch="whisper-voice", heads=(Head(LabelSet("none", ("a", "b"))),),
                preprocess=Preprocess(), kind="voice", input="sound", sound=Sound(width=net.head.in_features),
                version=3,
            )  # fmt: skip
            path = self.folder / "encoder.onnx"
            export_voice(net, spec, path)
            self._extractor = VoiceClassifier(path, spec=spec)
        return self._extractor


def _columns(encoder: Encoder, config: VoiceConfig) -> IntArray:
    """Return the columns of the chosen blocks in the statistics of all."""
    width = 2 * encoder.width
    return np.concatenate([np.arange((block - 1) * width, block * width) for block in config.blocks])


# ---------------------------------------------------------------- heads


def fit_heads(copies: Sequence[FloatArray], speech: Speech, config: VoiceConfig) -> tuple[Layer, Layer | None]:
    """Fit the heads for strangers and for enrolled speakers, None where these can't be.

    Args:
        copies: Features of each copy of the clips, (n, width) each.
        speech: The clips.
        config: Settings.
    """
    k = len(speech.labels)
    x, y = np.concatenate(copies), np.tile(speech.targets, len(copies))
    fit = partial(fit_logistic, n_classes=k, penalty=config.penalty, balanced=True)
    head = fit(x, y)
    if not _can_enrol(speech, config):
        return head, None
    neutral = np.concatenate([_neutral_of(copy, speech, config.seed + i) for i, copy in enumerate(copies)])
    return head, fit(np.concatenate([x, x - neutral], axis=1), y)


def _net(encoder: Encoder, config: VoiceConfig, speech: Speech, heads: tuple[Layer, Layer | None]) -> VoiceNet:
    alone, enrolled = heads
    taken = [block - 1 for block in config.blocks]
    net = VoiceNet(deepcopy(encoder), taken, len(speech.labels), enrolment=enrolled is not None)
    for layer, values in ((net.head, alone), (net.enrolled, enrolled)):
        if layer is not None and values is not None:
            layer.weight.data, layer.bias.data = (torch.from_numpy(value) for value in values)
    return net.eval()


def _can_enrol(speech: Speech, config: VoiceConfig) -> bool:
    """Return whether each speaker has two clips in a neutral voice or more, so that one can stand for the others."""
    return config.enrolment and all(len(_neutral_rows(speech, speaker)) > 1 for speaker in np.unique(speech.speakers))


def _neutral_rows(speech: Speech, speaker: str) -> IntArray:
    if NEUTRAL not in speech.labels.labels:
        return np.empty(0, np.int64)
    of_speaker = (speech.speakers == speaker) & (speech.targets == speech.labels.index(NEUTRAL))
    return np.flatnonzero(of_speaker)


def _neutral_of(features: FloatArray, speech: Speech, seed: int) -> FloatArray:
    """Return the features of another neutral clip of each clip's speaker, drawn at random, (n, width)."""
    rng, rows = np.random.default_rng(seed), np.empty(len(speech), np.int64)
    for speaker in np.unique(speech.speakers):
        neutral = _neutral_rows(speech, speaker)
        for row in np.flatnonzero(speech.speakers == speaker):
            rows[row] = rng.choice(neutral[neutral != row])
    return features[rows]


# ---------------------------------------------------------------- by speaker


def _fold_answers(
    speech: Speech,
    copies: Sequence[FloatArray],
    tested: Mapping[str, FloatArray],
    held_out: BoolArray,
    config: VoiceConfig,
) -> OutOfFoldPredictions:
    """Fit heads on the speakers that are not held out, and return the answers for those that are."""
    train, test = speech.select(~held_out), speech.select(held_out)
    check_apart(train, test)
    if missing := [label for i, label in enumerate(speech.labels) if i not in train.targets]:
        raise DatasetError(
            f"all clips of '{missing[0]}' are by the speakers of one fold; expected each class by more speakers, or "
            "other folds"
        )
    head, enrolled = fit_heads([copy[~held_out] for copy in copies], train, config)
    found = {name: x[held_out] for name, x in tested.items()}
    answers = {name: predict_logistic(head, x) for name, x in found.items()}
    if enrolled is not None:
        answers |= _enrolled_answers(enrolled, found, test, answers, seed=config.seed)
    return answers


def _enrolled_answers(
    layer: Layer, found: Mapping[str, FloatArray], test: Speech, answers: Mapping[str, FloatArray], *, seed: int
) -> OutOfFoldPredictions:
    """Return the answers with one neutral clip per speaker enrolled, and those without; that clip is not tested."""
    rng, neutral, chosen = np.random.default_rng(seed), np.empty_like(found[WHOLE]), []
    for speaker in np.unique(test.speakers):
        row = int(rng.choice(_neutral_rows(test, speaker)))
        chosen.append(row)
        neutral[test.speakers == speaker] = found[WHOLE][row]
    results: OutOfFoldPredictions = {}
    for base, alone, enrolled in ((WHOLE, NOT_ENROLLED, ENROLLED), (NOISY, NOT_ENROLLED_NOISY, ENROLLED_NOISY)):
        results[alone] = answers[base].copy()
        results[enrolled] = predict_logistic(layer, np.concatenate([found[base], found[base] - neutral], axis=1))
    for rows in results.values():
        rows[chosen] = np.nan
    return results


def _merged(parts: Sequence[FloatArray], folds: IntArray) -> FloatArray:
    """Return the answers of all folds in the order of the clips."""
    merged = np.empty((len(folds), parts[0].shape[1]), np.float32)
    for fold, part in zip(np.unique(folds), parts, strict=True):
        merged[folds == fold] = part
    return merged


def _write_answers(path: Path, probabilities: FloatArray, speech: Speech, folds: IntArray) -> None:
    """Write the calibrated answers about speakers that were not heard, for benchmarks/fusion.py."""
    labels = np.array(speech.labels.labels)
    with atomic_path(path) as temporary:
        np.savez(
            temporary, probabilities=probabilities, targets=speech.targets, labels=labels, folds=folds, name=speech.name
        )


def _as_strangers(
    speech: Speech, copies: Sequence[FloatArray], tested: Mapping[str, FloatArray], folds: IntArray, config: VoiceConfig
) -> list[tuple[OutOfFoldPredictions, IntArray]]:
    """Return the answers in noise about all speakers but those of one fold, by heads that heard only these, and the
    targets; for each fold that has all classes.

    A stranger with another language and microphone differs more from all speakers of a corpus than one of them from the
    others, so heads that heard few are a better model of what a stranger's answers are worth.
    """
    found = []
    for fold in np.unique(folds):
        others = folds != fold
        if len(np.unique(speech.targets[~others])) == len(speech.labels):
            in_noise = {name: tested[name] for name in (WHOLE, NOISY)}
            found.append((_fold_answers(speech, copies, in_noise, others, config), speech.targets[others]))
    return found


def _temperatures(
    strange: Sequence[tuple[OutOfFoldPredictions, IntArray]], merged: OutOfFoldPredictions, targets: IntArray
) -> dict[bool, float]:
    """Return the temperatures of the heads for strangers and for enrolled speakers: those of noisy answers of heads
    that heard few speakers, or, where none has all classes, of the folds' heads."""
    temperatures = {}
    for enrolled, noise in ((False, NOISY), (True, ENROLLED_NOISY)):
        parts = [(answers[noise], known) for answers, known in strange if noise in answers]
        if not parts and noise in merged:
            parts = [(merged[noise], targets)]
        temperatures[enrolled] = _temperature(*map(np.concatenate, zip(*parts, strict=True))) if parts else 1.0
    return temperatures


def _temperature(probabilities: FloatArray, targets: IntArray) -> float:
    tested = np.isfinite(probabilities).all(1)
    return fit_temperature(np.log(probabilities[tested] + 1e-9), targets[tested])


def _figures(evaluation: VoiceEvaluation) -> dict[str, float]:
    """Return the figures that are published in the spec."""
    return {
        f"by-speaker/{name}/{metric}": round(value.mean, 4)
        for name, scores in evaluation.conditions.items()
        for metric, value in (("uar", scores.uar), ("accuracy", scores.accuracy))
        if name in (WHOLE, NOISY)
    }


@torch.no_grad()
def _difference(net: VoiceNet, path: Path, speech: Speech) -> float:
    """Return the largest difference of the file's probabilities from PyTorch's, on clips drawn at random."""
    classifier, some = VoiceClassifier(path, spec=None), speech.sample(20)
    worst = 0.0
    for i in range(len(some)):
        mel = torch.from_numpy(log_mel(some.sound(i)[: round(10 * classifier.sound.rate)], classifier.sound))[None]
        expected = net.head(net.features(mel)).softmax(1)[0].numpy()
        worst = max(worst, float(np.abs(expected - classifier.predict_proba(some.sound(i))).max()))
    return worst
