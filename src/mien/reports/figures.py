"""Figures of an evaluation as plain data: what metrics.json holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict, cast

from mien.errors import InputError
from mien.evaluation.evaluate import Accuracy, CalibrationScores, Evaluation, Sameness, ViewResult
from mien.evaluation.metrics import ClassScore

METRICS_VERSION = 3  # 2: intervals, honesty and raters; 3: what leaks are told by
_DIGITS = 5  # after the point: tells one picture of 100,000


class AccuracyFigures(TypedDict):
    """A share of correct answers with its 95 % Wilson interval."""

    n: int
    correct: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float


class ClassFigures(TypedDict):
    """How one class fares."""

    precision: float
    recall: float
    f1: float
    support: int


class BinFigures(TypedDict):
    """One bin of a reliability diagram; see `metrics.Bin`."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


class OperatingPointFigures(TypedDict):
    """Answers from a threshold on; see `selective.OperatingPoint`."""

    wanted: float
    threshold: float
    n: int
    coverage: float
    accuracy: float
    low: float
    high: float


class CalibrationFigures(TypedDict):
    """How far probabilities can be trusted; see `evaluate.CalibrationScores`."""

    nll: float
    brier: float
    ece: float
    aurc: float
    reliability: list[BinFigures]
    answering: OperatingPointFigures | None


class RatersFigures(TypedDict):
    """Against raters' votes; see `evaluate.Raters`."""

    kl: float
    cross_entropy: float


class ViewFigures(AccuracyFigures):
    """All figures of one view; see `evaluate.ViewResult` for their meaning."""

    unleaked: AccuracyFigures | None
    balanced_accuracy: float
    balanced_accuracy_low: float
    balanced_accuracy_high: float
    macro_f1: float
    macro_f1_low: float
    macro_f1_high: float
    honesty: CalibrationFigures
    uncalibrated: CalibrationFigures | None
    raters: RatersFigures | None
    classes: dict[str, ClassFigures]
    confusion: list[list[int]]


class ModelFigures(TypedDict):
    """Which model was evaluated."""

    name: str
    arch: str
    recipe: str
    trained_on: dict[str, str]
    head: str
    temperature: float


class DataFigures(TypedDict):
    """What it was evaluated on; see `evaluate.Evaluation` for the meaning."""

    name: str
    fingerprint: str
    split: str
    fitted_on: list[str]
    same: Sameness
    n: int
    n_left_out: int
    missing: list[str]
    unused: list[str]


class Metrics(TypedDict):
    """What metrics.json holds."""

    version: int
    model: ModelFigures
    data: DataFigures
    labels: list[str]
    views: dict[str, ViewFigures]


def to_metrics(evaluation: Evaluation) -> Metrics:
    """Return all figures of an evaluation as plain data, rounded to five digits after the point."""
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
            "same": evaluation.same,
            "n": evaluation.n,
            "n_left_out": evaluation.n_left_out,
            "missing": list(evaluation.missing),
            "unused": list(evaluation.unused),
        },
        "labels": list(evaluation.labels),
        "views": {view: _view_figures(result, evaluation.labels) for view, result in evaluation.views.items()},
    }


def read_metrics(path: str | Path) -> Metrics:
    """Read a metrics.json, of the version before this one too, which knew leaks by their pixels alone.

    Raises:
        InputError: It cannot be read, is not JSON, or is of another version.
    """
    try:
        metrics = json.loads(Path(path).read_text(encoding="utf-8"))
        if metrics["version"] == 2:
            metrics["data"]["same"] = "pixels"
            metrics["version"] = METRICS_VERSION
        version = metrics["version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"'{path}' is not a metrics.json ({error!r}); write one with mien evaluate") from error
    if version != METRICS_VERSION:
        raise InputError(f"'{path}' has version {version}, expected {METRICS_VERSION}; run mien evaluate again")
    return cast(Metrics, metrics)


def chance(figures: ViewFigures) -> float:
    """Return the share of the commonest class, in [0, 1]: the accuracy of naming it every time."""
    return max(scores["support"] for scores in figures["classes"].values()) / figures["n"]


def _view_figures(result: ViewResult, labels: Sequence[str]) -> ViewFigures:
    return {
        **_accuracy_figures(result.accuracy),
        "unleaked": _accuracy_figures(result.unleaked) if result.unleaked else None,
        "balanced_accuracy": round(result.balanced_accuracy, _DIGITS),
        "balanced_accuracy_low": round(result.balanced_accuracy_interval[0], _DIGITS),
        "balanced_accuracy_high": round(result.balanced_accuracy_interval[1], _DIGITS),
        "macro_f1": round(result.macro_f1, _DIGITS),
        "macro_f1_low": round(result.macro_f1_interval[0], _DIGITS),
        "macro_f1_high": round(result.macro_f1_interval[1], _DIGITS),
        "honesty": _honesty_figures(result.honesty),
        "uncalibrated": _honesty_figures(result.uncalibrated) if result.uncalibrated else None,
        "raters": cast(RatersFigures, _rounded(asdict(result.raters))) if result.raters else None,
        "classes": {label: _class_figures(score) for label, score in zip(labels, result.classes, strict=True)},
        "confusion": result.confusion.tolist(),
    }


def _class_figures(score: ClassScore) -> ClassFigures:
    return {
        "precision": round(score.precision, _DIGITS),
        "recall": round(score.recall, _DIGITS),
        "f1": round(score.f1, _DIGITS),
        "support": score.support,
    }


def _honesty_figures(honesty: CalibrationScores) -> CalibrationFigures:
    return {
        "nll": round(honesty.nll, _DIGITS),
        "brier": round(honesty.brier, _DIGITS),
        "ece": round(honesty.ece, _DIGITS),
        "aurc": round(honesty.aurc, _DIGITS),
        "reliability": [cast(BinFigures, _rounded(asdict(each))) for each in honesty.reliability],
        "answering": cast(OperatingPointFigures, _rounded(asdict(honesty.answering))) if honesty.answering else None,
    }


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {key: round(value, _DIGITS) for key, value in figures.items()}


def _accuracy_figures(accuracy: Accuracy) -> AccuracyFigures:
    return {
        "n": accuracy.n,
        "correct": accuracy.correct,
        "accuracy": round(accuracy.value, _DIGITS),
        "accuracy_low": round(accuracy.low, _DIGITS),
        "accuracy_high": round(accuracy.high, _DIGITS),
    }
