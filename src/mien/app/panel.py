"""The window's side panel: a column of charts that scrolls."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from tkinter import ttk

from mien.app.look import to_photo
from mien.structures import ImageArray

GAP = 8  # pixels between charts


class Panel:
    """A column of images on a canvas, with a scroll bar when they don't fit."""

    def __init__(self, canvas: tk.Canvas, scroll: ttk.Scrollbar) -> None:
        self.canvas, self.scroll = canvas, scroll
        self._images: list[ImageArray] = []
        self._photos: list[tk.PhotoImage] = []
        canvas.configure(yscrollcommand=self._scrolled)
        scroll.configure(command=canvas.yview)
        for wheel, units in (("<Button-4>", -3), ("<Button-5>", 3)):
            canvas.bind(wheel, lambda _, units=units: canvas.yview_scroll(units, "units"))  # type: ignore[misc]
        canvas.bind("<MouseWheel>", lambda event: canvas.yview_scroll(-1 if event.delta > 0 else 1, "units"))

    def show(self, images: Sequence[ImageArray]) -> None:
        """Show images, RGB uint8 (H, W, 3), in place of those before."""
        before, self._images = self._images, list(images)
        if [image.shape for image in before] == [image.shape for image in images]:
            for old, image, photo in zip(before, images, self._photos, strict=True):
                if image is not old:
                    to_photo(image, photo)
            return
        self.canvas.delete("all")
        self._photos = [to_photo(image) for image in images]
        y = 0
        for photo in self._photos:
            self.canvas.create_image(0, y, image=photo, anchor="nw")
            y += photo.height() + GAP
        width = max((photo.width() for photo in self._photos), default=0)
        self.canvas.configure(scrollregion=(0, 0, width, max(y - GAP, 0)))
        self.canvas.yview_moveto(0)

    def _scrolled(self, first: float, last: float) -> None:
        self.scroll.set(first, last)
        if float(first) <= 0 and float(last) >= 1:  # Tk passes strings
            self.scroll.grid_remove()
        else:
            self.scroll.grid()
