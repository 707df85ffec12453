"""Pen of the cartoons: draws polygons and lines on a head that turns; and smooth outlines for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from mien.structures import ImageArray

Colour: TypeAlias = tuple[int, int, int]  # RGB
Line: TypeAlias = npt.NDArray[np.float64]  # (n,): one coordinate of points
Points: TypeAlias = npt.NDArray[np.float64]  # (n, 2): x to the right, y down, in half heights of a head from its centre
Corners: TypeAlias = Sequence[tuple[float, float]]
SHADOW = (60, 20, 30)  # darkest colour of outlines and wrinkles
_SHIFT = 4  # fractional bits of OpenCV's coordinates: a sixteenth of a pixel


class Pose(NamedTuple):
    """Pose of a head, its framing and light; angles in radians, lengths in sides of the image.

    Args:
        turn: Yaw, positive to the right of the image.
        nod: Pitch, positive down.
        tilt: Roll, positive clockwise.
        scale: Half the height of the head.
        x: Centre of the head from the left.
        y: Centre of the head from the top.
        gaze: To the right and down, in [-1, 1].
        light: Direction it comes from: -1 left, 1 right.
        glow: Brightness of red, green and blue.
        slope: Brightness of the right edge above that of the middle.
    """

    turn: float = 0.0
    nod: float = 0.0
    tilt: float = 0.0
    scale: float = 0.345
    x: float = 0.5
    y: float = 0.53
    gaze: tuple[float, float] = (0.0, 0.0)
    light: float = -1.0
    glow: tuple[float, float, float] = (1.0, 1.0, 1.0)
    slope: float = 0.0


class Pen:
    """Draws on a canvas of two to four times the size; points are projected from the curved surface of a head.

    Args:
        size: Side of the image in pixels.
        pose: Pose, framing and light.
        background: Colour of the empty canvas.
        line: Thickness of outlines, in half heights of the head.
        darkness: Of outlines, 0 to 1.
    """

    def __init__(self, size: int, pose: Pose, *, background: Colour, line: float, darkness: float) -> None:
        self.size, self.pose, self.outline_width, self.darkness = size, pose, line, darkness
        side = size * (4 if size <= 64 else 3 if size <= 128 else 2)
        self.canvas: ImageArray = np.full((side, side, 3), background, np.uint8)
        self.unit = pose.scale * side
        self.centre = np.array([pose.x, pose.y]) * side
        cos, sin = np.cos(pose.tilt), np.sin(pose.tilt)
        self.tilt = np.array([[cos, sin], [-sin, cos]])

    def fill(
        self, points: Points, colour: Colour, *, outlined: float = 0.0, outline: Colour | None = None,
        both_sides: bool = False, lift: float = 0.0, fixed: bool = False,
    ) -> None:  # fmt: skip
        """Fill an outline.

        Args:
            points: Corners of the outline; may be empty.
            colour: Of the area.
            outlined: Thickness of the outline, relative to the character's; 0 draws none.
            outline: Colour of the outline; None is a darker shade of the area's.
            both_sides: Draw the mirror image too.
            lift: Height of the points above the surface of the head.
            fixed: The points don't move with the head.
        """
        for pixels in self._pixels(points, both_sides=both_sides, lift=lift, fixed=fixed):
            cv2.fillPoly(self.canvas, [pixels], colour, cv2.LINE_AA, _SHIFT)
            if outlined:
                edge = outline or mix(colour, SHADOW, self.darkness)
                self._stroke(pixels, edge, outlined * self.outline_width, closed=True)

    def line(
        self, points: Points, colour: Colour, width: float, *, closed: bool = False, both_sides: bool = False,
        lift: float = 0.0,
    ) -> None:  # fmt: skip
        """Draw a line, its width in half heights of the head; the other arguments are those of `fill`."""
        for pixels in self._pixels(points, both_sides=both_sides, lift=lift):
            self._stroke(pixels, colour, width, closed=closed)

    def render(self) -> ImageArray:
        """Return the image, downscaled and lit, RGB uint8 (size, size, 3)."""
        small = cv2.resize(self.canvas, (self.size, self.size), interpolation=cv2.INTER_AREA)
        slope = 1 + self.pose.slope * np.linspace(-1, 1, self.size)[:, None]
        return np.asarray((small * (slope * self.pose.glow).astype(np.float32)).clip(0, 255), np.uint8)

    def _stroke(self, pixels: npt.NDArray[np.int32], colour: Colour, width: float, *, closed: bool) -> None:
        thickness = max(round(width * self.unit), 1)
        cv2.polylines(self.canvas, [pixels], closed, colour, thickness, cv2.LINE_AA, _SHIFT)

    def _pixels(
        self, points: Points, *, both_sides: bool, lift: float, fixed: bool = False
    ) -> Iterator[npt.NDArray[np.int32]]:
        """Yield the points, and their mirror image, in fixed-point pixels of the canvas; nothing if there are none."""
        for p in [points, points * (-1, 1)][: 1 + both_sides] if len(points) else []:
            if not fixed:
                x, y = p.T
                depth = 0.75 * np.sqrt(np.clip(1 - (x / 0.95) ** 2 - (y / 1.2) ** 2, 0, None)) + lift
                turn, nod = self.pose.turn, self.pose.nod
                turned = [x * np.cos(turn) + depth * np.sin(turn), y * np.cos(nod) + depth * np.sin(nod)]
                p = np.stack(turned, axis=1) @ self.tilt
            yield np.asarray(np.rint((p * self.unit + self.centre) * 2**_SHIFT), np.int32)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return a mixture of two colours; share is that of b."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def curve(corners: Corners | Points, *, closed: bool = False) -> Points:
    """Return a smooth line through corners, eight points per corner (Catmull & Rom 1974)."""
    p = np.asarray(corners, np.float64)
    ends = (p[-1:], p[:2]) if closed else (2 * p[:1] - p[1:2], 2 * p[-1:] - p[-2:-1])
    q = np.concatenate([ends[0], p, ends[1]])
    a, b, c, d = q[:-3], q[1:-2], q[2:-1], q[3:]
    t = np.linspace(0, 1, 8, endpoint=False)[:, None, None]
    line = (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3) / 2
    line = line.transpose(1, 0, 2).reshape(-1, 2)
    return line if closed else np.concatenate([line, p[-1:]])


def symmetric(half: Corners) -> Points:
    """Return a smooth symmetric outline from its right half, whose corners go down from x = 0 to x = 0."""
    right = np.asarray(half, np.float64)
    left = right[::-1] * (-1, 1)
    return curve(np.concatenate([right, left[left[:, 0] != 0]]), closed=True)


def ellipse(x: float, y: float, width: float, height: float, *, n: int = 32) -> Points:
    """Return n points of an ellipse with half a width and half a height, shape (n, 2)."""
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


def curls(x: float, y: float, width: float, height: float) -> Points:
    """Return an ellipse with thirteen scallops."""
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radius = 0.93 + 0.12 * np.abs(np.sin(6.5 * angle))
    return np.stack([x + width * radius * np.cos(angle), y + height * radius * np.sin(angle)], axis=1)


def outline_between(x: Line, upper: Line, lower: Line) -> Points:
    """Return the outline of the area between two lines."""
    return np.concatenate([np.stack([x, upper], axis=1), np.stack([x, lower], axis=1)[::-1]])


def clip_between(points: Points, x: Line, upper: Line, lower: Line) -> Points:
    """Return the points clipped to the area between two lines with increasing x."""
    at = points[:, 0].clip(x[0], x[-1])
    return np.stack([at, points[:, 1].clip(np.interp(at, x, upper), np.interp(at, x, lower))], axis=1)
