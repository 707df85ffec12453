"""Are the figures that models are published with still so? They are measured again and held against the spec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mien.data.dataset import SPLITS, Dataset
from mien.errors import DatasetError, ModelError
from mien.evaluation.evaluate import evaluate
from mien.evaluation.views import VIEWS
from mien.models.classifier import ExpressionClassifier
from mien.models.spec import ModelSpec
from mien.structures import Progress

TOLERANCE = 0.0005  # of an accuracy: other processors and versions of ONNX Runtime turn a few close answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A published figure, and what it is today.

    Args:
        key: What it is of: "test/single/accuracy".
        published: The figure in the spec, in [0, 1].
        measured: The figure now.
    """

    key: str
    published: float
    measured: float

    @property
    def holds(self) -> bool:
        """Whether the two differ by no more than `TOLERANCE`."""
        return abs(self.measured - self.published) <= TOLERANCE + 1e-9


def published_on(spec: ModelSpec, datasets: Sequence[Dataset]) -> Dataset:
    """Return the dataset that a model is published for, by its fingerprint; the first one if none is it."""
    fingerprint = spec.trained_on.get("fingerprint")
    return next((dataset for dataset in datasets if dataset.fingerprint == fingerprint), datasets[0])


def check_published(
    classifier: ExpressionClassifier, dataset: Dataset, *, progress: Progress | None = None
) -> list[Claim]:
    """Measure each figure of a model's spec again.

    Args:
        classifier: The model.
        dataset: The data that it was trained on and published with.
        progress: As in `evaluate`, for one split after another.

    Raises:
        ModelError: The spec has no figures, or one that mien doesn't know how to measure.
        DatasetError: The dataset's fingerprint is not that of the spec.
    """
    spec = classifier.spec
    if not spec.metrics:
        raise ModelError(f"model '{spec.name}' is published without figures; measure it with mien evaluate")
    keys = {key: key.split("/") for key in spec.metrics}
    for key, parts in keys.items():
        if len(parts) != 3 or parts[0] not in SPLITS or parts[1] not in VIEWS or parts[2] != "accuracy":
            raise ModelError(f"model '{spec.name}' has the figure '{key}'; expected SPLIT/VIEW/accuracy; upgrade mien")
    if dataset.fingerprint != spec.trained_on.get("fingerprint"):
        raise DatasetError(
            f"dataset '{dataset.name}' has fingerprint {dataset.fingerprint[:12]}…, but model '{spec.name}' is "
            f"published for {spec.trained_on.get('fingerprint', 'unknown')[:12]}…; give the very data with --data"
            + (f", which this draws: {' && '.join(spec.made_by)}" if spec.made_by else "")
        )
    measured: dict[str, float] = {}
    for split in SPLITS:
        if views := [view for key_split, view, _ in keys.values() if key_split == split]:
            results = evaluate(classifier, dataset, split=split, views=views, progress=progress).views
            measured |= {f"{split}/{view}/accuracy": results[view].accuracy.value for view in views}
    return [Claim(key=key, published=figure, measured=measured[key]) for key, figure in spec.metrics.items()]
