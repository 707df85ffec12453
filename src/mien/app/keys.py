"""Keys, their commands, and the menu that lists them."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Mapping
from functools import partial
from tkinter import ttk
from typing import NamedTuple


class Key(NamedTuple):
    """Keys of one command.

    Args:
        command: Name of the command.
        sequences: The keys, as Tk writes them.
        shown: The keys, as a person reads them.
        does: Description of the command.
        edits: Whether a text field needs these keys itself.
    """

    command: str
    sequences: tuple[str, ...]
    shown: str
    does: str
    edits: bool = False


KEYS = (
    Key("show_pictures", ("<Control-Key-1>",), "Ctrl+1", "Pictures"),
    Key("show_camera", ("<Control-Key-2>",), "Ctrl+2", "Camera and video"),
    Key("open_file", ("<Control-o>",), "Ctrl+O", "Open a picture or a video"),
    Key("open_folder", ("<Control-Shift-O>",), "Ctrl+Shift+O", "Open a folder of pictures"),
    Key("paste", ("<Control-v>",), "Ctrl+V", "Paste a picture, or the path of a file", edits=True),
    Key("previous_picture", ("<Left>", "<Prior>"), "←, Page Up", "Previous picture", edits=True),
    Key("next_picture", ("<Right>", "<Next>"), "→, Page Down", "Next picture", edits=True),
    Key("zoom_in", ("<plus>", "<KP_Add>", "<equal>"), "+, wheel", "Zoom in", edits=True),
    Key("zoom_out", ("<minus>", "<KP_Subtract>"), "−, wheel", "Zoom out", edits=True),
    Key("zoom_whole", ("<Key-0>", "<KP_0>"), "0, double click", "Show the whole picture", edits=True),
    Key("toggle_probabilities", ("<Control-b>",), "Ctrl+B", "Show or hide the probabilities", edits=True),
    Key("start_or_stop", ("<Control-r>",), "Ctrl+R", "Start or stop the camera"),
    Key("toggle_voice", ("<Control-m>",), "Ctrl+M", "Turn voice recognition on or off", edits=True),
    Key("save", ("<Control-s>",), "Ctrl+S", "Save the picture, or a snapshot of the camera"),
    Key("save_faces", ("<Control-f>",), "Ctrl+F", "Save the faces", edits=True),
    Key("save_statistics", ("<Control-t>",), "Ctrl+T", "Save the camera's statistics", edits=True),
    Key("toggle_dark", ("<Control-d>",), "Ctrl+D", "Dark or light", edits=True),
    Key("show_help", ("<F1>",), "F1", "Help"),
    Key("refresh", ("<F5>",), "F5", "Find new models and cameras"),
    Key("close", ("<Control-q>",), "Ctrl+Q", "Quit"),
)
MENU = (  # None draws a line
    ("open_file", "Open…"),
    ("open_folder", "Open folder…"),
    ("paste", "Paste"),
    None,
    ("toggle_voice", "Voice recognition"),
    None,
    ("save", "Save picture"),
    ("save_faces", "Save faces"),
    ("save_statistics", "Save statistics"),
    None,
    ("zoom_in", "Zoom in"),
    ("zoom_out", "Zoom out"),
    ("zoom_whole", "Whole picture"),
    None,
    ("toggle_dark", "Dark or light"),
    ("refresh", "Find models and cameras"),
    None,
    ("show_help", "Help"),
    ("show_about", "About mien"),
    ("close", "Quit"),
)


def bind_keys(root: tk.Tk, commands: Mapping[str, Callable[[], None]], text_field: tk.Misc) -> None:
    """Bind the keys; a text field keeps those that edit its text."""

    def pressed(key: Key, event: tk.Event[tk.Misc]) -> None:
        if not (key.edits and event.widget is text_field):
            commands[key.command]()

    for key in KEYS:
        for sequence in key.sequences:
            root.bind(sequence, partial(pressed, key))


def build_menu(button: ttk.Menubutton, commands: Mapping[str, Callable[[], None]]) -> None:
    """Give a button its menu."""
    menu = tk.Menu(button, tearoff=False)
    shown = {key.command: key.shown.split(",")[0] for key in KEYS}
    for item in MENU:
        if item is None:
            menu.add_separator()
        else:
            command, title = item
            menu.add_command(label=f"  {title}", command=commands[command], accelerator=f"{shown.get(command, '')}  ")
    button.configure(menu=menu)
