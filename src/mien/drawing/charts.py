"""Charts of probabilities: bars, and stacked areas over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mien.drawing.colours import Colour, colour_of
from mien.drawing.text import SMALLEST_LETTER, draw_text, shorten, text_width
from mien.structures import UNCERTAIN, BoolArray, ImageArray

Floats = npt.NDArray[np.float64]
TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)  # s between ticks
SHIFT = 4  # polygons are passed to OpenCV in sixteenths of a pixel


class Palette(NamedTuple):
    """Colours of a chart; the ground is that of the window's theme, so that charts blend in."""

    ground: Colour
    trough: Colour
    outline: Colour
    ink: Colour


LIGHT = Palette(ground=(250, 250, 250), trough=(232, 232, 232), outline=(110, 110, 110), ink=(28, 28, 28))
DARK = Palette(ground=(28, 28, 28), trough=(52, 52, 52), outline=(14, 14, 14), ink=(250, 250, 250))


class TrackRow(NamedTuple):
    """One row of a `track_chart`.

    Args:
        name: Written on the left.
        shares: Label -> share of the time, in [0, 1]; they sum to 1.
        probabilities: One row per time bin, which sums to 1, shape (n, k); NaN where the face was not seen.
    """

    name: str
    shares: Mapping[str, float]
    probabilities: Floats


class Area(NamedTuple):
    """A rectangle of pixels; x2 and y2 are exclusive."""

    x1: int
    y1: int
    x2: int
    y2: int


def bar_chart(
    shares: Mapping[str, float], *, size: tuple[int, int], dark: bool, title: str = "", scale: float = 1.0
) -> ImageArray:
    """Draw one bar per label, its name on the left, its percentage on the right.

    Args:
        shares: Label -> share in [0, 1], from top to bottom; the trough behind a bar represents 1. Values are clipped
            to this range, NaN is drawn as 0.
        size: Width and height in pixels.
        dark: Whether the background is dark.
        title: Written above the bars.
        scale: Screen pixels per standard pixel; letters grow with it where there is room.

    Returns:
        RGB uint8 (H, W, 3). Text that would be illegibly small is omitted.
    """
    palette = DARK if dark else LIGHT
    canvas = _canvas(size, palette)
    letter = _letter_height(canvas, scale, rows=len(shares) + bool(title))
    area = _draw_title(canvas, title, letter, palette)
    names = [shorten(label, letter, 0.4 * (area.x2 - area.x1)) for label in shares]
    values = [float(np.clip(np.nan_to_num(share), 0, 1)) for share in shares.values()]
    left = area.x1 + max((text_width(name, letter) + letter for name in names), default=0) * bool(letter)
    right = area.x2 - (text_width("100 %", letter) + letter) * bool(letter)
    pitch = (area.y2 - area.y1) / max(len(shares), 1)
    thick = max(1, round(min(0.62 * pitch, 3 * letter if letter else pitch)))
    for row, (label, name, value) in enumerate(zip(shares, names, values, strict=True)):
        top = round(area.y1 + (row + 0.5) * pitch - thick / 2)
        _fill(canvas, Area(left, top, right, top + thick), palette.trough)
        bar = Area(left, top, left + round(value * max(right - left, 0)), top + thick)
        _fill(canvas, bar, palette.outline)  # without it, light grey vanishes on white
        _fill(canvas, _inside(bar), colour_of(label, shares))
        base, percent = top + (thick + letter) // 2, f"{100 * value:.0f} %"
        _write(canvas, name, letter, x=area.x1, base=base, ink=palette.ink)
        _write(canvas, percent, letter, x=area.x2 - text_width(percent, letter or 1), base=base, ink=palette.ink)
    return canvas


def timeline_chart(
    times: Sequence[float] | Floats,
    probabilities: Floats,
    labels: Iterable[str],
    *,
    size: tuple[int, int],
    dark: bool,
    title: str = "",
    scale: float = 1.0,
) -> ImageArray:
    """Draw probabilities over time as stacked areas, in the order of the labels, the first on top.

    Args:
        times: Centre of each time bin in seconds, evenly spaced, shape (n,).
        probabilities: One row per bin, which sums to 1, shape (n, k); NaN where no face was seen, which leaves a gap.
        labels: The k names, for the legend.
        size: Width and height in pixels.
        dark: Whether the background is dark.
        title: Written above the legend.
        scale: Screen pixels per standard pixel; letters grow with it where there is room.

    Returns:
        RGB uint8 (H, W, 3). Text that would be illegibly small is omitted.
    """
    palette, labels, middles = DARK if dark else LIGHT, list(labels), np.asarray(times, np.float64)
    canvas = _canvas(size, palette)
    letter = _letter_height(canvas, scale, rows=10)
    area = _draw_heading(canvas, title, labels, letter, palette)
    _draw_timeline(canvas, area, middles, probabilities, labels, palette)
    _draw_time_axis(canvas, area, _end(middles), letter, palette)
    return canvas


def track_chart(
    times: Sequence[float] | Floats,
    tracks: Sequence[TrackRow],
    labels: Iterable[str],
    *,
    size: tuple[int, int],
    dark: bool,
    title: str = "",
    scale: float = 1.0,
) -> ImageArray:
    """Draw one row per track: its name, a bar divided by its shares, and its probabilities over time.

    Args:
        times: Centre of each time bin in seconds, evenly spaced, shape (n,).
        tracks: From top to bottom.
        labels: The k names, for the legend.
        size: Width and height in pixels.
        dark: Whether the background is dark.
        title: Written above the legend.
        scale: Screen pixels per standard pixel; letters grow with it where there is room.

    Returns:
        RGB uint8 (H, W, 3). Text that would be illegibly small is omitted.
    """
    palette, labels, middles = DARK if dark else LIGHT, list(labels), np.asarray(times, np.float64)
    canvas = _canvas(size, palette)
    letter = _letter_height(canvas, scale, rows=max(10.0, 2.0 * len(tracks)))
    answers = labels + [UNCERTAIN] * any(track.shares.get(UNCERTAIN) for track in tracks)
    area = _draw_heading(canvas, title, answers, letter, palette)
    names = [shorten(track.name, letter, 0.25 * (area.x2 - area.x1)) for track in tracks]
    left = area.x1 + max((text_width(name, letter) + letter for name in names), default=0) * bool(letter)
    parted = left + round(0.3 * max(area.x2 - left, 0))
    pitch = (area.y2 - area.y1) / max(len(tracks), 1)
    gap = min(round(0.2 * pitch), letter or 2)
    over_time = area._replace(x1=min(parted + 2 * letter + 1, area.x2))
    for row, (track, name) in enumerate(zip(tracks, names, strict=True)):
        top, bottom = round(area.y1 + row * pitch), round(area.y1 + (row + 1) * pitch) - gap
        _write(canvas, name, letter, x=area.x1, base=(top + bottom + letter) // 2, ink=palette.ink)
        _draw_shares(canvas, Area(left, top, parted, bottom), track.shares, labels, palette)
        _draw_timeline(canvas, over_time._replace(y1=top, y2=bottom), middles, track.probabilities, labels, palette)
    _draw_time_axis(canvas, over_time, _end(middles), letter, palette)
    return canvas


def _draw_shares(
    canvas: ImageArray, area: Area, shares: Mapping[str, float], labels: Sequence[str], palette: Palette
) -> None:
    """Draw one bar whose segments, from left to right, are as long as the shares."""
    _fill(canvas, area, palette.outline)
    inner, begin = _inside(area), 0.0
    for label, share in shares.items():
        x1, x2 = (inner.x1 + round((inner.x2 - inner.x1) * min(at, 1.0)) for at in (begin, begin + share))
        _fill(canvas, inner._replace(x1=x1, x2=x2), colour_of(label, labels))
        begin += share


def _half_a_bin(middles: Floats) -> float:
    return float(middles[1] - middles[0]) / 2 if len(middles) > 1 else 0.5


def _end(middles: Floats) -> float:
    """Return the end of the last bin in seconds."""
    return float(middles[-1]) + _half_a_bin(middles) if len(middles) else 1.0


def _draw_timeline(
    canvas: ImageArray, area: Area, middles: Floats, probabilities: Floats, labels: Sequence[str], palette: Palette
) -> None:
    """Draw stacked areas for every run of bins in which a face was seen."""
    half, rows = _half_a_bin(middles), np.asarray(probabilities, np.float64).reshape(-1, len(labels))
    for run in _runs(np.asarray(np.isfinite(rows).all(axis=1))):
        seconds = np.array([middles[run][0] - half, *middles[run], middles[run][-1] + half])
        stacked = np.cumsum(np.vstack([rows[run][:1], rows[run], rows[run][-1:]]), axis=1)
        stacked[:, -1] = 1  # whatever the rounding error
        _draw_areas(canvas, area, seconds / _end(middles), stacked, labels, palette)


def _canvas(size: tuple[int, int], palette: Palette) -> ImageArray:
    width, height = size
    return np.full((max(height, 1), max(width, 1), 3), palette.ground, np.uint8)


def _letter_height(canvas: ImageArray, scale: float, *, rows: float) -> int:
    """Return the height of capital letters in pixels with which the rows of text fit; 0 if it is illegible."""
    height, width = canvas.shape[:2]
    usual = scale * max(8.0, 0.02 * min(height, width))
    letter = int(min(usual, 0.5 * height / (rows + 1), width / 22))
    return letter if letter >= SMALLEST_LETTER else 0


def _draw_title(canvas: ImageArray, title: str, letter: int, palette: Palette) -> Area:
    """Write the title and return the area left for the chart, within a margin."""
    height, width = canvas.shape[:2]
    margin = letter or min(height, width) // 20
    area = Area(margin, margin, width - margin, height - margin)
    if not (title and letter):
        return area
    _write(canvas, shorten(title, letter, area.x2 - area.x1), letter, x=area.x1, base=area.y1 + letter, ink=palette.ink)
    return area._replace(y1=area.y1 + round(2.2 * letter))


def _draw_heading(canvas: ImageArray, title: str, answers: Sequence[str], letter: int, palette: Palette) -> Area:
    """Write the title and the legend of a chart over time; return the area left above the time axis."""
    area = _draw_legend(canvas, _draw_title(canvas, title, letter, palette), answers, letter, palette)
    return area._replace(y2=area.y2 - round(1.8 * letter))


def _draw_legend(canvas: ImageArray, area: Area, labels: Sequence[str], letter: int, palette: Palette) -> Area:
    """Write a colour patch and name per label, in rows, over at most half of the area; return the rest of it."""
    if not (labels and letter):
        return area
    x, y = area.x1, area.y1
    for label in labels:
        name = shorten(label, letter, 0.45 * (area.x2 - area.x1))
        wide = round(1.6 * letter) + text_width(name, letter)
        if x > area.x1 and x + wide > area.x2:
            x, y = area.x1, y + round(1.9 * letter)
        if y > (area.y1 + area.y2) // 2:
            break
        patch = Area(x, y, x + letter, y + letter)
        _fill(canvas, patch, palette.outline)
        _fill(canvas, _inside(patch), colour_of(label, labels))
        _write(canvas, name, letter, x=x + round(1.6 * letter), base=y + letter, ink=palette.ink)
        x += wide + letter
    return area._replace(y1=y + round(2.2 * letter))


def _draw_areas(
    canvas: ImageArray, area: Area, places: Floats, stacked: Floats, labels: Sequence[str], palette: Palette
) -> None:
    """Draw one area per label, each from the top edge and over the next one, so that no background shows between.

    Args:
        canvas: RGB uint8 (H, W, 3); changed in place.
        area: The whole plot.
        places: x from left (0) to right (1), shape (n,).
        stacked: Lower edges from top (0) to bottom (1), shape (n, k).
        labels: The k names.
        palette: Colours of the chart.
    """
    plot = canvas[max(area.y1, 0) : max(area.y2, 0), max(area.x1, 0) : max(area.x2, 0)]
    if not plot.size:
        return
    height, width = plot.shape[:2]
    x = places * width - 0.5  # OpenCV's origin is the centre of the first pixel
    for label, lower in reversed(list(zip(labels, stacked.T, strict=True))):
        edge = np.column_stack([x, lower * height - 0.5])
        corners = np.array([*edge, (x[-1], -1.0), (x[0], -1.0)])
        colour = colour_of(label, labels)
        cv2.fillPoly(plot, [np.rint(corners * 2**SHIFT).astype(np.int32)], colour, cv2.LINE_AA, SHIFT)
    left, right = (int(np.clip(round(value), 0, width - 1)) for value in (x[0], x[-1]))
    if right - left >= 5:  # light grey needs an edge on white; a narrower run would be all edge
        cv2.rectangle(plot, (left, 0), (right, height - 1), palette.outline)


def _draw_time_axis(canvas: ImageArray, area: Area, end: float, letter: int, palette: Palette) -> None:
    """Write minutes and seconds below the plot, at round times with space between the labels."""
    if not letter or area.x2 <= area.x1:
        return
    _fill(canvas, area._replace(y1=area.y2, y2=area.y2 + 1), palette.ink)
    room = 2 * text_width(_clock(end), letter) * end / (area.x2 - area.x1)  # seconds that a label spans, with space
    step = next((step for step in TIME_STEPS if step >= room), TIME_STEPS[-1] * np.ceil(room / TIME_STEPS[-1]))
    for second in np.arange(0, end, step):
        x = area.x1 + round(second / end * (area.x2 - area.x1))
        _fill(canvas, Area(x, area.y2, x + 1, area.y2 + letter // 2), palette.ink)
        text = _clock(second)
        wide = text_width(text, letter)
        left = int(np.clip(x - wide // 2, area.x1, max(area.x2 - wide, area.x1)))
        _write(canvas, text, letter, x=left, base=area.y2 + round(1.9 * letter), ink=palette.ink)


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _runs(seen: BoolArray) -> Iterator[slice]:
    """Yield each run of true values, bool (n,), as a slice."""
    borders = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(np.int8)))
    for start, stop in borders.reshape(-1, 2).tolist():
        yield slice(start, stop)


def _write(canvas: ImageArray, text: str, letter: int, *, x: int, base: int, ink: Colour) -> None:
    if letter:
        draw_text(canvas, text, letter, x=x, base=base, ink=ink)


def _inside(area: Area) -> Area:
    """Return an area without its border of one pixel; sides of fewer than three pixels are kept."""
    x, y = (1 if area.x2 - area.x1 > 2 else 0), (1 if area.y2 - area.y1 > 2 else 0)
    return Area(area.x1 + x, area.y1 + y, area.x2 - x, area.y2 - y)


def _fill(canvas: ImageArray, area: Area, colour: Colour) -> None:
    x1, y1, x2, y2 = (max(value, 0) for value in area)
    canvas[y1:y2, x1:x2] = colour
