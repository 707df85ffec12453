"""Plots of results, by matplotlib's Agg canvas: without pyplot, whatever MPLBACKEND is set to."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import RunError, needs
from mien.escape import plot_text
from mien.evaluation.metrics import Bin, wilson_interval
from mien.evaluation.results import DegradedResult
from mien.evaluation.selective import OperatingPoint, RiskCoverage
from mien.files import atomic_path
from mien.structures import IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Epoch = Mapping[str, float]
# Okabe & Ito's colour-blind safe colours: jfly.uni-koeln.de/color
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"
MAX_LABEL = 30  # characters; longer ones leave no room for the plot
MIN_COVERAGE = 0.02  # below it the risk is not drawn: one error among the first few predictions makes it jump


def drawn_or_warned(draw: Callable[[], object], *, missing: str = "the report has no plots") -> bool:
    """Call a function that draws plots; return False and warn if they cannot be drawn or written.

    A plot is a by-product: the report or the model is worth having without it.

    Args:
        draw: Draws and writes the plots.
        missing: Beginning of the warning.
    """
    try:
        draw()
    except Exception as error:  # matplotlib's own, from a broken font cache to a missing library, are of any type
        warnings.warn(f"{missing}: {error}", stacklevel=2)
        return False
    return True


def draw_confusion(matrix: IntArray, labels: Sequence[str], path: str | Path, *, title: str) -> None:
    """Write a confusion matrix as PNG: colour and percentage by row, counts below.

    Args:
        matrix: Counts, shape (k, k); rows are true, columns predicted.
        labels: The k class names.
        path: Where to write.
        title: Title above the matrix.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    k = len(labels)
    with _plot(path, width=max(8.0, 0.9 * k + 1.6), height=max(7.2, 0.8 * k + 1.6)) as figure:
        axes = figure.add_subplot()
        _draw_matrix(axes, matrix, labels, title=title, large=True)
        axes.set_xlabel("predicted", size=13)
        axes.set_ylabel("true", size=13)


def draw_confusions(confusions: Mapping[tuple[str, str], tuple[IntArray, Sequence[str]]], path: str | Path) -> None:
    """Write confusion matrices side by side as PNG, in percent by row.

    Args:
        confusions: (row, column) of the figure -> counts, shape (k, k), and the k class names; the place of a
            missing pair stays empty.
        path: Where to write.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    rows, columns = (list(dict.fromkeys(pair[i] for pair in confusions)) for i in (0, 1))
    with _plot(path, width=5.2 * len(columns), height=4.9 * len(rows)) as figure:
        for (row_name, column_name), (matrix, labels) in confusions.items():
            place = rows.index(row_name) * len(columns) + columns.index(column_name) + 1
            axes = figure.add_subplot(len(rows), len(columns), place)
            _draw_matrix(axes, matrix, labels, title=f"{row_name} on {column_name}", large=False)


def _draw_matrix(axes: Axes, matrix: IntArray, labels: Sequence[str], *, title: str, large: bool) -> None:
    """Draw a confusion matrix in percent by row; a large one also with counts."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")  # one hue, darker is more
    for (row, column), share in np.ndenumerate(shares):
        style: dict[str, Any] = {"color": "white" if share > 0.65 else "black", "ha": "center"}
        if large:
            axes.text(column, row, f"{100 * share:.0f} %", va="bottom", size=14, **style)
            axes.text(column, row + 0.05, f"{matrix[row, column]:,}", va="top", size=10, **style)
        else:
            axes.text(column, row, f"{100 * share:.0f}", va="center", size=10, **style)
    names, size = [plot_text(label, longest=MAX_LABEL) for label in labels], 12 if large else 9
    rotation, side = (0, "center") if large and len(labels) <= 8 else (45, "right")  # side by side, more have no room
    axes.set_xticks(range(len(labels)), names, size=size, rotation=rotation, ha=side)
    axes.set_yticks(range(len(labels)), names, size=size)
    axes.set_title(plot_text(title), size=size + 1, pad=12 if large else 8)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def draw_reliability(after: Sequence[Bin], before: Sequence[Bin] | None, path: str | Path, *, title: str) -> None:
    """Write a reliability diagram as PNG: accuracy by confidence above, a histogram of confidence below.

    Args:
        after: Bins of the calibrated probabilities.
        before: Bins without temperature scaling; None if there is none.
        path: Where to write.
        title: Title of the diagram.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    with _plot(path, width=6.4, height=6.8) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="perfect calibration")
        if before is not None:
            _draw_bins(upper, before, label="before temperature scaling", colour=ORANGE)
        _draw_bins(upper, after, label="model output", colour=BLUE)
        upper.set_ylabel("accuracy")
        upper.set_ylim(0, 1)
        upper.legend(frameon=False, loc="lower right")  # free unless confident predictions are mostly wrong
        upper.set_title(plot_text(title), size=12, pad=12)
        total = sum(b.n for b in after)
        widths = [b.high - b.low for b in after]
        lower.bar(
            [b.low for b in after], [b.n / total for b in after], widths, align="edge", color=BLUE, edgecolor="white"
        )
        lower.set_ylabel("share of images")
        lower.set_xlabel("confidence")
        lower.set_xlim(0, 1)
        for axes in (upper, lower):
            _tidy(axes)


def draw_risk_coverage(
    after: RiskCoverage,
    before: RiskCoverage | None,
    path: str | Path,
    *,
    title: str,
    operating_point: OperatingPoint | None,
) -> None:
    """Write risk–coverage curves as PNG, from `MIN_COVERAGE` on.

    Args:
        after: Curve of the calibrated probabilities.
        before: Curve without temperature scaling; None if there is none.
        path: Where to write.
        title: Title of the diagram.
        operating_point: Marked by a dot if there is one.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    with _plot(path, width=6.4, height=4.6) as figure:
        axes = figure.add_subplot()
        if before is not None:  # broad and pale, as the other curve mostly covers it
            _draw_risk(axes, before, label="before temperature scaling", color=ORANGE, linewidth=4.5, alpha=0.45)
        _draw_risk(axes, after, label="model output", color=BLUE)
        if operating_point is not None:
            x, y = 100 * operating_point.coverage, 100 * (1 - operating_point.accuracy)
            label = f"confidence {operating_point.threshold:.2f} or more"
            axes.plot([x], [y], "o", color="black", label=label, clip_on=False)  # often at the right edge
        axes.set_xlabel("coverage: answered faces, %")
        axes.set_ylabel("risk: errors among them, %")
        axes.set_xlim(0, 100)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        axes.set_title(plot_text(title), size=12, pad=12)
        _tidy(axes)


def draw_degraded(results: Sequence[DegradedResult], path: str | Path, *, title: str) -> None:
    """Write the differences of accuracy on degraded images as PNG, with their intervals.

    Args:
        results: The clean images first.
        path: Where to write.
        title: Title of the diagram.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    clean, *degraded = results
    with _plot(path, width=7.2, height=1.6 + 0.32 * len(degraded)) as figure:
        axes = figure.add_subplot()
        places = range(len(degraded), 0, -1)
        axes.axvline(0, color=GREY, linewidth=1, linestyle="--")
        axes.hlines(places, [100 * r.low for r in degraded], [100 * r.high for r in degraded], color=BLUE, alpha=0.45)
        axes.plot([100 * result.difference for result in degraded], places, "o", color=BLUE, markersize=5)
        axes.set_yticks(places, [result.name for result in degraded])
        axes.set_xlabel(f"accuracy minus that on clean images, {100 * clean.accuracy.value:.1f} %, in points")
        axes.set_title(plot_text(title), size=12, pad=12)
        _tidy(axes)
        axes.grid(visible=False, axis="y")
        axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)


def curves(rows: Sequence[Mapping[str, float | None]], path: str | Path) -> None:
    """Write the curves of a training run as PNG: losses on the left, validation accuracy on the right.

    Both losses are the cross-entropy of the first head. Runs of older versions recorded only the objective of the
    training (label smoothing, mixup, all heads), which is labelled as such.

    Thin vertical lines mark changes of the image size; the grey area on the left is the learning rate, from 0 to its
    peak.

    Args:
        rows: One per epoch, from a run's metrics.jsonl: epoch, train_loss, learning_rate, size, and, where measured,
            train_cross_entropy, valid_loss, valid_accuracy and valid_balanced_accuracy in [0, 1]; those of further
            datasets end in _NAME.
        path: Where to write.

    Raises:
        RunError: There is no row.
        MissingExtra: matplotlib is not installed.
        OutputError: The file cannot be written.
    """
    if not rows:
        raise RunError("no epochs to draw; train at least one, then try again")
    epochs = [{key: value for key, value in row.items() if value is not None} for row in rows]
    with _plot(path, width=10, height=3.8) as figure:
        losses, accuracies = figure.subplots(1, 2)
        if any("train_cross_entropy" in epoch for epoch in epochs):
            _draw_line(losses, epochs, "train_cross_entropy", label="train", colour=BLUE)
        else:
            _draw_line(losses, epochs, "train_loss", label="train (objective)", colour=BLUE)
        _draw_line(losses, epochs, "valid_loss", label="valid", colour=ORANGE)
        _draw_accuracies(accuracies, epochs)
        losses.set_ylabel("cross-entropy")
        accuracies.set_ylabel("validation accuracy, %")
        for axes in (losses, accuracies):
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            _tidy(axes)
            _mark_sizes(axes, epochs)
        _shade_learning_rate(losses, epochs)
        for axes, columns in ((losses, 3), (accuracies, 2)):
            if len(axes.get_legend_handles_labels()[0]) > 1:
                # Below the axes: a legend of four may find no free corner in them.
                axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=columns)


def _draw_accuracies(axes: Axes, epochs: Sequence[Epoch]) -> None:
    """Draw accuracy as a line and balanced accuracy as a dashed one, each dataset in a colour of its own."""
    keys = dict.fromkeys(key for epoch in epochs for key in epoch if key.startswith("valid_accuracy"))
    for i, suffix in enumerate(key.removeprefix("valid_accuracy") for key in keys):
        colour = (ORANGE, BLUE, "C2", "C4", "C5")[i % 5]
        name = plot_text(suffix.removeprefix("_"), longest=MAX_LABEL) or (
            "valid" if len(keys) == 1 else "first dataset"
        )
        _draw_line(axes, epochs, f"valid_accuracy{suffix}", label=name, colour=colour, scale=100)
        balanced = f"valid_balanced_accuracy{suffix}"
        if any(balanced in epoch for epoch in epochs):
            _draw_line(axes, epochs, balanced, label=f"{name}, balanced", colour=colour, scale=100, style="--")


@contextmanager
def _plot(path: str | Path, *, width: float, height: float) -> Iterator[Figure]:
    """Yield a figure on the Agg canvas, and write it as PNG when the block ends.

    Its style is matplotlib's default, whatever a matplotlibrc sets, such as LaTeX for all texts.
    """
    with needs("drawing plots", "reports"):
        matplotlib = _import_matplotlib()
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
    with matplotlib.rc_context(defaults):
        figure = Figure(figsize=(width, height), dpi=150)
        FigureCanvasAgg(figure)
        figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
        yield figure
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})


def _import_matplotlib() -> ModuleType:
    """Import matplotlib although MPLBACKEND names a backend that is not installed, as Jupyter's kernels may set it.

    Such a name fails the import. Any other is kept, for the caller's own plots.
    """
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
    return matplotlib


def _tidy(axes: Axes) -> None:
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_bins(axes: Axes, bins: Sequence[Bin], *, label: str, colour: str) -> None:
    """Draw accuracy by confidence, with 95 % Wilson intervals, which are wide for bins of few images."""
    x, y = [b.confidence for b in bins], [b.accuracy for b in bins]
    axes.plot(x, y, color=colour, label=label, marker="o", markersize=4, clip_on=False)
    intervals = [wilson_interval(round(b.accuracy * b.n), b.n) for b in bins]
    axes.vlines(x, [low for low, _ in intervals], [high for _, high in intervals], color=colour, alpha=0.35)


def _draw_risk(axes: Axes, curve: RiskCoverage, **style: Any) -> None:
    shown = curve.n >= MIN_COVERAGE * curve.n[-1]
    n, wrong = curve.n[shown], curve.wrong[shown]
    axes.plot(100 * n / curve.n[-1], 100 * wrong / n, **style)


def _draw_line(
    axes: Axes, epochs: Sequence[Epoch], key: str, *, label: str, colour: str, scale: float = 1, style: str = "-"
) -> None:
    """Draw one column by epoch, where it was measured; a single point as a dot."""
    measured = [epoch for epoch in epochs if key in epoch]
    if measured:
        x, y = [epoch["epoch"] for epoch in measured], [scale * epoch[key] for epoch in measured]
        axes.plot(x, y, color=colour, label=label, linestyle=style, marker="o" if len(measured) == 1 else None)


def _mark_sizes(axes: Axes, epochs: Sequence[Epoch]) -> None:
    for before, after in pairwise(epochs):
        if before["size"] != after["size"]:
            axes.axvline(after["epoch"], color=GREY, linewidth=0.8, linestyle=":")
            place = axes.get_xaxis_transform()  # x in epochs, y as a share of the panel
            axes.text(after["epoch"], 1.0, f" {after['size']} px", transform=place, color=GREY, size=8)


def _shade_learning_rate(axes: Axes, epochs: Sequence[Epoch]) -> None:
    rates = [epoch["learning_rate"] for epoch in epochs]
    area = axes.twinx()
    area.fill_between([epoch["epoch"] for epoch in epochs], rates, color=GREY, alpha=0.15, linewidth=0)
    area.set_ylim(0, 1.05 * max(rates) or 1)  # the rate of a one-epoch run is 0
    area.set_axis_off()
    axes.set_zorder(area.get_zorder() + 1)  # the lines above the area
    axes.patch.set_visible(False)
    axes.fill_between([], [], color=GREY, alpha=0.15, label=f"learning rate, peak {max(rates):.3g}")
