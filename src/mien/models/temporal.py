"""Temporal models: a small recurrent model on top of a classifier, in place of smoothing by half-life."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mien.errors import ModelError, UnknownModel
from mien.files import as_path
from mien.labels import LabelSet
from mien.models.classifier import ExpressionClassifier
from mien.models.limited import try_model
from mien.models.onnx_file import graph_fingerprint, read_spec
from mien.models.runtime import Session, as_model_error
from mien.models.spec import ModelSpec
from mien.models.store import list_models
from mien.structures import FloatArray


class TemporalModel:
    """An ONNX file that updates the state of each track by one frame: a GRU (Cho et al. 2014, arXiv:1406.1078).

    A file that did not come with mien is tried once in a process with limits of time and memory, see
    `limited.try_model`.

    Args:
        path: The file, written by `training.temporal`.
        spec: The spec inside, where the file is trusted and need not be tried.

    Raises:
        ModelError: Not ONNX, not a temporal model, or it did not pass its trial.
    """

    def __init__(self, path: str | Path, *, spec: ModelSpec | None = None) -> None:
        self.path = path = as_path(path)
        self.spec = read_spec(path) if spec is None else spec
        if self.spec.temporal is None:
            kind = self.spec.kind
            raise ModelError(f"{path} is a {kind} model, not a temporal model; train one for it: mien train-temporal")
        self.labels, self.belongs = self.spec.labels, self.spec.temporal
        if spec is None:
            try_model(path)
        self._session = Session(path, threads=1)  # a step takes microseconds

    def check(self, classifier: ExpressionClassifier, labels: LabelSet) -> None:
        """Check that the model was trained for a classifier and predicts these labels.

        Raises:
            ModelError: It was trained for another classifier, or predicts other labels.
        """
        name, path = classifier.spec.name, getattr(classifier, "path", None)
        if path is None or graph_fingerprint(path) != self.belongs.fingerprint:
            raise ModelError(
                f"{self.path} was trained for another classifier ('{self.belongs.classifier}'), not for this '{name}'; "
                f"train one for it: mien train-temporal --model {name}"
            )
        if labels != self.labels:
            raise ModelError(
                f"{self.path} predicts the labels '{self.labels.name}', not '{labels.name}'; use those, or train "
                f"another one: mien train-temporal --model {name} --labels {labels.name}"
            )

    def step(self, heads: FloatArray, seconds: FloatArray, state: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Advance n tracks by one frame.

        Args:
            heads: Probabilities of the classifier's heads for each track's face, side by side, (n, width).
            seconds: Time since the track's previous frame, (n, 1); 0 for a new track.
            state: State of each track, (n, state); zeros for a new track.

        Returns:
            Probabilities (n, k), and the new state.

        Raises:
            ModelError: The graph does not match the spec.
        """
        inputs = {"heads": heads, "seconds": seconds, "state": state}
        with as_model_error(self.path):
            probabilities, new = self._session.run(["probabilities", "new_state"], inputs)
        return np.asarray(probabilities, np.float32), np.asarray(new, np.float32)


def find_temporal(
    classifier: ExpressionClassifier, labels: LabelSet, *, models_dir: Path | None = None
) -> TemporalModel:
    """Return the temporal model of a classifier: a user's before a shipped one, the last by name.

    Args:
        classifier: The classifier it was trained for.
        labels: The labels it predicts.
        models_dir: Directory of the user's models; the default one when None.

    Raises:
        UnknownModel: None of the installed ones fits.
    """
    installed = []
    for found in reversed(list_models(models_dir, kind="temporal")):
        try:
            model = TemporalModel(found.path)
            installed.append(f"{found.name} (for {model.belongs.classifier}, {model.labels.name})")
            model.check(classifier, labels)
        except ModelError:  # a damaged file must not keep others from use
            continue
        return model
    name = classifier.spec.name
    raise UnknownModel(
        f"no temporal model fits this '{name}' and the labels '{labels.name}'; installed: "
        f"{', '.join(installed) or 'none'}; choose the labels (--labels) of one, or train one: "
        f"mien train-temporal --model {name}"
    )
