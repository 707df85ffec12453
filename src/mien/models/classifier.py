"""From face crops to probabilities, by ONNX Runtime alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from mien.errors import ModelError
from mien.models.onnx_file import read_spec
from mien.models.preprocess import preprocess
from mien.models.runtime import onnxruntime as ort
from mien.models.spec import Head, ModelSpec, Normalize
from mien.models.store import find_model
from mien.structures import FloatArray, ImageArray


class ExpressionClassifier(Protocol):
    """What names the expressions of face crops."""

    @property
    def spec(self) -> ModelSpec:
        """Labels, input and origin of the model."""
        ...

    def predict_proba(self, crops: Sequence[ImageArray], *, head: str | None = None) -> FloatArray:
        """Return probabilities, float32 (n, k), of uint8 crops, each (H, W[, 1]) grey or (H, W, 3) RGB."""
        ...


class OnnxClassifier:
    """An ONNX file with a spec inside. It may be shared between threads, pickled, and used after a fork.

    Args:
        path: The file.
        threads: Threads of ONNX Runtime; 0 lets it choose, which is one a core.

    Raises:
        ModelError: Not ONNX, or its input and outputs are not what the spec says.
        MissingSpec: No spec inside.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        self.path = path
        self.spec = read_spec(path)
        if self.spec.temporal is not None:
            seer = self.spec.temporal.classifier
            raise ModelError(
                f"{path} is a temporal model, which sees no faces by itself: it follows what '{seer}' sees; use it so: "
                f"mien live --model {seer} --temporal"
            )
        self.threads = threads
        # By process: in a forked one the parent's session has lost its threads. It is kept, as closing it would crash.
        self._sessions = {os.getpid(): self._open()}
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]
        if len(self._outputs) < len(self.spec.heads):
            raise ModelError(
                f"{path} has {len(self._outputs)} outputs but its spec names {len(self.spec.heads)}: "
                f"{', '.join(self.spec.names)}; export or adopt it again"
            )

    def __reduce__(self) -> tuple[Callable[..., OnnxClassifier], tuple[Path]]:
        return partial(OnnxClassifier, threads=self.threads), (self.path,)

    @property
    def _session(self) -> ort.InferenceSession:
        """The session of this process."""
        process = os.getpid()
        if process not in self._sessions:
            self._sessions[process] = self._open()
        return self._sessions[process]

    def _open(self) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        # One call's peak is small; without the arena, memory does not stay at the largest batch ever seen.
        options.enable_cpu_mem_arena = False
        # Its threads would wait busily after each face and take the cores from the detector, which is at work then.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return ort.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions have no common base
            reason = str(error).splitlines()[0]
            raise ModelError(f"ONNX Runtime cannot load {self.path}: {reason}") from error

    def predict_proba(self, crops: Sequence[ImageArray], *, head: str | None = None) -> FloatArray:
        """Return the probabilities of every crop.

        Args:
            crops: uint8, each (H, W), (H, W, 1) grey or (H, W, 3) RGB; any sizes, any number.
            head: Name of a label set of the model; its default one when None.

        Returns:
            float32 (n, k); rows sum to 1.

        Raises:
            ModelError: No such head, or the graph does not take what the spec says.
        """
        (probabilities,) = self._run(crops, [self.spec.head(head)])
        return probabilities

    def predict_heads(self, crops: Sequence[ImageArray]) -> list[FloatArray]:
        """Return what `predict_proba` does for each head, in the order of the spec, having seen the crops once."""
        return self._run(crops, self.spec.heads)

    def _run(self, crops: Sequence[ImageArray], heads: Sequence[Head]) -> list[FloatArray]:
        if not len(crops):
            return [np.empty((0, len(head.labels)), np.float32) for head in heads]
        pixels = preprocess(crops, self.spec.preprocess)
        outputs = [self._output_of(head.labels.name) for head in heads]
        try:
            found = self._session.run(outputs, {self._input: self._graph_input(pixels)})
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"{self.path} does not take what its spec says: {reason}") from error
        return [self._probabilities(scores, head, n=len(crops)) for scores, head in zip(found, heads, strict=True)]

    def _probabilities(self, scores: FloatArray, head: Head, *, n: int) -> FloatArray:
        if scores.shape != (n, len(head.labels)):
            raise ModelError(
                f"{self.path} gives {scores.shape} for {n} faces and {len(head.labels)} labels; "
                "adopt it again with the right labels"
            )
        if self.spec.graph.output == "logits":
            scores = softmax(scores, temperature=head.temperature)
        return np.asarray(scores, np.float32)

    def _output_of(self, name: str) -> str:
        """Our own graphs name outputs after the label sets; a foreign one is taken in order."""
        return name if name in self._outputs else self._outputs[self.spec.names.index(name)]

    def _graph_input(self, pixels: ImageArray) -> ImageArray | FloatArray:
        if self.spec.graph.input == "uint8-nhwc":
            return pixels
        scaled = normalize_array(pixels, self.spec.preprocess.normalize)
        if self.spec.graph.input == "float32-nchw":
            return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
        return scaled


def load_classifier(name: str = "base", *, models_dir: Path | None = None, threads: int = 0) -> OnnxClassifier:
    """Load a model by its name, or by the path of an ONNX file.

    Args:
        name: A shipped or user model, see `mien models`, or a path ending in .onnx.
        models_dir: Directory of user models; the default one when None.
        threads: As for `OnnxClassifier`.

    Raises:
        UnknownModel: No such model.
        ModelError: The file is not a model of ours.
    """
    return OnnxClassifier(find_model(name, models_dir=models_dir), threads=threads)


def predict_heads(classifier: ExpressionClassifier, crops: Sequence[ImageArray]) -> list[FloatArray]:
    """Return the probabilities (n, k) of each head of a classifier; an ONNX file sees the crops once for all."""
    if isinstance(classifier, OnnxClassifier):
        return classifier.predict_heads(crops)
    return [classifier.predict_proba(crops, head=name) for name in classifier.spec.names]


def normalize_array(pixels: ImageArray, mode: Normalize) -> FloatArray:
    """Do what `models.nets.normalize` does, for graphs that expect it done: uint8 (n, H, W, C) to float32."""
    scaled = pixels.astype(np.float32)
    if mode == "unit":
        return scaled / np.float32(255)
    if mode == "signed":
        return scaled / np.float32(127.5) - np.float32(1)
    if mode == "none":
        return scaled
    centred = scaled - scaled.mean((1, 2, 3), keepdims=True)
    deviation = np.sqrt(np.square(centred).mean((1, 2, 3), keepdims=True)) + np.float32(1)
    return np.asarray(centred / deviation, np.float32)


def softmax(logits: FloatArray, *, temperature: float = 1.0) -> FloatArray:
    """Return the probabilities of logits divided by a temperature.

    Log-probabilities are logits too: `softmax(log(p))` is p, and `softmax(log(p), temperature=1 / t)` undoes
    a temperature t that p was made with.

    Args:
        logits: Finite numbers, shape (n, k).
        temperature: Above 1 softens, below 1 sharpens.

    Returns:
        float32 (n, k), rows sum to 1.
    """
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
