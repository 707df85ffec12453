"""The window's layout from mien.ui: its widgets and variables by their names, and tooltips."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Mapping
from importlib import resources
from math import ceil
from tkinter import font, ttk
from typing import Any

import pygubu

LIST_MARGIN = 30  # pixels beside an entry, with the scroll bar
TOOLTIP_MS = 600  # the pointer rests on a widget before its tooltip appears


class Layout:
    """Widgets and variables of mien.ui.

    Args:
        root: The program's window.
        callbacks: The callbacks that mien.ui names.
    """

    def __init__(self, root: tk.Tk, callbacks: Mapping[str, Callable[..., None]]) -> None:
        self._builder = pygubu.Builder()
        self._builder.add_from_string(resources.files("mien.app").joinpath("mien.ui").read_text(encoding="utf-8"))
        self._builder.get_object("main", root)
        self._builder.connect_callbacks(callbacks)

    def widget(self, name: str) -> Any:
        """Return a widget."""
        return self._builder.get_object(name)

    def get(self, name: str) -> Any:
        """Return the value of a variable."""
        return self._builder.get_variable(name).get()

    def set(self, name: str, value: object) -> None:
        """Set a variable."""
        self._builder.get_variable(name).set(value)

    def show(self, name: str, shown: bool = True) -> None:
        """Show a widget where it belongs, or hide it."""
        if shown:
            self.widget(name).grid()
        else:
            self.widget(name).grid_remove()


def fit_list(box: ttk.Combobox) -> None:
    """Make the drop-down list of a combobox as wide as its longest entry."""

    def widen() -> None:
        extra = max(_longest(box) + LIST_MARGIN - box.winfo_width(), 0)
        ttk.Style(box).configure("Fitted.TCombobox", postoffset=(0, 0, extra, 0))

    box.configure(style="Fitted.TCombobox", postcommand=widen)


def widen_field(box: ttk.Combobox, *, most: int) -> None:
    """Widen the field of a combobox to its longest entry, at most to so many digits."""
    digits = ceil(_longest(box) / _font(box).measure("0"))
    box.configure(width=max(int(str(box.cget("width"))), min(digits, most)))


def _longest(box: ttk.Combobox) -> int:
    """Return the width of a combobox's longest entry in pixels."""
    return max(map(_font(box).measure, box.cget("values")), default=0)


def _font(box: ttk.Combobox) -> font.Font:
    return font.nametofont(str(box.cget("font")) or "TkTextFont", box)


class Tooltip:
    """A text beside a widget while the pointer rests on it.

    Args:
        widget: The widget.
        text: The text, or a function that returns it.
    """

    def __init__(self, widget: tk.Misc, text: str | Callable[[], str]) -> None:
        self.widget = widget
        self._text = text
        self._tip: tk.Toplevel | None = None
        self._pending = ""
        widget.bind("<Enter>", lambda _: self._wait(), add=True)
        for sequence in ("<Leave>", "<Button>", "<Key>", "<Destroy>"):
            widget.bind(sequence, lambda _: self.hide(), add=True)

    def hide(self) -> None:
        """Hide the text."""
        if self._pending:
            self.widget.after_cancel(self._pending)
            self._pending = ""
        if self._tip is not None:
            self._tip.destroy()
            self._tip = None

    def _wait(self) -> None:
        self.hide()
        self._pending = self.widget.after(TOOLTIP_MS, self._show)

    def _show(self) -> None:
        self._pending = ""
        text = self._text if isinstance(self._text, str) else self._text()
        if not text:
            return
        self._tip = tk.Toplevel(self.widget, background="#606060", padx=1, pady=1)
        self._tip.wm_overrideredirect(True)
        label = tk.Label(
            self._tip, text=text, justify="left", wraplength="280p", background="#ffffe8", foreground="#1c1c1c",
            padx=6, pady=4, font="SunValleyCaptionFont",
        )  # fmt: skip
        label.pack()
        rightmost = self.widget.winfo_screenwidth() - label.winfo_reqwidth() - 4
        x = max(min(self.widget.winfo_rootx(), rightmost), 0)
        y = self.widget.winfo_rooty() + self.widget.winfo_height() + 4
        if y + label.winfo_reqheight() > self.widget.winfo_screenheight():
            y = self.widget.winfo_rooty() - label.winfo_reqheight() - 8
        self._tip.geometry(f"+{x}+{y}")
