"""What the windows share: a worker, a status line, and saving what a camera shows."""

from __future__ import annotations

import time
import tkinter as tk
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from tkinter import ttk
from types import TracebackType

from mien.app.look import COLOURS, to_photo
from mien.app.worker import Shown, Worker, sentence
from mien.files import make_folder
from mien.pixels import write_picture
from mien.sinks.annotated import save_faces
from mien.structures import Expression, Frame, ImageArray

POLL_MS = 15  # between looks at what the worker has ready


class StreamWindow(ABC):
    """A window that shows what a worker sees.

    Args:
        root: The program's window.
        saves: Folder for snapshots, faces and statistics; made when it is needed.
        half_life: Of the smoothing, in seconds; see `Live`.
    """

    dark = False
    view: ttk.Label
    status: ttk.Label

    def __init__(self, root: tk.Tk, *, saves: Path, half_life: float) -> None:
        self.root, self.saves = root, saves
        self.worker = Worker(self, half_life=half_life)
        self.shown: Shown | None = None
        self.closed = False
        self._next_poll = ""
        self._photo: tk.PhotoImage | None = None
        root.protocol("WM_DELETE_WINDOW", self.close)
        root.report_callback_exception = self._report

    @abstractmethod
    def show(self, shown: Shown) -> None:
        """Show a frame of the stream."""

    @abstractmethod
    def ended(self) -> None:
        """Do what is to be done when the stream has ended by itself."""

    def poll(self) -> None:
        """Do what the worker has for the window, show the newest frame, and come back soon."""
        if self.worker.newest:
            self.shown = self.worker.newest.pop()
            self.show(self.shown)
        while not self.closed and not self.worker.done.empty():
            self.worker.done.get()()
        if self.closed:
            return
        self._next_poll = self.root.after(POLL_MS, self.poll)

    def show_picture(self, image: ImageArray) -> None:
        """Show a picture, RGB uint8 (H, W, 3), in place of the one before."""
        self._photo = to_photo(image, self._photo)
        self.view.configure(image=self._photo, text="")

    def show_text(self, text: str) -> None:
        """Show a text where the picture would be."""
        self._photo = None
        self.view.configure(image="", text=text)

    def say(self, sentence: str) -> None:
        """Show what goes on."""
        self.status.configure(text=sentence, foreground=COLOURS[self.dark].text)

    def complain(self, sentence: str) -> None:
        """Show what went wrong."""
        self.status.configure(text=sentence, foreground=COLOURS[self.dark].error)

    def save_snapshot(self) -> None:
        """Save the newest frame of the stream with its faces boxed and named."""
        if (shown := self.newest()) is not None:
            path = self.saves / f"snapshot-{_now()}.png"
            self.save(lambda: write_picture(path, shown.drawn), path)

    def save_faces(self) -> None:
        """Save each face of the stream's newest frame as a picture of its own."""
        if (shown := self.newest()) is not None:
            self.save_faces_of(shown.sight.frame, shown.sight.expressions, self.saves)

    def save_faces_of(self, frame: Frame, expressions: list[Expression], folder: Path) -> None:
        """Save each face of a frame as a picture of its own."""
        if expressions:
            self.save(lambda: save_faces(frame, expressions, folder), folder)
        else:
            self.complain("there is no face to save")

    def save_statistics(self) -> None:
        """Save how often each expression was seen, as pictures and as JSON."""
        recorder = self.worker.recorder
        if recorder is not None and self.newest() is not None:
            folder = self.saves / f"statistics-{_now()}"
            self.save(lambda: recorder.statistics.save(folder), folder)

    def newest(self) -> Shown | None:
        """Return the newest frame of the stream; where there is none, say so."""
        if self.shown is None:
            self.complain("nothing has been seen by a camera yet")
        return self.shown

    def save(self, work: Callable[[], object], path: Path) -> None:
        """Write something in the worker's thread, and say where it is."""

        def write() -> None:
            make_folder(path.parent)
            work()

        self.worker.submit(write, lambda _: self.say(f"saved: {path}"))

    def close(self) -> None:
        """End what runs, then the window."""
        self.closed = True
        self.root.after_cancel(self._next_poll)
        self.worker.close()
        self.root.destroy()

    def _report(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """Say in the window what went wrong in a callback, where Tk would print a traceback."""
        self.complain(sentence(error))


def _now() -> str:
    return time.strftime("%Y%m%d-%H%M%S")
