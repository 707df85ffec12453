"""The window's pictures: one is open, the others of its folder are a key away."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tkinter import filedialog
from typing import TYPE_CHECKING

from mien.app.clipboard import paste_picture
from mien.drawing.faces import draw
from mien.errors import InputError, MienError
from mien.pixels import write_picture
from mien.recognizer import Recognizer
from mien.sources.paths import PICTURE_SUFFIXES, list_files
from mien.sources.pictures import read_picture
from mien.structures import Expression, Frame, ImageArray
from mien.targets import check_targets

if TYPE_CHECKING:
    from mien.app.window import Window

HINT = "Open a picture, a folder or a video, paste a picture, or drop files here.\n\nF1 opens the help."
SUFFIXES = PICTURE_SUFFIXES | {".gif"}
MAX_NAMED = 8  # expressions in the status line


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """A picture with its expressions.

    Args:
        name: File name.
        frame: The picture.
        expressions: Its expressions, from left to right.
        drawn: The picture with its faces boxed and named, RGB uint8 (H, W, 3).
        recognizer: The recogniser that gave the expressions.
    """

    name: str
    frame: Frame
    expressions: list[Expression]
    drawn: ImageArray
    recognizer: Recognizer


class PictureMode:
    """Opens, shows and saves pictures; a `Mode`."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.files: list[Path] = []  # pictures that the arrow keys lead through
        self.still: Still | None = None
        self._wanted: Path | None = None  # the newest picture asked for; older requests are dropped

    def open(self) -> None:
        self.window.layout.show("picture_actions")
        self.show()
        if self.still is not None:
            self.window.say(self.status())
            self.recognizer_changed()

    def close(self) -> None:
        self.window.layout.show("picture_actions", False)

    def show(self) -> None:
        still = self.still
        self.window.layout.show("side", self.window.layout.get("probabilities"))
        if still is None:
            self.window.view.show_text(HINT)
            self.window.panel.show([])
        else:
            self.window.view.show(still.drawn)
            self.window.worker.submit(self.charts, partial(self._show_charts, still))

    def charts(self) -> list[ImageArray]:
        if self.still is None:
            return []
        return [self.window.charts.face(self.still.frame, expression) for expression in self.still.expressions]

    def save(self) -> None:
        still = self.still
        if still is None:
            self.window.complain("there is no picture to save; open one first")
            return
        name = filedialog.asksaveasfilename(
            parent=self.window.root, initialdir=self.window.folder or None,
            initialfile=f"{Path(still.name).stem}-seen.png", defaultextension=".png",
            filetypes=[("PNG", "*.png"), ("JPEG", "*.jpg"), ("All files", "*")],
        )  # fmt: skip
        if name:
            self.window.save_file(partial(_write, Path(name), still), Path(name))

    def save_faces(self) -> None:
        if self.still is None:
            self.window.complain("there is no picture yet; open one first")
        else:
            folder = self.window.saves / Path(self.still.name).stem
            self.window.save_faces_of(self.still.frame, self.still.expressions, folder)

    def status(self) -> str:
        if self.still is None:
            return "no picture is open"
        expressions = self.still.expressions
        named = ", ".join(expression.label for expression in expressions[:MAX_NAMED])
        more = " …" if len(expressions) > MAX_NAMED else ""
        faces = f"{len(expressions)} face{'s' * (len(expressions) > 1)}: {named}{more}"
        return f"{self.still.name}: {faces if expressions else 'no face found'}{self.window.choices.note}"

    def recognizer_changed(self) -> None:
        still, live = self.still, self.window.worker.live
        if still is not None and live is not None and still.recognizer is not live.recognizer:
            self.window.worker.submit(
                partial(self._recognize_now, still.frame, still.name), partial(self._recognized_again, still)
            )

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Open the first of the pictures that paths name; the others are a key away."""
        self.window.worker.submit(partial(find_pictures, paths), self._found)

    def paste(self) -> None:
        """Open the picture on the clipboard, or the file whose path is there."""
        try:
            pasted = paste_picture(self.window.root)
        except MienError as error:
            self.window.complain(str(error))
            return
        if isinstance(pasted, Path):
            self.window.open(pasted)
            return
        self.window.turn_to("picture")
        self.files, self._wanted = [], None
        frame = Frame(pasted, time=0.0, index=0, source="pasted.png")
        self.window.worker.submit(lambda: self._recognize_now(frame, "pasted.png"), self._opened)

    def turn(self, steps: int) -> None:
        """Open the picture so many steps further in the folder."""
        if len(self.files) > 1 and self._wanted in self.files:
            self._read(self.files[(self.files.index(self._wanted) + steps) % len(self.files)])

    def _found(self, found: tuple[list[Path], Path]) -> None:
        self.files, first = found
        self.window.folder = str(first.parent)
        self._read(first)

    def _read(self, path: Path) -> None:
        self._wanted = path
        self.window.say(f"opening {path.name} …")
        self.window.worker.submit(lambda: self._read_now(path) if self._wanted == path else None, self._opened)

    def _read_now(self, path: Path) -> Still:
        return self._recognize_now(Frame(read_picture(path), time=0.0, index=0, source=str(path)), path.name)

    def _recognize_now(self, frame: Frame, name: str) -> Still:
        """Recognise a picture, in the worker's thread."""
        if self.window.worker.live is None:
            raise InputError("no model is ready; choose one")
        recognizer = self.window.worker.live.recognizer
        expressions = recognizer.recognize(frame.image)
        return Still(name, frame, expressions, draw(frame.image, expressions), recognizer)

    def _opened(self, still: Still | None) -> None:
        if still is None:  # another picture was asked for meanwhile
            return
        if self.still is None or self.still.frame is not still.frame:
            self.window.view.show_whole()
        self.still = still
        place = f"{self.files.index(self._wanted) + 1} of {len(self.files)}" if self._wanted in self.files else ""
        self.window.layout.set("place", place)
        if self.window.mode is self:
            self.window.say(self.status())
            self.show()
        self.recognizer_changed()  # while the picture was read

    def _recognized_again(self, before: Still, still: Still) -> None:
        if self.still is before:  # no other picture was opened meanwhile
            self._opened(still)

    def _show_charts(self, still: Still, charts: list[ImageArray]) -> None:
        if self.window.mode is self and self.still is still:
            self.window.panel.show(charts)


def _write(path: Path, still: Still) -> None:
    check_targets([still.frame.source], pictures=[path])
    write_picture(path, still.drawn)


def find_pictures(paths: Sequence[Path]) -> tuple[list[Path], Path]:
    """Return the pictures that paths name, and which to open first.

    One path means a folder's pictures, or a picture and the others of its folder; several mean the pictures among them.

    Raises:
        InputError: There is no such file, or no picture in the folder or among the paths.
    """
    if len(paths) > 1:
        files = [path for path in paths if path.suffix.lower() in SUFFIXES]
        if not files:
            raise InputError("no pictures among these files; drop pictures, one folder, or one video")
        return files, files[0]
    (path,) = paths
    if os.path.isdir(path):
        files = [file for file in list_files(path) if file.suffix.lower() in SUFFIXES]
        if not files:
            raise InputError(f"no pictures in folder '{path}'; choose another")
        return files, files[0]
    (path,) = list_files(path)
    try:
        beside = sorted(file for file in path.parent.iterdir() if file.suffix.lower() in SUFFIXES)
    except OSError:
        beside = []
    return beside, path
