"""Theme, fonts and images of the windows."""

from __future__ import annotations

import sys
import tkinter as tk
from contextlib import suppress
from tkinter import font, ttk
from typing import NamedTuple

import sv_ttk

from mien.errors import InputError
from mien.structures import ImageArray


class Colours(NamedTuple):
    """The theme's colours, for widgets that it does not colour by itself."""

    ground: str
    text: str
    error: str


COLOURS = {  # dark -> colours
    False: Colours("#fafafa", "#1c1c1c", "#c42b1c"),
    True: Colours("#1c1c1c", "#fafafa", "#ff99a4"),
}
LISTENING = {False: "#c42b1c", True: "#ff5050"}  # dark -> red of the button while a microphone is open
STANDARD_DPI = 96  # resolution that the theme's pixels are made for


def open_root(title: str) -> tk.Tk:
    """Return the program's main window, sharp on high-resolution screens.

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


def open_dialog(
    root: tk.Tk, name: str, title: str, *, offset: int = 40, padding: str = "12p"
) -> tuple[tk.Toplevel, ttk.Frame]:
    """Open a window with a frame, in place of one of the same name, `offset` pixels from the main window's corner."""
    top = tk.Toplevel(root, name=name, background=root.cget("background"))
    top.title(title)
    top.transient(root)
    top.geometry(f"+{root.winfo_rootx() + offset}+{root.winfo_rooty() + offset}")
    top.resizable(False, False)
    frame = ttk.Frame(top, padding=padding)
    frame.grid()
    return top, frame


def scale_of(root: tk.Misc) -> float:
    """Return this screen's pixels per pixel of a standard screen, at least 1, in steps of a quarter."""
    return max(1.0, round(4 * float(root.winfo_fpixels("1i")) / STANDARD_DPI) / 4)


def set_theme(root: tk.Tk, *, dark: bool) -> None:
    """Make the window light or dark, with the system's font, scaled to the screen's resolution."""
    sv_ttk.set_theme("dark" if dark else "light", root)
    family = font.nametofont("TkDefaultFont", root).actual("family")
    for name in font.names(root):
        if name.startswith("SunValley"):
            named = font.nametofont(name, root)
            if not hasattr(root, "mien_fonts_set"):
                named.configure(size=round(named.cget("size") * scale_of(root)))
            if sys.platform != "win32":  # Segoe UI is missing there
                bold = any(word in name for word in ("Strong", "title", "Title", "Display"))
                named.configure(family=family, weight="bold" if bold else "normal")
    for dialog in ("TkFDialog", "TkChooseDir"):  # their file list is white in both themes
        root.option_add(f"*{dialog}*Canvas.foreground", "black")
    ttk.Style(root).configure("Listening.TButton", foreground=LISTENING[dark])
    root.mien_fonts_set = True  # type: ignore[attr-defined]
    root.configure(background=COLOURS[dark].ground)


def to_photo(image: ImageArray, photo: tk.PhotoImage | None = None) -> tk.PhotoImage:
    """Return an image as Tk's photo.

    Args:
        image: RGB uint8 (H, W, 3).
        photo: A photo to overwrite, which is faster than a new one; its size may change.
    """
    height, width = image.shape[:2]
    data = b"P6 %d %d 255\n" % (width, height) + image.tobytes()
    if photo is None:
        return tk.PhotoImage(data=data)
    photo.configure(data=data, width=width, height=height)
    return photo
