"""The base of both windows: a worker, a status line, and saving from a stream."""

from __future__ import annotations

import time
import tkinter as tk
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from tkinter import ttk
from types import TracebackType

from mien.app.look import COLOURS
from mien.app.viewport import ImageView
from mien.app.worker import Shown, Worker, sentence
from mien.escape import visible
from mien.files import make_folder
from mien.pixels import write_picture
from mien.recognizer import Recognizer
from mien.sinks.annotated import save_faces
from mien.structures import Expression, Frame
from mien.vision.smooth import Smoother

POLL_MS = 15  # between two looks at the worker's results


class StreamWindow(ABC):
    """A window that shows a stream.

    Args:
        root: The program's window.
        saves: Folder for snapshots, faces and statistics; made on first use.
        smoother_for: Returns a new smoother for a recogniser, in the worker's thread.
    """

    dark = False
    view: ImageView
    status_label: ttk.Label

    def __init__(self, root: tk.Tk, *, saves: Path, smoother_for: Callable[[Recognizer], Smoother]) -> None:
        self.root, self.saves = root, saves
        self.worker = Worker(self, smoother_for=smoother_for)
        self.shown: Shown | None = None
        self.closed = False
        self._next_poll = ""
        root.protocol("WM_DELETE_WINDOW", self.close)
        root.report_callback_exception = self._report

    @abstractmethod
    def show(self, shown: Shown) -> None:
        """Show a frame of the stream."""

    @abstractmethod
    def ended(self) -> None:
        """React to a stream that ended by itself."""

    def voice_lost(self, reason: str) -> None:
        """Say why no voice is heard; the stream goes on."""
        self.complain(f"no voice: {reason}")

    def poll(self) -> None:
        """Show the newest frame, run the worker's callbacks, and poll again soon."""
        try:
            if self.worker.newest:
                self.shown = self.worker.newest.pop()
                self.show(self.shown)
            while not self.closed and not self.worker.done.empty():
                self.worker.done.get()()
        finally:
            if not self.closed:
                self._next_poll = self.root.after(POLL_MS, self.poll)

    def wrap_status(self) -> None:
        """Wrap the status line where the room beside it ends."""
        self.status_label.bind("<Configure>", lambda event: self.status_label.configure(wraplength=event.width))

    def say(self, sentence: str) -> None:
        """Write a sentence into the status line."""
        self.status_label.configure(text=visible(sentence), foreground=COLOURS[self.dark].text)

    def complain(self, sentence: str) -> None:
        """Write an error into the status line."""
        self.status_label.configure(text=visible(sentence), foreground=COLOURS[self.dark].error)

    def save_snapshot(self) -> None:
        """Save the newest frame of the stream with its faces boxed and named."""
        if (shown := self.newest()) is not None:
            path = self.saves / f"snapshot-{_now()}.png"
            self.save_file(lambda: write_picture(path, shown.drawn), path)

    def save_stream_faces(self) -> None:
        """Save each face of the stream's newest frame as a picture of its own."""
        if (shown := self.newest()) is not None:
            self.save_faces_of(shown.result.frame, shown.result.expressions, self.saves)

    def save_faces_of(self, frame: Frame, expressions: list[Expression], folder: Path) -> None:
        """Save each face of a frame as a picture of its own."""
        if expressions:
            self.save_file(lambda: save_faces(frame, expressions, folder), folder)
        else:
            self.complain("there is no face to save")

    def save_statistics(self) -> None:
        """Save the share of each expression, as charts and as JSON."""
        recorder = self.worker.recorder
        if recorder is not None and self.newest() is not None:
            folder = self.saves / f"statistics-{_now()}"
            self.save_file(lambda: recorder.statistics.save(folder), folder)

    def newest(self) -> Shown | None:
        """Return the newest frame of the stream; say so if there is none."""
        if self.shown is None:
            self.say("there is no frame yet; start a camera or a video first")
        return self.shown

    def save_file(self, work: Callable[[], object], path: Path) -> None:
        """Write a file or folder in the worker's thread, and say where it is."""

        def write() -> None:
            make_folder(path.parent)
            work()

        self.worker.submit(write, lambda _: self.say(f"saved: {path}"))

    def close(self) -> None:
        """Stop the worker and close the window."""
        self.closed = True
        self.root.after_cancel(self._next_poll)
        self.worker.close()
        self.root.destroy()

    def _report(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """Show an exception of a callback in the window, as Tk would print a traceback; close it on Ctrl-C."""
        if issubclass(kind, KeyboardInterrupt):
            self.close()
        else:
            self.complain(sentence(error))


def _now() -> str:
    return time.strftime("%Y%m%d-%H%M%S")
