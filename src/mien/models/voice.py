"""Speech to probabilities of how it sounds, by ONNX Runtime alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from mien.errors import ConfigError, InputError, ModelError
from mien.files import as_path
from mien.labels import LabelSet
from mien.models.classifier import are_probabilities
from mien.models.limited import try_model
from mien.models.log_mel import log_mel
from mien.models.onnx_file import read_spec
from mien.models.runtime import Session, as_model_error
from mien.models.spec import DEFAULT_VOICE, ModelSpec
from mien.models.store import find_model
from mien.structures import FloatArray

MAX_SAMPLE = 2.0**31  # of a sample: 32-bit sound that was not scaled; larger ones overflow when they are squared
SHORTEST = 0.1  # seconds that are computed at all; answers below `Sound.shortest` are not to be used


class VoiceClassifier:
    """A voice model in an ONNX file: speech in, probabilities of how it sounds out; threads may share it.

    A file that did not come with mien is tried once in a process with limits of time and memory, see
    `limited.try_model`.

    Args:
        path: The file.
        threads: Threads of ONNX Runtime; more than one pays only for long sounds.
        spec: The spec inside, where the file is trusted and need not be tried.

    Raises:
        ModelError: Not ONNX, not a voice model, or it did not pass its trial.
        MissingSpec: No spec inside.
    """

    def __init__(self, path: str | Path, *, threads: int = 1, spec: ModelSpec | None = None) -> None:
        self.path = path = as_path(path)
        if spec is not None and not isinstance(spec, ModelSpec):
            raise ConfigError(f"spec is of type {type(spec).__name__}; expected a ModelSpec or None")
        self.spec = read_spec(path) if spec is None else spec
        if self.spec.sound is None:
            raise ModelError(
                f"{path} is a {self.spec.kind} model, not a voice model; choose one whose kind is voice: mien models"
            )
        self.sound = self.spec.sound
        if spec is None:
            try_model(path)
        self._session = Session(path, threads=threads)

    @property
    def labels(self) -> LabelSet:
        """Labels in the order of the probabilities."""
        return self.spec.labels

    def predict_proba(self, samples: npt.ArrayLike, *, neutral: FloatArray | None = None) -> FloatArray:
        """Return the probabilities of how speech sounds.

        Silence at the ends lowers accuracy, so give it what a voice activity detector calls speech. Speech longer than
        `spec.sound.longest` is cut into equal parts, and their probabilities are averaged.

        Args:
            samples: Mono at `spec.sound.rate` (16 kHz), floats in [-1, 1], (n,). The level does not matter.
            neutral: What `enrol` returned for this speaker; None for a stranger.

        Returns:
            float32 (k,) in the order of `labels`, summing to 1.

        Raises:
            InputError: Not one row of finite floats, far out of range, or shorter than 0.1 s; or neutral is not what
                `enrol` of this model returned.
            ModelError: The model knows no enrolment, or the graph does not match the spec.
        """
        inputs = {}
        if neutral is not None:
            self._check_enrolment()
            try:
                features = np.asarray(neutral)
            except ValueError:  # lists of several lengths
                features = np.empty(0, np.object_)
            if features.shape != (self.sound.width,) or features.dtype.kind != "f" or not np.isfinite(features).all():
                kind = f"{features.dtype} {features.shape}"
                raise InputError(f"neutral is {kind}, or not finite; expected what enrol of this model returns")
            inputs = {"neutral": features.astype(np.float32)[None]}
        output = "probabilities" if neutral is None else "enrolled"
        found = np.mean([self._run(part, output, **inputs) for part in self._parts(samples)], axis=0)
        if found.shape != (len(self.labels),) or not are_probabilities(found[None]):
            raise ModelError(f"{self.path} returns no probabilities of its {len(self.labels)} labels; export it again")
        return np.asarray(found, np.float32)

    def enrol(self, samples: npt.ArrayLike) -> FloatArray:
        """Return the features of a speaker's ordinary voice, float32 (spec.sound.width,), for `predict_proba`.

        Args:
            samples: A sentence or more in the speaker's ordinary, neutral voice, as for `predict_proba`.

        Raises:
            InputError: See `predict_proba`.
            ModelError: The model knows no enrolment, or the graph does not match the spec.
        """
        self._check_enrolment()
        return np.asarray(np.mean([self._run(part, "features") for part in self._parts(samples)], axis=0), np.float32)

    def _check_enrolment(self) -> None:
        if not self.sound.width:
            raise ModelError(f"{self.path} was trained without enrolment; use it without")

    def _parts(self, samples: npt.ArrayLike) -> list[FloatArray]:
        """Return the speech in equal parts that the graph takes."""
        sound = checked_sound(samples)
        rate, longest = self.sound.rate, self.sound.longest
        if len(sound) < SHORTEST * rate:
            raise InputError(f"the sound has {len(sound) / rate:.2f} s; expected {SHORTEST} s or more at {rate} Hz")
        return np.array_split(sound, max(int(np.ceil(len(sound) / (longest * rate))), 1))

    def _run(self, samples: FloatArray, output: str, **inputs: FloatArray) -> FloatArray:
        fed = {"mel": log_mel(samples, self.sound)[None], **inputs}
        if self.sound.width:
            fed.setdefault("neutral", np.zeros((1, self.sound.width), np.float32))
        with as_model_error(self.path):
            (found,) = self._session.run([output], fed)
        return np.asarray(found[0], np.float32)


def checked_sound(samples: npt.ArrayLike) -> FloatArray:
    """Return a sound as float32.

    Raises:
        InputError: It is not one row of finite floats, or they are far out of range.
    """
    try:
        sound = np.asarray(samples)
    except ValueError as error:  # lists of several lengths
        raise InputError("the sound is no array; expected floats in [-1, 1], mono, (n,)") from error
    if sound.ndim != 1 or sound.dtype.kind != "f":
        raise InputError(
            f"the sound is an array of {sound.dtype} and shape {sound.shape}; expected floats in [-1, 1], mono, (n,)"
        )
    if not np.isfinite(sound).all():
        raise InputError("the sound has samples that are not finite; expected floats in [-1, 1]")
    if len(sound) and (most := float(np.abs(sound).max())) > MAX_SAMPLE:
        raise InputError(f"the sound has samples of {most:.2g}; expected floats in [-1, 1]")
    return np.asarray(sound, np.float32)


def load_voice(
    name: str | Path = DEFAULT_VOICE, *, models_dir: Path | None = None, threads: int = 1
) -> VoiceClassifier:
    """Load a voice model by its name or by the path of an ONNX file.

    Args:
        name: Name of an installed voice model, see `mien models`, or a path ending in .onnx.
        models_dir: Directory of the user's models; the default one when None.
        threads: Threads of ONNX Runtime.

    Raises:
        UnknownModel: No such model.
        ModelError: The file is not a voice model, or did not pass its trial.
    """
    return VoiceClassifier(find_model(name, models_dir=models_dir, kind="voice"), threads=threads)
