"""Synthetic faces: simple grey drawings of the seven FER2013 expressions, for tests and trial trainings."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mien.data.dataset import Dataset
from mien.labels import FER2013
from mien.structures import ImageArray


class _Expression(NamedTuple):
    """Displacements of facial features, in half heights of the face, upward positive."""

    inner_brows: float
    outer_brows: float
    eye_opening: float
    mouth_corners: float
    mouth_width: float
    mouth_opening: float
    nose_wrinkles: float  # 0 to 1


_NEUTRAL = _Expression(0.00, 0.00, 0.085, 0.00, 0.32, 0.00, 0.0)
_EXPRESSIONS = {  # by action units (AU) of Ekman & Friesen's Facial Action Coding System
    "angry": _Expression(-0.15, 0.10, 0.070, -0.04, 0.24, 0.00, 0.4),  # AU 4, 7, 23
    "disgust": _Expression(-0.08, -0.02, 0.035, -0.14, 0.28, 0.10, 1.0),  # AU 9, 10, 15
    "fear": _Expression(0.17, 0.02, 0.140, -0.06, 0.44, 0.11, 0.0),  # AU 1, 2, 4, 5, 20, 25
    "happy": _Expression(0.00, 0.02, 0.055, 0.18, 0.44, 0.06, 0.0),  # AU 6, 12, 25
    "sad": _Expression(0.13, -0.08, 0.050, -0.16, 0.28, 0.00, 0.0),  # AU 1, 4, 15
    "surprise": _Expression(0.16, 0.18, 0.150, 0.00, 0.18, 0.26, 0.0),  # AU 1, 2, 5, 26
    "neutral": _NEUTRAL,
}
_SHIFT = 4  # fractional bits of OpenCV's coordinates: a sixteenth of a pixel

Points = npt.NDArray[np.float64]  # (n, 2): x, y


def draw_faces(n: int, *, seed: int, size: int = 48) -> Dataset:
    """Draw grey faces that show the expressions of FER2013 in brows, eyes, nose and mouth.

    Position, size, tilt, proportions, light and intensity of the expression vary. Image i depends on (seed, i, size)
    alone; the classes take turns, and of every ten images eight are train, one valid, one test.

    Args:
        n: Number of images.
        seed: Of the random variation.
        size: Side in pixels.
    """
    ids = np.arange(n)
    targets = ids % len(FER2013)
    pictures = [_draw(FER2013.labels[t], size, np.random.default_rng([seed, i])) for i, t in enumerate(targets)]
    return Dataset(
        name="drawn",
        images=np.array(pictures, np.uint8).reshape(n, size, size, 1),
        targets=targets.astype(np.int64),
        labels=FER2013,
        splits=np.maximum(ids % 10 - 7, 0).astype(np.int8),
    )


def _draw(label: str, size: int, rng: np.random.Generator) -> ImageArray:
    intensity = rng.uniform(0.7, 1.1)
    varied = np.array(_NEUTRAL) + intensity * (np.array(_EXPRESSIONS[label]) - np.array(_NEUTRAL))
    shown = _Expression(*(varied + rng.normal(0, 0.008, len(varied))).tolist())
    skin, ink = rng.uniform(130, 225), rng.uniform(0.1, 0.35)
    dark, light = skin * ink, min(skin * 1.25, 255)
    pen = _Pen(size, rng, background=rng.uniform(20, 235))
    pen.fill(_ellipse(0, 0, rng.uniform(0.74, 0.86), 1.0), skin)
    eye, brow = rng.uniform(0.30, 0.36), rng.uniform(-0.42, -0.38)
    for side in (-1, 1):
        _draw_half(pen, shown, dark, light, side=side, eye=eye, brow=brow)
    pen.line(np.array([(0.0, -0.08), (-0.07, 0.20), (0.07, 0.20)]), skin * 0.6, 0.04)
    _draw_mouth(pen, shown, dark, light, y=rng.uniform(0.52, 0.58), lifted=1.0 if label == "disgust" else 0.5)
    return pen.finish(rng)


def _draw_half(pen: _Pen, shown: _Expression, dark: float, light: float, *, side: int, eye: float, brow: float) -> None:
    """Draw brow, eye and wrinkles of the left (side -1) or right half of the image."""
    inner, outer, wrinkles = shown.inner_brows, shown.outer_brows, shown.nose_wrinkles
    ends = [(side * (eye - 0.17), brow - inner), (side * eye, brow - 0.04 - (inner + outer) / 2)]
    pen.line(np.array([*ends, (side * (eye + 0.18), brow - outer)]), dark, 0.07)
    opening = max(shown.eye_opening, 0.02)
    pen.fill(_ellipse(side * eye, -0.18, 0.15, opening), light)
    pen.fill(_ellipse(side * eye, -0.18, min(0.075, opening), min(0.075, opening)), dark)
    pen.line(_ellipse(side * eye, -0.18, 0.15, opening)[20:], dark, 0.03)  # the upper lid
    if wrinkles > 0.2:
        pen.line(np.array([(side * 0.05, -0.22), (side * 0.13, -0.02)]), dark, 0.03 * wrinkles)
    if wrinkles > 0.6:  # the fold from nose to mouth
        pen.line(np.array([(side * 0.16, 0.12), (side * 0.34, 0.42)]), dark, 0.03 * wrinkles)


def _draw_mouth(pen: _Pen, shown: _Expression, dark: float, light: float, *, y: float, lifted: float) -> None:
    """Draw the mouth at a height; lifted is the share of its opening above the middle."""
    x = np.linspace(-1, 1, 21)
    bow = 1 - x**2  # 1 in the middle of the lips, 0 at the corners
    middle = y + shown.mouth_corners * (bow - 0.5)
    gap = max(shown.mouth_opening, 0.0) * np.sqrt(bow)
    upper = np.stack([shown.mouth_width * x, middle - gap * lifted], 1)
    lower = np.stack([shown.mouth_width * x, middle + gap], 1)
    lips = np.concatenate([upper, lower[::-1]])
    if shown.mouth_opening > 0.03:
        pen.fill(lips, light if shown.mouth_opening < 0.15 else dark)  # no teeth in a wide open mouth
    pen.line(np.concatenate([lips, lips[:1]]), dark, 0.06)


class _Pen:
    """Draws in face coordinates (centre 0, half height 1, y down) on a canvas of twice the size."""

    def __init__(self, size: int, rng: np.random.Generator, *, background: float) -> None:
        self.size = size
        self.canvas: ImageArray = np.full((2 * size, 2 * size), background, np.uint8)
        self.unit = size * rng.uniform(0.72, 0.92)
        angle = np.radians(rng.uniform(-12, 12))
        self.turn = self.unit * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        self.centre = size * (1 + rng.uniform(-0.1, 0.1, 2))

    def fill(self, points: Points, grey: float) -> None:
        cv2.fillPoly(self.canvas, [self._pixels(points)], grey, cv2.LINE_AA, _SHIFT)

    def line(self, points: Points, grey: float, width: float) -> None:
        thickness = max(round(width * self.unit), 1)
        cv2.polylines(self.canvas, [self._pixels(points)], False, grey, thickness, cv2.LINE_AA, _SHIFT)

    def finish(self, rng: np.random.Generator) -> ImageArray:
        """Return the image, uint8 (size, size), with uneven light, blur and noise."""
        slope = np.linspace(-1, 1, 2 * self.size) * rng.uniform(-0.25, 0.25)
        lit = self.canvas * (1 + slope) * rng.uniform(0.6, 1.1) + rng.normal(0, 8, self.canvas.shape)
        # Without blur a net learns to detect the smoothing of rotated images instead of faces.
        blurred = cv2.GaussianBlur(lit, (0, 0), rng.uniform(1.0, 2.0))
        small = cv2.resize(blurred, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.asarray(small.clip(0, 255), np.uint8)

    def _pixels(self, points: Points) -> npt.NDArray[np.int32]:
        return np.asarray(np.round((points @ self.turn + self.centre) * 2**_SHIFT), np.int32)


def _ellipse(x: float, y: float, width: float, height: float) -> Points:
    """Return 41 points, clockwise from the right, shape (41, 2); the last 21 are the upper half."""
    angle = np.linspace(0, 2 * np.pi, 41)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], 1)
