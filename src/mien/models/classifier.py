"""Face crops to probabilities, by ONNX Runtime alone. See docs/decisions/0001."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from mien.errors import ModelError
from mien.files import as_path
from mien.images import ImageLike, each_image
from mien.models.limited import try_model
from mien.models.onnx_file import read_spec
from mien.models.preprocess import preprocess
from mien.models.runtime import Session, as_model_error
from mien.models.spec import DEFAULT_MODEL, FACE_KINDS, Head, ModelSpec, Normalize
from mien.models.store import find_model
from mien.structures import FloatArray, ImageArray


class ExpressionClassifier(Protocol):
    """A classifier of face crops."""

    @property
    def spec(self) -> ModelSpec:
        """Labels, input and origin of the model."""
        ...

    def predict_proba(self, crops: Sequence[ImageArray], *, head: str | None = None) -> FloatArray:
        """Return probabilities, float32 (n, k), of uint8 crops, each (H, W[, 1]) grey or (H, W, 3) RGB.

        Rows sum to 1. `head` names a label set, the default head when None.

        Raises:
            ModelError: The model has no such head.
        """
        ...


class OnnxClassifier:
    """A classifier in an ONNX file with a spec inside; threads may share it, and it survives pickling and forks.

    A file that did not come with mien is tried once in a process with limits of time and memory, see
    `limited.try_model`.

    Args:
        path: The file.
        threads: Threads of ONNX Runtime; 0 for one per core.
        device: Where it runs, see `runtime.provider_of`.
        spec: The spec to use in place of the one inside; the file is then trusted, not tried.

    Raises:
        ModelError: Not ONNX, not a classifier of faces, without an output of its spec, or it did not pass its trial.
        MissingSpec: No spec inside.
    """

    def __init__(
        self, path: str | Path, *, threads: int = 0, device: str = "cpu", spec: ModelSpec | None = None
    ) -> None:
        self.path = path = as_path(path)
        self.spec = read_spec(path) if spec is None else spec
        _check_kind(path, self.spec)
        if spec is None:
            try_model(path)
        self._session = Session(path, threads=threads, device=device)
        self._inputs, self._outputs = (
            [value.name for value in values] for values in (self._session.inputs, self._session.outputs)
        )
        if self.spec.graph.scores and self.spec.graph.scores not in self._outputs:
            raise ModelError(
                f"{path} has no output '{self.spec.graph.scores}', as its spec says; its outputs: "
                f"{', '.join(self._outputs)}; add it again"
            )
        if len(self._inputs) < len(self.spec.inputs):
            raise ModelError(
                f"{path} has {len(self._inputs)} inputs, but its spec has {len(self.spec.inputs)}; make it again"
            )
        if len(self._outputs) < len(self.spec.heads):
            raise ModelError(
                f"{path} has {len(self._outputs)} outputs, but its spec has {len(self.spec.heads)} heads: "
                f"{', '.join(self.spec.names)}; export or add it again"
            )

    @property
    def device(self) -> str:
        """Name of the device that it runs on, in `runtime.DEVICES`."""
        return self._session.device

    def predict_proba(self, crops: Iterable[ImageLike], *, head: str | None = None) -> FloatArray:
        """Return the probabilities of each crop.

        Args:
            crops: Each as for `mien.to_rgb`, usually uint8 (H, W, 3) RGB; any sizes, any number.
            head: Label set of the head; the default head when None.

        Returns:
            float32 (n, k); rows sum to 1.

        Raises:
            ModelError: No such head, or the graph does not match the spec.
            InputError: It is a single crop, or one is not an image or is empty.
        """
        (probabilities,) = self._run(crops, [self.spec.head(head)])
        return probabilities

    def predict_heads(self, crops: Iterable[ImageLike]) -> list[FloatArray]:
        """Return the probabilities of each head, in the order of the spec, from one pass over the crops."""
        return self._run(crops, self.spec.heads)

    def scores(self, crops: Iterable[ImageLike]) -> FloatArray:
        """Return the numbers that the graph gives for the default head, float32 (n, columns), before anything else."""
        return self._run_graph(self._pixels(crops), [self.spec.head()])[0]

    def _run(self, crops: Iterable[ImageLike], heads: Sequence[Head]) -> list[FloatArray]:
        pixels = self._pixels(crops)
        if not len(pixels[0]):
            return [np.empty((0, len(head.labels)), np.float32) for head in heads]
        found = self._run_graph(pixels, heads)
        return [self._probabilities(scores, head) for scores, head in zip(found, heads, strict=True)]

    def _pixels(self, crops: Iterable[ImageLike]) -> list[ImageArray]:
        """Return the pixels of crops for each input of the graph, uint8 (n, size, size, channels)."""
        crops = list(each_image(crops, name="crops"))
        return [preprocess(crops, config) for config in self.spec.inputs]

    def _run_graph(self, pixels: Sequence[ImageArray], heads: Sequence[Head]) -> list[FloatArray]:
        """Return the scores of some heads, float32 (n, columns) each."""
        outputs = [self._output_of(head.labels.name) for head in heads]
        n = len(pixels[0])
        size = self.spec.graph.batch or n
        parts = [
            self._run_batch([each[start : start + size] for each in pixels], outputs) for start in range(0, n, size)
        ]
        return [np.concatenate(scores) for scores in zip(*parts, strict=True)] if len(parts) > 1 else parts[0]

    def _run_batch(self, pixels: Sequence[ImageArray], outputs: list[str]) -> list[FloatArray]:
        """Return the outputs for some images, at most the size of a fixed batch, which is filled up by repetition."""
        n = len(pixels[0])
        size = self.spec.graph.batch or n
        if n < size:
            pixels = [np.concatenate([each, np.repeat(each[-1:], size - n, axis=0)]) for each in pixels]
        with as_model_error(self.path):
            inputs = {name: self._graph_input(each) for name, each in zip(self._inputs, pixels, strict=False)}
            found = self._session.run(outputs, inputs)
        return [self._rows(scores, size)[:n] for scores in found]

    def _rows(self, scores: FloatArray, n: int) -> FloatArray:
        """Return an output as one row per image; some graphs keep axes of one: (n, k, 1, 1), or (k,) for one image."""
        scores = np.asarray(scores, np.float32)
        if scores.size % n or (scores.shape[:1] != (n,) and n > 1):
            raise ModelError(f"{self.path} returns shape {scores.shape} for {n} faces; expected one row per face")
        return scores.reshape(n, -1)

    def _probabilities(self, scores: FloatArray, head: Head) -> FloatArray:
        graph = self.spec.graph
        if graph.columns and max(graph.columns) < scores.shape[1]:
            scores = scores[:, graph.columns]
        if scores.shape[1] != len(head.labels):
            raise ModelError(
                f"{self.path} returns shape {scores.shape} for {len(scores)} faces and {len(head.labels)} labels; "
                "add it again with the right labels"
            )
        if not np.isfinite(scores).all():
            raise ModelError(f"{self.path} returns numbers that are not finite; export it again, as float32")
        if graph.output == "logits":
            return softmax(scores, temperature=head.temperature)
        if graph.columns:  # the classes left out are ruled out, even where they have all the probability
            total = scores.sum(1, keepdims=True, dtype=np.float64)
            shares = scores / np.where(total == 0, 1, total)
            scores = np.where(total == 0, 1 / len(head.labels), shares).astype(np.float32)
        if not are_probabilities(scores):
            raise ModelError(
                f"{self.path} returns {scores.min():.3g} to {scores.max():.3g}, no probabilities, as its spec "
                "says; add it again: mien models add … --graph-output logits"
            )
        return scores

    def _output_of(self, name: str) -> str:
        """Return the output of a head: mien names outputs after label sets; in other graphs the order counts."""
        if self.spec.graph.scores:
            return self.spec.graph.scores
        return name if name in self._outputs else self._outputs[self.spec.names.index(name)]

    def _graph_input(self, pixels: ImageArray) -> ImageArray | FloatArray:
        graph = self.spec.graph
        dtype, _, layout = graph.input.partition("-")
        x = pixels if dtype == "uint8" else normalize_array(pixels, self.spec.preprocess.normalize)
        if graph.bgr:
            x = x[..., ::-1]
        if graph.mean:
            x = np.asarray(x - np.array(graph.mean, np.float32), np.float32)
        if graph.deviation:
            x = np.asarray(x / np.array(graph.deviation, np.float32), np.float32)
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2) if layout == "nchw" else x, dtype)


def are_probabilities(scores: FloatArray) -> bool:
    """Return whether each row lies between 0 and 1 and sums to 1, with the tolerance that float16 needs."""
    inside = (scores > -1e-3).all() and (scores < 1 + 1e-3).all()
    return bool(inside and np.allclose(scores.sum(1), 1, atol=1e-2))


def _check_kind(path: Path, spec: ModelSpec) -> None:
    """Raise ModelError unless the model classifies faces."""
    if spec.temporal is not None:
        classifier = spec.temporal.classifier
        raise ModelError(
            f"{path} is a temporal model, which smooths the probabilities of '{classifier}' and sees no faces itself; "
            f"use it like this: mien live --model {classifier} --temporal"
        )
    if spec.kind not in FACE_KINDS:
        raise ModelError(
            f"{path} is a voice model, which hears speech and sees no faces; use it like this: "
            f"mien listen FILE --model {spec.name}"
        )


def load_classifier(
    name: str | Path = DEFAULT_MODEL, *, models_dir: Path | None = None, threads: int = 0, device: str = "cpu"
) -> OnnxClassifier:
    """Load a model by its name or by the path of an ONNX file; a user's file is tried once, see `limited.try_model`.

    Args:
        name: Name of an installed model, see `mien models`, or a path ending in .onnx.
        models_dir: Directory of the user's models; the default one when None.
        threads: Threads of ONNX Runtime; 0 for one per core.
        device: Where it runs, see `runtime.provider_of`.

    Raises:
        ConfigError: No such device.
        UnknownModel: No such model.
        ModelError: The file is not a classifier with a spec, or did not pass its trial.
    """
    return OnnxClassifier(find_model(name, models_dir=models_dir), threads=threads, device=device)


def predict_heads(classifier: ExpressionClassifier, crops: Sequence[ImageArray]) -> list[FloatArray]:
    """Return the probabilities, float32 (n, k), of each head; in one pass where the classifier has `predict_heads`."""
    at_once = getattr(classifier, "predict_heads", None)
    if at_once is not None:
        return list(at_once(crops))
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
