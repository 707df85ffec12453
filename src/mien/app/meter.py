"""The level meter of a microphone."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk

from mien.hearing import Meter

SIZE = (72, 8)  # pixels of a standard screen
SPEECH, SOUND, TROUGH = "#2e9e5b", "#8a8a8a", {False: "#dcdcdc", True: "#404040"}  # by whether the window is dark


class LevelMeter:
    """A bar as long as the sound is loud, green during speech, and beside it the state in words.

    Args:
        canvas: Where the bar is drawn.
        label: For the words.
        scale: Screen pixels per pixel of a standard screen.
    """

    def __init__(self, canvas: tk.Canvas, label: ttk.Label, *, scale: float) -> None:
        self.canvas, self.label = canvas, label
        self._size = round(SIZE[0] * scale), round(SIZE[1] * scale)
        label.configure(width=-len("listening"))  # at least; or it would move with the words
        canvas.configure(width=self._size[0], height=self._size[1], borderwidth=0, highlightthickness=0)

    def show(self, meter: Meter | None, *, dark: bool) -> None:
        """Show the state of a microphone; None hides it."""
        self.label.configure(text="" if meter is None else meter.text)
        if meter is None:
            self.canvas.grid_remove()
            self.label.grid_remove()
            return
        self.canvas.grid()
        self.label.grid()
        self.canvas.configure(background=TROUGH[dark])
        self.canvas.delete("all")
        length = round(meter.level * self._size[0])
        colour = SPEECH if meter.speaking else SOUND
        self.canvas.create_rectangle(0, 0, length, self._size[1], fill=colour, width=0)
