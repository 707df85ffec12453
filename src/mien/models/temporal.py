"""What a face shows over time, by a small recurrent model on top of a classifier, in place of the fixed smoothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mien.errors import ModelError, UnknownModel
from mien.labels import LabelSet
from mien.models.classifier import ExpressionClassifier, OnnxClassifier
from mien.models.onnx_file import graph_fingerprint, read_spec
from mien.models.runtime import onnxruntime as ort
from mien.models.store import list_models
from mien.structures import FloatArray


class TemporalModel:
    """An ONNX file that goes one frame further with each track: a GRU (Cho et al. 2014, arXiv:1406.1078).

    Args:
        path: The file, made by `training.temporal`.

    Raises:
        ModelError: Not ONNX, or no temporal model.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.spec = path, read_spec(path)
        if self.spec.temporal is None:
            raise ModelError(f"{path} is a classifier, no temporal model; train one for it: mien train-temporal")
        self.labels, self.belongs = self.spec.labels, self.spec.temporal
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # a step takes microseconds
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions have no common base
            raise ModelError(f"ONNX Runtime cannot load {path}: {str(error).splitlines()[0]}") from error

    def __reduce__(self) -> tuple[type[TemporalModel], tuple[Path]]:
        return type(self), (self.path,)

    def check(self, classifier: ExpressionClassifier, labels: LabelSet) -> None:
        """Make sure that the model was trained for a classifier and answers with these labels.

        Raises:
            ModelError: It was not, or does not.
        """
        name = classifier.spec.name
        if not isinstance(classifier, OnnxClassifier) or graph_fingerprint(classifier.path) != self.belongs.fingerprint:
            raise ModelError(
                f"{self.path} follows what one certain '{self.belongs.classifier}' sees, not this '{name}'; train one "
                f"for it: mien train-temporal --model {name}"
            )
        if labels != self.labels:
            raise ModelError(
                f"{self.path} answers with the labels '{self.labels.name}', not '{labels.name}'; take those, or train "
                f"another one: mien train-temporal --model {name} --labels {labels.name}"
            )

    def step(self, heads: FloatArray, seconds: FloatArray, state: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Go one frame further with n tracks.

        Args:
            heads: What the classifier's heads say of each track's face, side by side, (n, width).
            seconds: Since the track's frame before, (n, 1); 0 for a new one.
            state: What is remembered of each track, (n, state); zeros for a new one.

        Returns:
            Probabilities (n, k), and the new state.
        """
        inputs = {"heads": heads, "seconds": seconds, "state": state}
        probabilities, new = self._session.run(["probabilities", "new_state"], inputs)
        return np.asarray(probabilities, np.float32), np.asarray(new, np.float32)


def find_temporal(
    classifier: ExpressionClassifier, labels: LabelSet, *, models_dir: Path | None = None
) -> TemporalModel:
    """Return the temporal model that belongs to a classifier: the user's before a shipped one, the last by name.

    Args:
        classifier: What it is to follow.
        labels: What it is to answer with.
        models_dir: Directory of user models; the default one when None.

    Raises:
        UnknownModel: None at hand fits.
    """
    known = []
    for found in reversed(list_models(models_dir, temporal=True)):
        try:
            model = TemporalModel(found.path)
            known.append(f"{found.name} (for {model.belongs.classifier}, {model.labels.name})")
            model.check(classifier, labels)
        except ModelError:  # a damaged one must not keep others from use
            continue
        return model
    name = classifier.spec.name
    raise UnknownModel(
        f"no temporal model fits this '{name}' and the labels '{labels.name}'; at hand: "
        f"{', '.join(known) or 'none'}; train one: mien train-temporal --model {name}"
    )
