"""Re-measure the figures published in a model's spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mien.data.dataset import SPLITS, Dataset
from mien.errors import ConfigError, DatasetError, ModelError
from mien.evaluation.evaluate import NamedProgress, evaluate, no_progress
from mien.evaluation.views import VIEWS
from mien.models.classifier import ExpressionClassifier
from mien.models.spec import ModelSpec
from mien.structures import Progress

TOLERANCE = 0.0005  # of an accuracy: other processors and versions of ONNX Runtime change a few close predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A published figure and its re-measured value.

    Args:
        key: Split, view and metric: "test/single/accuracy".
        published: The figure in the spec, in [0, 1].
        measured: The re-measured figure; None if the model's data was not given.
    """

    key: str
    published: float
    measured: float | None

    @property
    def difference(self) -> float | None:
        """Measured minus published; None if not measured."""
        return None if self.measured is None else self.measured - self.published

    @property
    def holds(self) -> bool | None:
        """Whether the two differ by at most `TOLERANCE`; None if not measured."""
        return None if self.difference is None else abs(self.difference) <= TOLERANCE + 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCheck:
    """The claims of one model.

    Args:
        model: Name of the model.
        claims: One per figure of its spec.
        problem: Why they were not measured; empty if they were.
    """

    model: str
    claims: list[Claim]
    problem: str = ""


def check_models(
    classifiers: Mapping[str, ExpressionClassifier],
    datasets: Sequence[Dataset],
    *,
    progress: NamedProgress = no_progress,
) -> list[PublishedCheck]:
    """Re-measure the published figures of several models, each on its own dataset.

    Args:
        classifiers: By name.
        datasets: The data the models are published with; a model whose data is missing is not measured.
        progress: Opens the progress of each model by its name.

    Raises:
        ModelError: A spec has no figures, or an unknown one.
    """
    checks = []
    for name, classifier in classifiers.items():
        try:
            with progress(name) as advance:
                claims = check_published(classifier, published_on(classifier.spec, datasets), progress=advance)
            checks.append(PublishedCheck(model=name, claims=claims))
        except DatasetError as error:  # the others can be checked nevertheless
            unmeasured = [Claim(key=k, published=f, measured=None) for k, f in classifier.spec.metrics.items()]
            checks.append(PublishedCheck(model=name, claims=unmeasured, problem=str(error)))
    return checks


def published_on(spec: ModelSpec, datasets: Sequence[Dataset]) -> Dataset:
    """Return the dataset with the fingerprint a model is published for; the first one if none has it.

    Raises:
        ConfigError: There is no dataset.
    """
    if not datasets:
        raise ConfigError("no dataset to measure on; give one with --data")
    fingerprint = spec.trained_on.get("fingerprint")
    return next((dataset for dataset in datasets if dataset.fingerprint == fingerprint), datasets[0])


def check_published(
    classifier: ExpressionClassifier, dataset: Dataset, *, progress: Progress | None = None
) -> list[Claim]:
    """Re-measure each figure in a model's spec.

    Args:
        classifier: The model.
        dataset: The data the model was trained on and published with.
        progress: As in `evaluate`, one split after another.

    Raises:
        ModelError: The spec has no figures, or an unknown one.
        DatasetError: The dataset's fingerprint is not that of the spec.
    """
    spec = classifier.spec
    views = _published_views(spec)
    if dataset.fingerprint != spec.trained_on.get("fingerprint"):
        raise DatasetError(
            f"dataset '{dataset.name}' has fingerprint {dataset.fingerprint[:12]}…, but model '{spec.name}' is "
            f"published for {spec.trained_on.get('fingerprint', 'unknown')[:12]}…; give that data with --data"
            + (f", drawn by: {' && '.join(spec.made_by)}" if spec.made_by else "")
        )
    measured: dict[str, float] = {}
    for split in SPLITS:
        if of_split := [view for key_split, view in views if key_split == split]:
            results = evaluate(classifier, dataset, split=split, views=of_split, progress=progress).views
            measured |= {f"{split}/{view}/accuracy": results[view].accuracy.value for view in of_split}
    return [Claim(key=key, published=figure, measured=measured[key]) for key, figure in spec.metrics.items()]


def _published_views(spec: ModelSpec) -> list[tuple[str, str]]:
    """Return split and view of each figure in the spec."""
    if not spec.metrics:
        raise ModelError(f"model '{spec.name}' is published without figures; measure it with mien evaluate")
    views: list[tuple[str, str]] = []
    for key in spec.metrics:
        parts = key.split("/")
        if len(parts) != 3 or parts[0] not in SPLITS or parts[1] not in VIEWS or parts[2] != "accuracy":
            raise ModelError(f"model '{spec.name}' has the figure '{key}'; expected SPLIT/VIEW/accuracy; upgrade mien")
        views.append((parts[0], parts[1]))
    return views
