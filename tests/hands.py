"""Type, click, scroll and drag in windows through the X server, as a person does."""

from __future__ import annotations

import subprocess
import time
import tkinter as tk
from collections.abc import Callable
from typing import Any

PATIENCE = 60  # seconds, on a machine that is busy with other things


def type_text(text: str) -> None:
    subprocess.run(["xdotool", "type", "--delay", "2", text], check=True)


def press(*keys: str) -> None:
    subprocess.run(["xdotool", "key", *keys], check=True)


def click(widget: tk.Misc) -> None:
    """Click into the middle of a widget."""
    widget.update()
    x, y = widget.winfo_rootx() + widget.winfo_width() // 2, widget.winfo_rooty() + widget.winfo_height() // 2
    subprocess.run(["xdotool", "mousemove", str(x), str(y), "click", "1"], check=True)


def hover(widget: tk.Misc) -> None:
    """Move the pointer over the middle of a widget."""
    widget.update()
    x, y = widget.winfo_rootx() + widget.winfo_width() // 2, widget.winfo_rooty() + widget.winfo_height() // 2
    subprocess.run(["xdotool", "mousemove", str(x - 1), str(y), "mousemove", str(x), str(y)], check=True)


def scroll(widget: tk.Misc, steps: int) -> None:
    """Turn the wheel over a widget: up by so many steps, or down if negative."""
    hover(widget)
    subprocess.run(["xdotool", "click", "--repeat", str(abs(steps)), "4" if steps > 0 else "5"], check=True)


def drag(widget: tk.Misc, dx: int, dy: int) -> None:
    """Drag from the middle of a widget by so many pixels."""
    hover(widget)
    move = ["mousemove_relative", "--", str(dx), str(dy)]
    subprocess.run(["xdotool", "mousedown", "1", *move, "mouseup", "1"], check=True)


def answer_dialog(root: tk.Misc, text: str) -> None:
    """Type an answer and Return into the next file dialog, once it has the focus."""
    deadline = time.monotonic() + PATIENCE

    def look() -> None:  # runs in the dialog's own loop too
        if ".__tk_" in str(root.tk.call("focus")):
            hands = f"xdotool key ctrl+slash; xdotool type --delay 2 '{text}'; xdotool key Return"
            subprocess.Popen(["sh", "-c", hands]).wait()
        elif time.monotonic() < deadline:
            root.after(100, look)
        else:
            for variable in ("button", "selectFilePath"):  # for which a dialog waits
                root.tk.call("set", f"::tk::Priv({variable})", "")

    root.after(100, look)


def until(root: tk.Misc, condition: Callable[[], object], what: str) -> None:
    """Run the window until a condition holds.

    Raises:
        AssertionError: It did not hold in time.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        root.update()
        time.sleep(0.01)


def status(window: Any) -> str:
    """Return the text of the window's status line."""
    return str(window.status_label.cget("text"))
