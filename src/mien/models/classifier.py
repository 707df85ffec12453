"""Face crops to probabilities, by ONNX Runtime alone. See docs/decisions/0001."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from mien.errors import ModelError
from mien.images import ImageLike
from mien.models.onnx_file import read_spec
from mien.models.preprocess import preprocess
from mien.models.runtime import Session
from mien.models.spec import DEFAULT_MODEL, Head, ModelSpec, Normalize
from mien.models.store import find_model
from mien.structures import FloatArray, ImageArray


class ExpressionClassifier(Protocol):
    """A classifier of face crops."""

    @property
    def spec(self) -> ModelSpec:
        """Labels, input and origin of the model."""
        ...

    def predict_proba(self, crops: Sequence[ImageArray], *, head: str | None = None) -> FloatArray:
        """Return probabilities, float32 (n, k), of uint8 crops, each (H, W[, 1]) grey or (H, W, 3) RGB."""
        ...


class OnnxClassifier:
    """A classifier in an ONNX file with a spec inside; threads may share it, and it survives pickling and forks.

    Args:
        path: The file.
        threads: Threads of ONNX Runtime; 0 for one per core.

    Raises:
        ModelError: Not ONNX, not a classifier of faces, or with fewer outputs than heads.
        MissingSpec: No spec inside.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        self.path = path
        self.spec = read_spec(path)
        _check_kind(path, self.spec)
        self._session = Session(path, threads=threads)
        self._input, self._outputs = self._session.input, self._session.outputs
        if len(self._outputs) < len(self.spec.heads):
            raise ModelError(
                f"{path} has {len(self._outputs)} outputs, but its spec has {len(self.spec.heads)} heads: "
                f"{', '.join(self.spec.names)}; export or add it again"
            )

    def predict_proba(self, crops: Iterable[ImageLike], *, head: str | None = None) -> FloatArray:
        """Return the probabilities of each crop.

        Args:
            crops: Each as for `mien.to_rgb`, usually uint8 (H, W, 3) RGB; any sizes, any number.
            head: Label set of the head; the default head when None.

        Returns:
            float32 (n, k); rows sum to 1.

        Raises:
            ModelError: No such head, or the graph does not match the spec.
            InputError: It is a single crop, or one that is no image or empty.
        """
        (probabilities,) = self._run(crops, [self.spec.head(head)])
        return probabilities

    def predict_heads(self, crops: Iterable[ImageLike]) -> list[FloatArray]:
        """Return the probabilities of each head, in the order of the spec, from one pass over the crops."""
        return self._run(crops, self.spec.heads)

    def _run(self, crops: Iterable[ImageLike], heads: Sequence[Head]) -> list[FloatArray]:
        pixels = preprocess(crops, self.spec.preprocess)
        if not len(pixels):
            return [np.empty((0, len(head.labels)), np.float32) for head in heads]
        outputs = [self._output_of(head.labels.name) for head in heads]
        try:
            found = self._session.run(outputs, {self._input: self._graph_input(pixels)})
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            reason = str(error).splitlines()[0]
            raise ModelError(f"{self.path} rejects the input that its spec describes: {reason}") from error
        return [self._probabilities(scores, head, n=len(pixels)) for scores, head in zip(found, heads, strict=True)]

    def _probabilities(self, scores: FloatArray, head: Head, *, n: int) -> FloatArray:
        if scores.shape != (n, len(head.labels)):
            raise ModelError(
                f"{self.path} returns shape {scores.shape} for {n} faces and {len(head.labels)} labels; "
                "add it again with the right labels"
            )
        if self.spec.graph.output == "logits":
            scores = softmax(scores, temperature=head.temperature)
        return np.asarray(scores, np.float32)

    def _output_of(self, name: str) -> str:
        """Return the output of a head: mien names outputs after label sets; in other graphs the order counts."""
        return name if name in self._outputs else self._outputs[self.spec.names.index(name)]

    def _graph_input(self, pixels: ImageArray) -> ImageArray | FloatArray:
        if self.spec.graph.input == "uint8-nhwc":
            return pixels
        scaled = normalize_array(pixels, self.spec.preprocess.normalize)
        if self.spec.graph.input == "float32-nchw":
            return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
        return scaled


def _check_kind(path: Path, spec: ModelSpec) -> None:
    """Raise ModelError unless the model classifies faces."""
    if spec.temporal is not None:
        classifier = spec.temporal.classifier
        raise ModelError(
            f"{path} is a temporal model, which smooths the probabilities of '{classifier}' and sees no faces itself; "
            f"use it like this: mien live --model {classifier} --temporal"
        )
    if spec.kind != "face":
        raise ModelError(f"{path}: this mien cannot use models of kind '{spec.kind}'; upgrade mien")


def load_classifier(name: str = DEFAULT_MODEL, *, models_dir: Path | None = None, threads: int = 0) -> OnnxClassifier:
    """Load a model by its name or by the path of an ONNX file.

    Args:
        name: Name of an installed model, see `mien models`, or a path ending in .onnx.
        models_dir: Directory of the user's models; the default one when None.
        threads: Threads of ONNX Runtime; 0 for one per core.

    Raises:
        UnknownModel: No such model.
        ModelError: The file is not a classifier with a spec.
    """
    return OnnxClassifier(find_model(name, models_dir=models_dir), threads=threads)


def predict_heads(classifier: ExpressionClassifier, crops: Sequence[ImageArray]) -> list[FloatArray]:
    """Return the probabilities, float32 (n, k), of each head; in one pass where the classifier is an ONNX file."""
    if isinstance(classifier, OnnxClassifier):
        return classifier.predict_heads(crops)
    return [classifier.predict_proba(crops, head=name) for name in classifier.spec.names]


def normalize_array(pixels: ImageArray, mode: Normalize) -> FloatArray:
    """Normalise pixels like `nets.nets.normalize`, uint8 (n, H, W, C) to float32, for graphs that don't do it."""
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
    """Return the softmax of logits divided by a temperature.

    Log-probabilities are logits too: `softmax(log(p))` is p, and `softmax(log(p), temperature=1 / t)` undoes
    a temperature t that p was computed with.

    Args:
        logits: Finite numbers, shape (n, k).
        temperature: Above 1 softens, below 1 sharpens.

    Returns:
        float32 (n, k), rows sum to 1.
    """
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
