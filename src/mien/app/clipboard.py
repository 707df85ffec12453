"""Pictures and paths from the clipboard."""

from __future__ import annotations

import os
import tkinter as tk
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlparse

import numpy as np
from PIL import Image, ImageGrab

from mien.errors import InputError
from mien.sources.pictures import read_picture
from mien.structures import ImageArray


def paste_picture(root: tk.Misc) -> Path | ImageArray:
    """Return the clipboard's path, as text or as a file manager copies it, or its picture, RGB uint8 (H, W, 3).

    Raises:
        InputError: The clipboard has neither.
    """
    text = _get(root, "STRING").strip()
    if text:
        line = text.splitlines()[0].strip().strip("\"'")
        path = Path(unquote(urlparse(line).path) if line.startswith("file://") else line)
        if os.path.exists(path):
            return path
    picture = _x11_picture(root) if root.tk.call("tk", "windowingsystem") == "x11" else _system_picture()
    if picture is None:
        raise InputError("the clipboard has no picture and no path of a file; copy one first")
    return picture


def _get(root: tk.Misc, kind: str) -> str:
    try:
        return root.clipboard_get(type=kind)
    except tk.TclError:  # no content of this type
        return ""


def _x11_picture(root: tk.Misc) -> ImageArray | None:
    codes = _get(root, "image/png").split()  # Tk returns bytes as numbers: 0x89 0x50 …
    if not codes:
        return None
    with TemporaryDirectory(prefix="mien-") as folder:
        file = Path(folder) / "pasted.png"
        file.write_bytes(bytes(int(code, 16) & 0xFF for code in codes))
        return read_picture(file)


def _system_picture() -> ImageArray | Path | None:
    found = ImageGrab.grabclipboard()
    if isinstance(found, list) and found:  # files that Windows' Explorer has copied
        return Path(found[0])
    return np.asarray(found.convert("RGB"), np.uint8) if isinstance(found, Image.Image) else None
