"""The windows *Help* and *About*."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk

import mien
from mien.app.keys import KEYS
from mien.app.look import open_dialog

GUIDE = (
    ("Pictures", "Open a picture or a folder, paste a picture, or drop files on the window. The panel on the right "
     "shows the probabilities of each face, from left to right."),
    ("Camera and video", "Choose a camera or type the address of a stream, then press Start; a video file starts by "
     "itself. The panel shows the largest face, each expression's share of the time so far, and the mean "
     "probabilities over time. A change of model or detector resets these statistics."),
    ("Models", "Put .onnx files into your models folder and press F5. A model marked (cartoons) is for drawn faces."),
    ("Please note", "mien names the expression that a face shows, not the feeling behind it, and it is often wrong. "
     "Ask people before you film them. Nothing leaves this computer."),
)  # fmt: skip
ABOUT = (
    "Facial expression recognition in pictures, videos and cameras.\n\n"
    "Licence: Apache-2.0. Each model's weights have their own, shown in the tooltip of the list of models."
)
GAP = "4p"


def show_help(root: tk.Tk) -> None:
    """Open a window with a short guide and the keys."""
    top, frame = open_dialog(root, "help", "mien help")
    for row, (heading, text) in enumerate(GUIDE):
        ttk.Label(frame, text=heading, font="SunValleyBodyStrongFont").grid(row=2 * row, sticky="w")
        ttk.Label(frame, text=text, wraplength="260p", justify="left").grid(row=2 * row + 1, sticky="w", pady=(0, "8p"))
    keys = ttk.Frame(frame)
    keys.grid(row=0, column=1, rowspan=2 * len(GUIDE), padx=("18p", 0), sticky="n")
    ttk.Label(keys, text="Keys", font="SunValleyBodyStrongFont").grid(row=0, sticky="w")
    for row, key in enumerate(KEYS, start=1):
        ttk.Label(keys, text=key.shown).grid(row=row, column=0, sticky="w", padx=(0, "10p"))
        ttk.Label(keys, text=key.does).grid(row=row, column=1, sticky="w")
    _add_close(top, frame, row=2 * len(GUIDE))


def show_about(root: tk.Tk) -> None:
    """Open a window with version and licence."""
    top, frame = open_dialog(root, "about", "About mien")
    ttk.Label(frame, text=f"mien {mien.__version__}", font="SunValleySubtitleFont").grid(
        row=0, sticky="w", pady=(0, GAP)
    )
    ttk.Label(frame, text=ABOUT, wraplength="240p", justify="left").grid(row=1, sticky="w", pady=(0, "8p"))
    _add_close(top, frame, row=2)


def _add_close(top: tk.Toplevel, frame: ttk.Frame, *, row: int) -> None:
    close = ttk.Button(frame, text="Close", style="Accent.TButton", command=top.destroy)
    close.grid(row=row, columnspan=2, sticky="e")
    for key in ("<Escape>", "<Return>"):
        top.bind(key, lambda _: top.destroy())
    close.focus_set()
