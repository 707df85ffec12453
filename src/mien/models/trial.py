"""The task of `limited.try_model`: a model of any kind predicts one random input."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mien.models.classifier import OnnxClassifier
from mien.models.onnx_file import read_spec
from mien.models.spec import FACE_KINDS
from mien.models.temporal import TemporalModel
from mien.models.voice import VoiceClassifier


def predict_noise(path: Path) -> None:
    """Let a model predict one random input.

    Raises:
        ModelError: It cannot.
    """
    spec, random = read_spec(path), np.random.default_rng(0)
    if spec.temporal is not None:
        width, state = spec.temporal.width, spec.temporal.state
        heads = np.full((1, width), 1 / width, np.float32)
        TemporalModel(path, spec=spec).step(heads, np.zeros((1, 1), np.float32), np.zeros((1, state), np.float32))
    elif spec.sound is not None:
        VoiceClassifier(path, spec=spec).predict_proba(random.normal(scale=0.1, size=2 * spec.sound.rate))
    elif spec.kind in FACE_KINDS:
        size = spec.preprocess.size
        OnnxClassifier(path, threads=1, spec=spec).predict_heads([random.integers(0, 256, (size, size, 3), np.uint8)])
