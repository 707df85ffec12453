"""metrics.json: the metrics of an evaluation as plain data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypedDict, cast

from mien.errors import ConfigError, InputError
from mien.evaluation.ranking import PairAuc
from mien.evaluation.results import (
    Accuracy,
    CalibrationScores,
    DegradedResult,
    EndToEnd,
    Evaluation,
    LeakCriterion,
    Slice,
    SliceColumn,
    ViewResult,
)
from mien.files import refuse_pipe
from mien.settings import Range, checked, shown

METRICS_VERSION = 4  # 2: intervals, calibration, raters; 3: leak criterion; 4: keys renamed, see _RENAMED
_DIGITS = 5  # after the point: resolves one image in 100,000
_RENAMED = {  # key up to version 3 -> key since
    "honesty": "calibration",
    "answering": "operating_point",
    "wanted": "target_accuracy",
    "unleaked": "leak_free",
    "same": "leak_criterion",
    "n_left_out": "n_excluded",
}
Count: TypeAlias = Annotated[int, Range(0)]


class AccuracyMetrics(TypedDict):
    """Share of correct predictions with its 95 % Wilson interval."""

    n: Annotated[int, Range(1)]
    correct: Count
    accuracy: float
    accuracy_low: float
    accuracy_high: float


class ClassMetrics(TypedDict):
    """Scores of one class."""

    precision: float
    recall: float
    f1: float
    support: Count


class BinMetrics(TypedDict):
    """One bin of a reliability diagram; see `metrics.Bin`."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


class OperatingPointMetrics(TypedDict):
    """Coverage and accuracy at a confidence threshold; see `selective.OperatingPoint`."""

    target_accuracy: float
    threshold: float
    n: int
    coverage: float
    accuracy: float
    low: float
    high: float


class CalibrationMetrics(TypedDict):
    """Calibration and selective prediction; see `results.CalibrationScores`."""

    nll: float
    brier: float
    ece: float
    aurc: float
    reliability: list[BinMetrics]
    operating_point: OperatingPointMetrics | None


class RaterMetrics(TypedDict):
    """Agreement with the raters' votes; see `results.RaterAgreement`."""

    kl: float
    cross_entropy: float


class AucMetrics(TypedDict):
    """AUC of happy against neutral, with its 95 % interval if there is one; see `ranking.PairAuc`."""

    auc: float
    low: float | None
    high: float | None
    n_happy: int
    n_neutral: int


class EndToEndClassMetrics(TypedDict):
    """Recall of one class with missed faces counted as wrong, and their number."""

    recall: float
    missed: int


class EndToEndMetrics(AccuracyMetrics):
    """Results with missed faces counted as wrong; see `results.EndToEnd`."""

    n_missed: int
    balanced_accuracy: float
    balanced_accuracy_low: float
    balanced_accuracy_high: float
    classes: dict[str, EndToEndClassMetrics]


class OptionalViewMetrics(TypedDict, total=False):
    """Keys of `ViewMetrics` that are absent without images of happy and neutral, or without face detection."""

    happy_neutral: AucMetrics
    end_to_end: EndToEndMetrics


class RequiredViewMetrics(AccuracyMetrics):
    """Keys of `ViewMetrics` that are always there."""

    leak_free: AccuracyMetrics | None
    balanced_accuracy: float
    balanced_accuracy_low: float
    balanced_accuracy_high: float
    macro_f1: float
    macro_f1_low: float
    macro_f1_high: float
    calibration: CalibrationMetrics
    uncalibrated: CalibrationMetrics | None
    raters: RaterMetrics | None
    classes: dict[str, ClassMetrics]
    confusion: list[list[Count]]


class ViewMetrics(RequiredViewMetrics, OptionalViewMetrics):
    """All metrics of one view; see `results.ViewResult`."""


class SliceMetrics(TypedDict):
    """Results on the pictures with one value of a column; see `results.Slice`."""

    value: str
    n: int
    n_missed: int
    is_small: bool
    view: ViewMetrics | None


class GapMetrics(TypedDict):
    """The largest gap of a column; see `results.Gap`."""

    best: str
    worst: str
    difference: float
    labels: list[str]
    p_value: float


class ColumnMetrics(TypedDict):
    """Results by value of one column; see `results.SliceColumn`."""

    name: str
    slices: list[SliceMetrics]
    n_unknown: int
    gap: GapMetrics | None


class DegradedMetrics(AccuracyMetrics):
    """Results on images degraded in one way; see `results.DegradedResult`."""

    name: str
    lost: int
    gained: int
    difference: float
    low: float
    high: float
    recalls: dict[str, float]
    happy_neutral: AucMetrics | None


class ModelInfo(TypedDict):
    """The evaluated model."""

    name: str
    arch: str
    recipe: str
    trained_on: dict[str, str]
    head: str
    temperature: float


class OptionalDataInfo(TypedDict, total=False):
    """Key of `DataInfo` that is absent without face detection."""

    detector: str


class DataInfo(OptionalDataInfo):
    """The evaluated data; see `results.Evaluation`."""

    name: str
    fingerprint: str
    split: str
    fitted_on: list[str]
    leak_criterion: LeakCriterion
    n: int
    n_excluded: int
    missing: list[str]
    unused: list[str]


class OptionalMetrics(TypedDict, total=False):
    """Keys of `Metrics` that are absent unless they were asked for."""

    slices: list[ColumnMetrics]
    robustness: list[DegradedMetrics]


class Metrics(OptionalMetrics):
    """Contents of metrics.json."""

    version: int
    model: ModelInfo
    data: DataInfo
    labels: list[str]
    views: dict[str, ViewMetrics]


def to_metrics(evaluation: Evaluation) -> Metrics:
    """Return an evaluation as plain data, rounded to five digits after the point."""
    spec, head = evaluation.spec, evaluation.head
    metrics: Metrics = {
        "version": METRICS_VERSION,
        "model": {
            "name": evaluation.name,
            "arch": spec.arch,
            "recipe": str(spec.recipe.get("name", "")),
            "trained_on": dict(spec.trained_on),
            "head": head.labels.name,
            "temperature": round(head.temperature, _DIGITS),
        },
        "data": {
            "name": evaluation.dataset,
            "fingerprint": evaluation.fingerprint,
            "split": evaluation.split,
            "fitted_on": list(evaluation.fitted_on),
            "leak_criterion": evaluation.leak_criterion,
            "n": evaluation.n,
            "n_excluded": evaluation.n_excluded,
            "missing": list(evaluation.missing),
            "unused": list(evaluation.unused),
        },
        "labels": list(evaluation.labels),
        "views": {view: _view_metrics(result, evaluation.labels) for view, result in evaluation.views.items()},
    }
    if evaluation.detector is not None:
        metrics["data"]["detector"] = evaluation.detector
    if evaluation.slices:
        metrics["slices"] = [column_metrics(column, evaluation.labels) for column in evaluation.slices]
    if evaluation.robustness:
        metrics["robustness"] = [_degraded_metrics(result, evaluation.labels) for result in evaluation.robustness]
    return metrics


def read_metrics(path: str | Path) -> Metrics:
    """Read a metrics.json of version 2 or later; older keys are replaced by today's.

    Raises:
        InputError: It cannot be read, is not JSON, has another version, or values of another type or out of range.
    """
    try:
        refuse_pipe(Path(path))
        metrics = json.loads(Path(path).read_text(encoding="utf-8"))
        version = metrics["version"]
        if version in (2, 3):
            metrics = upgraded(metrics)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"'{path}' is not a metrics.json ({error!r}); write one with mien evaluate") from error
    if metrics["version"] != METRICS_VERSION:
        raise InputError(f"'{path}' has version {shown(version)}, expected {METRICS_VERSION}; run mien evaluate again")
    try:
        return _consistent(checked(Metrics, metrics, ""))
    except ConfigError as error:
        raise InputError(f"'{path}' is not a metrics.json: {error}; write one with mien evaluate") from error


def _consistent(metrics: Metrics) -> Metrics:
    """Return metrics whose views all have the classes that the labels name.

    Raises:
        ConfigError: One has others, or there is no view.
    """
    labels = metrics["labels"]
    parts = [part for column in metrics.get("slices", []) for part in column["slices"]]
    views = [*metrics["views"].values(), *(part["view"] for part in parts if part["view"] is not None)]
    classes = [classes for view in views for classes in _class_names(view)]
    classes += [list(result["recalls"]) for result in metrics.get("robustness", [])]
    sides = [len(view["confusion"]) for view in views]
    sides += [len(row) for view in views for row in view["confusion"]]
    if not metrics["views"] or any(names != labels for names in classes) or any(n != len(labels) for n in sides):
        raise ConfigError(f"its views don't have the {len(labels)} classes of its labels")
    return metrics


def _class_names(view: ViewMetrics) -> list[list[str]]:
    end_to_end = view.get("end_to_end")
    return [list(view["classes"]), *([list(end_to_end["classes"])] if end_to_end else [])]


def upgraded(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the contents of a metrics.json of version 2 or 3 in the form of today's version."""
    new: dict[str, Any] = _renamed(metrics)
    new["data"].setdefault("leak_criterion", "pixels")  # version 2 compared pixels only
    return new | {"version": METRICS_VERSION}


def _renamed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    by_name = ("classes", "trained_on")  # their keys are names that were given, not ours
    return {_RENAMED.get(key, key): each if key in by_name else _renamed(each) for key, each in value.items()}


def chance(metrics: ViewMetrics) -> float:
    """Return the share of the most frequent class, in [0, 1]: the accuracy of always predicting it."""
    return max(scores["support"] for scores in metrics["classes"].values()) / metrics["n"]


def _view_metrics(result: ViewResult, labels: Sequence[str]) -> ViewMetrics:
    required: RequiredViewMetrics = {
        **_accuracy_metrics(result.accuracy),
        "leak_free": _accuracy_metrics(result.leak_free) if result.leak_free else None,
        "balanced_accuracy": round(result.balanced_accuracy, _DIGITS),
        "balanced_accuracy_low": round(result.balanced_accuracy_interval[0], _DIGITS),
        "balanced_accuracy_high": round(result.balanced_accuracy_interval[1], _DIGITS),
        "macro_f1": round(result.macro_f1, _DIGITS),
        "macro_f1_low": round(result.macro_f1_interval[0], _DIGITS),
        "macro_f1_high": round(result.macro_f1_interval[1], _DIGITS),
        "calibration": _calibration_metrics(result.calibration),
        "uncalibrated": _calibration_metrics(result.uncalibrated) if result.uncalibrated else None,
        "raters": cast(RaterMetrics, _rounded(asdict(result.raters))) if result.raters else None,
        "classes": {
            label: cast(ClassMetrics, _rounded(asdict(score)))
            for label, score in zip(labels, result.classes, strict=True)
        },
        "confusion": result.confusion.tolist(),
    }
    metrics = cast(ViewMetrics, required)
    if result.happy_neutral is not None:
        metrics["happy_neutral"] = _auc_metrics(result.happy_neutral)
    if result.end_to_end is not None:
        metrics["end_to_end"] = _end_to_end_metrics(result.end_to_end, labels)
    return metrics


def _end_to_end_metrics(result: EndToEnd, labels: Sequence[str]) -> EndToEndMetrics:
    classes = zip(labels, result.recalls, result.missed, strict=True)
    return {
        **_accuracy_metrics(result.accuracy),
        "n_missed": result.n_missed,
        "balanced_accuracy": round(result.balanced_accuracy, _DIGITS),
        "balanced_accuracy_low": round(result.balanced_accuracy_interval[0], _DIGITS),
        "balanced_accuracy_high": round(result.balanced_accuracy_interval[1], _DIGITS),
        "classes": {label: {"recall": round(recall, _DIGITS), "missed": n} for label, recall, n in classes},
    }


def _auc_metrics(auc: PairAuc) -> AucMetrics:
    return {
        "auc": round(auc.value, _DIGITS),
        "low": None if auc.low is None else round(auc.low, _DIGITS),
        "high": None if auc.high is None else round(auc.high, _DIGITS),
        "n_happy": auc.n_first,
        "n_neutral": auc.n_second,
    }


def column_metrics(column: SliceColumn, labels: Sequence[str]) -> ColumnMetrics:
    """Return the results by value of a column as plain data."""
    return {
        "name": column.name,
        "slices": [_slice_metrics(each, labels) for each in column.slices],
        "n_unknown": column.n_unknown,
        "gap": None if column.gap is None else cast(GapMetrics, _rounded(asdict(column.gap))),
    }


def _slice_metrics(part: Slice, labels: Sequence[str]) -> SliceMetrics:
    return {
        "value": part.value,
        "n": part.n,
        "n_missed": part.n_missed,
        "is_small": part.is_small,
        "view": None if part.result is None else _view_metrics(part.result, labels),
    }


def _degraded_metrics(result: DegradedResult, labels: Sequence[str]) -> DegradedMetrics:
    return {
        "name": result.name,
        **_accuracy_metrics(result.accuracy),
        "lost": result.lost,
        "gained": result.gained,
        "difference": round(result.difference, _DIGITS),
        "low": round(result.low, _DIGITS),
        "high": round(result.high, _DIGITS),
        "recalls": {label: round(recall, _DIGITS) for label, recall in zip(labels, result.recalls, strict=True)},
        "happy_neutral": None if result.happy_neutral is None else _auc_metrics(result.happy_neutral),
    }


def _calibration_metrics(scores: CalibrationScores) -> CalibrationMetrics:
    point = scores.operating_point
    return {
        "nll": round(scores.nll, _DIGITS),
        "brier": round(scores.brier, _DIGITS),
        "ece": round(scores.ece, _DIGITS),
        "aurc": round(scores.aurc, _DIGITS),
        "reliability": [cast(BinMetrics, _rounded(asdict(each))) for each in scores.reliability],
        "operating_point": cast(OperatingPointMetrics, _rounded(asdict(point))) if point else None,
    }


def _accuracy_metrics(accuracy: Accuracy) -> AccuracyMetrics:
    return {
        "n": accuracy.n,
        "correct": accuracy.correct,
        "accuracy": round(accuracy.value, _DIGITS),
        "accuracy_low": round(accuracy.low, _DIGITS),
        "accuracy_high": round(accuracy.high, _DIGITS),
    }


def _rounded(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return numbers rounded to five digits after the point, tuples as lists, and texts as they are."""
    return {
        key: list(value) if isinstance(value, tuple) else value if isinstance(value, str) else round(value, _DIGITS)
        for key, value in metrics.items()
    }
