"""Files dropped on the window."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from pathlib import Path
from typing import Any


def accept_files(widget: Any, opened: Callable[[list[Path]], None]) -> bool:
    """Call a function with the files that are dropped on a widget or inside it; return whether this system can.

    tkdnd, which tkinterdnd2 carries, has no build for some platforms; files are then opened by the buttons alone.
    """
    try:
        from tkinterdnd2 import DND_FILES, TkinterDnD

        TkinterDnD.require(widget.winfo_toplevel())
    except (ImportError, RuntimeError, tk.TclError):
        return False

    def dropped(event: Any) -> str:
        if paths := [Path(name) for name in widget.tk.splitlist(event.data)]:
            opened(paths)
        return str(event.action)

    widget.drop_target_register(DND_FILES)
    widget.dnd_bind("<<Drop>>", dropped)
    return True
