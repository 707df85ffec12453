"""How the windows look: theme, fonts, pictures on labels."""

from __future__ import annotations

import sys
import tkinter as tk
from contextlib import suppress
from tkinter import font
from typing import NamedTuple

import sv_ttk

from mien.errors import InputError
from mien.structures import ImageArray


class Colours(NamedTuple):
    """Of what the theme does not colour by itself: ground and letters as the theme has them."""

    ground: str
    text: str
    error: str


COLOURS = {  # by whether it is dark
    False: Colours("#fafafa", "#1c1c1c", "#c42b1c"),
    True: Colours("#1c1c1c", "#fafafa", "#ff99a4"),
}
STANDARD_DPI = 96  # what the theme's pixels are made for


def open_root(title: str) -> tk.Tk:
    """Return the program's first window, sharp on screens of high resolution.

    Raises:
        InputError: There is no display.
    """
    if sys.platform == "win32":
        from ctypes import windll

        with suppress(OSError):
            windll.shcore.SetProcessDpiAwareness(1)
    try:
        root = tk.Tk(className="mien")
    except tk.TclError as error:
        raise InputError(f"cannot open a window ({error}); on a machine without a screen use `mien predict`") from error
    root.title(title)
    root.columnconfigure(0, weight=1)
    root.rowconfigure(0, weight=1)
    return root


def scale_of(root: tk.Misc) -> float:
    """Return how many pixels of this screen make one of a standard one, in steps of a quarter from 1."""
    return max(1.0, round(4 * float(root.winfo_fpixels("1i")) / STANDARD_DPI) / 4)


def set_theme(root: tk.Tk, *, dark: bool) -> None:
    """Make the window light or dark, its letters in the system's own font and as large as the screen asks for."""
    sv_ttk.set_theme("dark" if dark else "light", root)
    family = font.nametofont("TkDefaultFont", root).actual("family")
    for name in font.names(root):
        if name.startswith("SunValley"):
            named = font.nametofont(name, root)
            if not hasattr(root, "mien_fonts_set"):
                named.configure(size=round(named.cget("size") * scale_of(root)))
            if sys.platform != "win32":  # where there is no Segoe UI
                named.configure(family=family)
    for dialog in ("TkFDialog", "TkChooseDir"):  # their list of files is white in any theme
        root.option_add(f"*{dialog}*Canvas.foreground", "black")
    root.mien_fonts_set = True  # type: ignore[attr-defined]
    root.configure(background=COLOURS[dark].ground)


def to_photo(image: ImageArray, photo: tk.PhotoImage | None = None) -> tk.PhotoImage:
    """Return a picture as Tk shows it: in the photo given, if there is one, which is the quicker way.

    Args:
        image: RGB uint8 (H, W, 3).
        photo: An older photo, shown already; its size may change.
    """
    height, width = image.shape[:2]
    data = b"P6 %d %d 255\n" % (width, height) + image.tobytes()
    if photo is None:
        return tk.PhotoImage(data=data)
    photo.configure(data=data, width=width, height=height)
    return photo
