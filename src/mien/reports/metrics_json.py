"""metrics.json: the metrics of an evaluation as plain data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict, cast

from mien.errors import InputError
from mien.evaluation.metrics import ClassScore
from mien.evaluation.results import Accuracy, CalibrationScores, Evaluation, LeakCriterion, ViewResult

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


class AccuracyMetrics(TypedDict):
    """Share of correct predictions with its 95 % Wilson interval."""

    n: int
    correct: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float


class ClassMetrics(TypedDict):
    """Scores of one class."""

    precision: float
    recall: float
    f1: float
    support: int


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


class ViewMetrics(AccuracyMetrics):
    """All metrics of one view; see `results.ViewResult`."""

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
    confusion: list[list[int]]


class ModelInfo(TypedDict):
    """The evaluated model."""

    name: str
    arch: str
    recipe: str
    trained_on: dict[str, str]
    head: str
    temperature: float


class DataInfo(TypedDict):
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


class Metrics(TypedDict):
    """Contents of metrics.json."""

    version: int
    model: ModelInfo
    data: DataInfo
    labels: list[str]
    views: dict[str, ViewMetrics]


def to_metrics(evaluation: Evaluation) -> Metrics:
    """Return an evaluation as plain data, rounded to five digits after the point."""
    spec, head = evaluation.spec, evaluation.head
    return {
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


def read_metrics(path: str | Path) -> Metrics:
    """Read a metrics.json of version 2 or later; older keys are replaced by today's.

    Raises:
        InputError: It cannot be read, is not JSON, or has another version.
    """
    try:
        metrics = json.loads(Path(path).read_text(encoding="utf-8"))
        version = metrics["version"]
        if version in (2, 3):
            metrics = upgraded(metrics)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"'{path}' is not a metrics.json ({error!r}); write one with mien evaluate") from error
    if metrics["version"] != METRICS_VERSION:
        raise InputError(f"'{path}' has version {version}, expected {METRICS_VERSION}; run mien evaluate again")
    return cast(Metrics, metrics)


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
    """Return the share of the commonest class, in [0, 1]: the accuracy of always predicting it."""
    return max(scores["support"] for scores in metrics["classes"].values()) / metrics["n"]


def _view_metrics(result: ViewResult, labels: Sequence[str]) -> ViewMetrics:
    return {
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
        "classes": {label: _class_metrics(score) for label, score in zip(labels, result.classes, strict=True)},
        "confusion": result.confusion.tolist(),
    }


def _class_metrics(score: ClassScore) -> ClassMetrics:
    return {
        "precision": round(score.precision, _DIGITS),
        "recall": round(score.recall, _DIGITS),
        "f1": round(score.f1, _DIGITS),
        "support": score.support,
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


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {key: round(value, _DIGITS) for key, value in metrics.items()}
