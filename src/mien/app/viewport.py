"""The image on show: fitted to its label, zoomed and panned."""

from __future__ import annotations

import tkinter as tk
from dataclasses import dataclass
from tkinter import ttk

import cv2
import numpy as np

from mien.app.look import to_photo
from mien.structures import ImageArray

MAX_ZOOM = 32.0  # times the size at which the whole image fits
ZOOM_STEP = 1.25  # per turn of the wheel, or key
REDRAW_MS = 40  # after the last change of the window's size


@dataclass(frozen=True, slots=True)
class Viewport:
    """The visible part of an image.

    Args:
        zoom: 1 shows the whole image, as large as it fits; up to `MAX_ZOOM`.
        x, y: Centre of the visible part, in parts of the image's width and height.
    """

    zoom: float = 1.0
    x: float = 0.5
    y: float = 0.5

    def scale(self, shape: tuple[int, ...], size: tuple[int, int]) -> float:
        """Return the screen pixels per image pixel, for an image of (H, W, …) on a label of (width, height)."""
        return min(size[0] / shape[1], size[1] / shape[0]) * self.zoom

    def zoomed(
        self, factor: float, shape: tuple[int, ...], size: tuple[int, int], at: tuple[float, float] = (0.0, 0.0)
    ) -> Viewport:
        """Enlarge by a factor, keeping the point `at` (screen pixels from the label's centre) in its place."""
        before = self.scale(shape, size)
        zoom = float(np.clip(self.zoom * factor, 1.0, MAX_ZOOM))
        shift = 1 / before - 1 / (before * zoom / self.zoom)
        x, y = self.x + at[0] * shift / shape[1], self.y + at[1] * shift / shape[0]
        return Viewport(zoom, x, y)._inside(shape, size)

    def moved(self, dx: float, dy: float, shape: tuple[int, ...], size: tuple[int, int]) -> Viewport:
        """Move the image by screen pixels, to the right and down."""
        scale = self.scale(shape, size)
        return Viewport(self.zoom, self.x - dx / scale / shape[1], self.y - dy / scale / shape[0])._inside(shape, size)

    def render(self, image: ImageArray, size: tuple[int, int]) -> ImageArray:
        """Return the visible part, RGB uint8 (H, W, 3), at most (width, height) large, in the image's proportions."""
        height, width = image.shape[:2]
        scale = self.scale(image.shape, size)
        target = (max(1, min(size[0], round(width * scale))), max(1, min(size[1], round(height * scale))))
        if target == (width, height):
            return image
        seen = min(target[0] / scale, width), min(target[1] / scale, height)
        left = float(np.clip(self.x * width - seen[0] / 2, 0, width - seen[0]))
        top = float(np.clip(self.y * height - seen[1] / 2, 0, height - seen[1]))
        if scale < 1:
            part = image[int(top) : round(top + seen[1] + 0.5), int(left) : round(left + seen[0] + 0.5)]
            return np.asarray(cv2.resize(part, target, interpolation=cv2.INTER_AREA), np.uint8)
        step = 1 / scale  # OpenCV counts from the middle of a pixel
        move = np.array([[step, 0, left + step / 2 - 0.5], [0, step, top + step / 2 - 0.5]])
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(image, move, target, flags=how, borderMode=cv2.BORDER_REPLICATE), np.uint8)

    def _inside(self, shape: tuple[int, ...], size: tuple[int, int]) -> Viewport:
        """Return the nearest viewport that shows nothing beyond the image's edges."""
        scale = self.scale(shape, size)
        half_x, half_y = (min(side / (scale * length), 1) / 2 for side, length in zip(size, shape[1::-1], strict=True))
        x, y = float(np.clip(self.x, half_x, 1 - half_x)), float(np.clip(self.y, half_y, 1 - half_y))
        return Viewport(self.zoom, x, y)


class ImageView:
    """Shows an image on a label, as large as it fits: the wheel zooms, dragging pans, a double click shows it whole."""

    def __init__(self, label: ttk.Label) -> None:
        self.label = label
        self.viewport = Viewport()
        self.size = (640, 480)  # of the label; set once it is on the screen
        self._halves: list[ImageArray] = []  # the image, and copies of it, each half as large as the one before
        self._photo: tk.PhotoImage | None = None
        self._dragged = (0, 0)
        self._redraw = ""
        label.bind("<Configure>", self._resized)
        label.bind("<MouseWheel>", lambda event: self._wheel(event, 1 if event.delta > 0 else -1))
        label.bind("<Button-4>", lambda event: self._wheel(event, 1))
        label.bind("<Button-5>", lambda event: self._wheel(event, -1))
        label.bind("<Button-1>", self._press)
        label.bind("<B1-Motion>", self._drag)
        label.bind("<Double-Button-1>", lambda _: self.show_whole())

    def show(self, image: ImageArray) -> None:
        """Show an image, RGB uint8 (H, W, 3), in place of the one before; zoom and place stay."""
        self._halves = [image]
        self._draw()

    def show_text(self, text: str) -> None:
        """Show a text in place of an image."""
        self._halves, self._photo, self.viewport = [], None, Viewport()
        self.label.configure(image="", text=text, cursor="")

    def zoom(self, steps: int, at: tuple[float, float] = (0.0, 0.0)) -> None:
        """Zoom in by so many steps, out if negative, about a point in screen pixels from the label's centre."""
        if self._halves:
            self.viewport = self.viewport.zoomed(ZOOM_STEP**steps, self._halves[0].shape, self.size, at)
            self._draw()

    def show_whole(self) -> None:
        """Show the whole image."""
        self.viewport = Viewport()
        self._draw()

    def _draw(self) -> None:
        if not self._halves:
            return
        self._photo = to_photo(self.viewport.render(self._nearest(), self.size), self._photo)
        self.label.configure(image=self._photo, text="", cursor="fleur" if self.viewport.zoom > 1 else "")

    def _nearest(self) -> ImageArray:
        """Return the smallest copy of the image with enough pixels; photos are thus drawn in milliseconds."""
        scale, level = self.viewport.scale(self._halves[0].shape, self.size), 0
        while scale <= 0.5 and min(self._halves[level].shape[:2]) >= 2:
            scale, level = scale * 2, level + 1
            if level == len(self._halves):
                last = self._halves[-1]
                half = (last.shape[1] // 2, last.shape[0] // 2)
                self._halves.append(np.asarray(cv2.resize(last, half, interpolation=cv2.INTER_AREA), np.uint8))
        return self._halves[level]

    def _wheel(self, event: tk.Event[ttk.Label], steps: int) -> None:
        self.zoom(steps, (event.x - self.size[0] / 2, event.y - self.size[1] / 2))

    def _press(self, event: tk.Event[ttk.Label]) -> None:
        self.label.focus_set()  # from a text field, so that keys work
        self._dragged = event.x, event.y

    def _drag(self, event: tk.Event[ttk.Label]) -> None:
        dx, dy = event.x - self._dragged[0], event.y - self._dragged[1]
        self._dragged = event.x, event.y
        if self._halves:
            self.viewport = self.viewport.moved(dx, dy, self._halves[0].shape, self.size)
            self._draw()

    def _resized(self, event: tk.Event[ttk.Label]) -> None:
        self.size = (max(event.width, 1), max(event.height, 1))
        if self._redraw:
            self.label.after_cancel(self._redraw)
        self._redraw = self.label.after(REDRAW_MS, self._draw)
