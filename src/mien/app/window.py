"""The desktop window: pictures and cameras, their faces, and what these show."""

from __future__ import annotations

import re
import time
import tkinter as tk
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from tkinter import filedialog, messagebox
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import platformdirs
import pygubu

from mien.app.base import StreamWindow
from mien.app.clipboard import paste_picture
from mien.app.converting import Answers, ConvertDialog, convert_keras, examine
from mien.app.look import COLOURS, open_root, scale_of, set_theme
from mien.app.panel import Panel
from mien.app.settings import Settings, load_settings, save_settings, settings_path
from mien.app.worker import Shown, fit
from mien.drawing.charts import bar_chart, timeline_chart
from mien.drawing.faces import draw
from mien.drawing.text import draw_text
from mien.errors import InputError, MienError, OutputError
from mien.models.store import Model, list_models
from mien.pixels import write_picture
from mien.recognizer import Recognizer
from mien.sources.camera import Camera
from mien.sources.devices import CameraInfo, list_cameras
from mien.sources.paths import PICTURE_SUFFIXES, VIDEO_SUFFIXES, list_files
from mien.sources.pictures import read_picture
from mien.structures import Expression, Frame, ImageArray
from mien.vision.crop import crop_faces
from mien.vision.detect import DETECTORS, load_detector

if TYPE_CHECKING:
    from mien.convert.keras import Conversion, Findings

HALF_LIFE = 0.3  # seconds, of the smoothing of a camera's probabilities
REDRAW_MS = 120  # after the last change of the window's size
CHARTS_EVERY = 0.25  # seconds, while a camera runs
CHART_WIDTH, BARS_HEIGHT, TIMELINE_HEIGHT, FACE_SIDE = 270, 168, 152, 48  # pixels of a standard screen
SIZE, SMALLEST = (1024, 700), (860, 520)
PICTURE_HINT = "Open a picture or a folder of them, or paste one.\n\nF1 lists the keys."
CAMERA_HINT = "Choose a camera, type an address or open a video file, then press Start.\n\nF1 lists the keys."
EDITING = ("<Control-v>", "<Control-b>", "<Control-d>", "<Control-f>", "<Control-t>", "<Prior>", "<Next>")
KEYS = {
    "Ctrl+1, Ctrl+2": "pictures, camera",
    "Ctrl+O": "open a picture",
    "Ctrl+V": "paste a picture, or the path of one",
    "Page Up, Page Down": "previous, next picture of the folder",
    "Ctrl+B": "show or hide the probabilities",
    "Ctrl+R": "start or stop the camera",
    "Ctrl+S": "save the picture, or a snapshot of the camera",
    "Ctrl+F": "save the faces",
    "Ctrl+T": "save the statistics",
    "Ctrl+D": "dark or light",
    "F5": "look for models and cameras again",
    "Ctrl+Q": "quit",
}


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """A picture that was looked at, as the window shows it.

    Args:
        name: Of its file.
        frame: The picture.
        expressions: What was seen in it.
        drawn: The picture with that drawn into it, RGB uint8 (H, W, 3).
    """

    name: str
    frame: Frame
    expressions: list[Expression]
    drawn: ImageArray


class Window(StreamWindow):
    """The window of `mien app`. Its layout is in mien.ui, whose widgets and callbacks have the names used here.

    Args:
        root: The program's first window.
        settings: The choices of the last time.
        saves: Folder for snapshots, faces and statistics.
        models_dir: Where user models lie; the default directory when None.
        on_close: Called with the choices that are to be remembered, when the window is closed.
    """

    def __init__(
        self,
        root: tk.Tk,
        settings: Settings,
        *,
        saves: Path,
        models_dir: Path | None = None,
        on_close: Callable[[Settings], None] = lambda _: None,
    ) -> None:
        super().__init__(root, saves=saves, half_life=HALF_LIFE)
        self.models_dir, self.on_close = models_dir, on_close
        self.builder = pygubu.Builder()
        self.builder.add_from_string(resources.files("mien.app").joinpath("mien.ui").read_text(encoding="utf-8"))
        self.builder.get_object("main", root)
        self.builder.connect_callbacks(self)
        self.panel = Panel(self.builder.get_object("panel"), self.builder.get_object("scroll"))
        self.view, self.status = self.builder.get_object("view"), self.builder.get_object("status")
        self.folder = settings.folder  # where the last picture was
        self.files: list[Path] = []  # the pictures of that folder
        self.still: Still | None = None
        self.streaming = False
        self._models: dict[str, tuple[str, str]] = {}  # what the list says -> model and label set
        self._cameras: dict[str, int | str] = {}  # likewise -> what to open
        self._keras: list[Path] = []  # the user's models that are to be converted
        self.dialog: ConvertDialog | None = None
        self._wanted: Path | None = None  # the newest picture asked for; older ones are passed over
        self._opening = False
        self._charts_at = 0.0
        self._redraw = ""
        for name in ("mode", "model", "detector", "camera", "dark", "probabilities"):
            self.builder.get_variable(name).set(getattr(settings, name))
        self.dark = settings.dark
        self._lay_out(settings.geometry)
        self.change_theme()
        self.change_mode()
        self._widget("detectors").configure(values=list(DETECTORS))
        self.worker.submit(self._find, self._begin)
        self.poll()

    # What is chosen

    def settings(self) -> Settings:
        """Return the choices that are to be remembered."""
        names = ("mode", "model", "detector", "camera", "dark", "probabilities")
        choices = {name: self.builder.get_variable(name).get() for name in names}
        choices["camera"] = re.sub("//[^/]*@", "//", choices["camera"])  # without the password
        return Settings(folder=self.folder, geometry=self.root.geometry(), **choices)

    def choose(self, _event: object = None) -> None:
        """Take the model and the detector that the lists say."""
        chosen = self._get("model")
        model, labels = self._models.get(chosen, (chosen, ""))
        detector = self._get("detector")
        self.say(f"loading {chosen} …")
        self.worker.choose(
            lambda: Recognizer(load_detector(detector), model, labels=labels or None, models_dir=self.models_dir),
            then=self._chosen,
        )

    def _chosen(self, recognizer: Recognizer) -> None:
        self.say(f"{self._get('model')} names {', '.join(recognizer.head.labels)}")
        if self.still is not None:
            self._look(self.still.frame, self.still.name)

    def refresh(self) -> None:
        """Look for models and cameras again."""
        self.worker.submit(self._find, self._refreshed)

    def _find(self) -> tuple[list[Model], list[CameraInfo]]:
        return list_models(self.models_dir), list_cameras()

    def _refreshed(self, found: tuple[list[Model], list[CameraInfo]]) -> None:
        models, cameras = found
        usable = [(model.name, model.spec) for model in models if model.spec is not None]
        self._models = {name: (name, "") for name, _ in usable}
        for name, spec in usable:
            self._models |= {f"{name}, {labels}": (name, labels) for labels in spec.names[1:]}
        self._cameras = {f"{camera.index}: {camera.name}": camera.index for camera in cameras}
        self._widget("models").configure(values=list(self._models))
        self._widget("cameras").configure(values=list(self._cameras))
        if not self._get("camera") and self._cameras:
            self._set("camera", next(iter(self._cameras)))
        self._offer([model.path for model in models if model.format == "keras"])
        if problem := next((model.problem for model in models if model.problem and model.format == "onnx"), ""):
            self.complain(problem)
        else:
            self.say(f"models: {'; '.join(self._models)} – cameras: {'; '.join(self._cameras) or 'none found'}")

    def _begin(self, found: tuple[list[Model], list[CameraInfo]]) -> None:
        self._refreshed(found)
        if self._models and self._get("model") not in self._models:  # it is gone since the last time
            self._set("model", next(iter(self._models)))
        self.choose()

    def change_theme(self) -> None:
        """Make the window dark or light."""
        self.dark = self._get("dark")
        set_theme(self.root, dark=self.dark)
        self._widget("panel").configure(background=COLOURS[self.dark].ground)
        self.redraw()

    def change_mode(self) -> None:
        """Turn to pictures or to the camera; a camera that runs is stopped."""
        pictures = self._get("mode") == "picture"
        if pictures and self.streaming:
            self.start_or_stop()
        self._show_widget("picture_actions", pictures)
        self._show_widget("camera_actions", not pictures)
        self.change_probabilities()

    def change_probabilities(self) -> None:
        """Show or hide the bars of each face; a camera's charts always show."""
        self._show_widget("side", self._get("mode") == "camera" or self._get("probabilities"))
        self.redraw()

    # Keras models

    def convert(self) -> None:
        """Ask about the Keras model that is to be converted; first which one, where there are several."""
        if len(self._keras) == 1:
            self._examine(self._keras[0])
            return
        menu, button = tk.Menu(self.root, tearoff=False), self._widget("convert")
        for path in self._keras:
            menu.add_command(label=path.name, command=partial(self._examine, path))
        menu.tk_popup(button.winfo_rootx(), button.winfo_rooty())

    def _offer(self, files: list[Path]) -> None:
        """Say which Keras models there are, and offer to convert them."""
        self._keras = files
        names, several = ", ".join(path.name for path in files), len(files) > 1
        sentence = (
            f"Keras models, not converted yet: {names}" if several else f"{names} is a Keras model, not converted yet"
        )
        self._set("offered", sentence)
        self._widget("convert").configure(text="Convert…" if several else f"Convert {''.join(p.stem for p in files)}…")
        self._show_widget("offer", bool(files))

    def _examine(self, path: Path) -> None:
        self.say(f"looking into {path.name} …")
        self.worker.submit(partial(examine, path), partial(self._ask_about, path))

    def _ask_about(self, path: Path, found: tuple[Findings, list[str]]) -> None:
        if self.dialog is not None:
            self.dialog.close()
        self.say(f"say what {path.name} was trained with")
        findings, pixels = found
        self.dialog = ConvertDialog(self.root, path, findings, pixels=pixels, convert=partial(self._convert, path))

    def _convert(self, path: Path, answers: Answers) -> None:
        self.say(f"converting {path.name} …")
        self.worker.submit(partial(convert_keras, path, answers, self.models_dir), self._converted)

    def _converted(self, conversion: Conversion) -> None:
        if self.dialog is not None:
            self.dialog.close()
        self._set("model", conversion.spec.name)
        self.worker.submit(self._find, self._begin)

    # Pictures

    def open_picture(self) -> None:
        """Ask for a picture and look at it."""
        patterns = " ".join(f"*{suffix}" for suffix in sorted(PICTURE_SUFFIXES | {".gif"}))
        kinds = [("Pictures", patterns), ("All files", "*")]
        name = filedialog.askopenfilename(parent=self.root, initialdir=self.folder or None, filetypes=kinds)
        if name:
            self.open(Path(name))

    def open_folder(self) -> None:
        """Ask for a folder and look at its first picture."""
        name = filedialog.askdirectory(parent=self.root, initialdir=self.folder or None, mustexist=True)
        if name:
            self.open(Path(name))

    def open(self, path: Path) -> None:
        """Look at a picture, or at the first one of a folder."""
        self._set("mode", "picture")
        self.change_mode()
        self.worker.submit(partial(pictures_around, path), self._found)

    def paste(self) -> None:
        """Look at the picture on the clipboard, or at the one whose path is there."""
        try:
            pasted = paste_picture(self.root)
        except MienError as error:
            self.complain(str(error))
            return
        if isinstance(pasted, Path):
            self.open(pasted)
        else:
            self.files, self._wanted = [], None
            self._look(Frame(pasted, time=0.0, index=0, source="pasted.png"), "pasted.png")

    def previous_picture(self) -> None:
        """Look at the folder's previous picture."""
        self._turn(-1)

    def next_picture(self) -> None:
        """Look at the folder's next picture."""
        self._turn(1)

    def save_picture(self) -> None:
        """Ask where to, and save the picture with its faces boxed and named; or a snapshot of the camera."""
        if self._get("mode") == "camera":
            self.save_snapshot()
        elif self.still is None:
            self.complain("there is no picture to save; open one first")
        else:
            still = self.still
            name = filedialog.asksaveasfilename(
                parent=self.root, initialdir=self.folder or None, initialfile=f"{Path(still.name).stem}-seen.png",
                filetypes=[("PNG", "*.png"), ("JPEG", "*.jpg"), ("All files", "*")], defaultextension=".png",
            )  # fmt: skip
            if name:
                self.save(lambda: write_picture(name, still.drawn), Path(name))

    def _found(self, found: tuple[list[Path], Path]) -> None:
        self.files, first = found
        self.folder = str(first.parent)
        self._look_at(first)

    def _turn(self, by: int) -> None:
        if self._get("mode") == "picture" and len(self.files) > 1 and self._wanted in self.files:
            self._look_at(self.files[(self.files.index(self._wanted) + by) % len(self.files)])

    def _look_at(self, path: Path) -> None:
        self._wanted = path
        self.say(f"looking at {path.name} …")
        self.worker.submit(lambda: self._read(path) if self._wanted == path else None, self._show_still)

    def _read(self, path: Path) -> Still:
        return self._seen(Frame(read_picture(path), time=0.0, index=0, source=str(path)), path.name)

    def _look(self, frame: Frame, name: str) -> None:
        self.worker.submit(lambda: self._seen(frame, name), self._show_still)

    def _seen(self, frame: Frame, name: str) -> Still:
        if self.worker.live is None:
            raise InputError("no model is ready; choose one")
        expressions = self.worker.live.recognizer.recognize(frame.image)
        return Still(name, frame, expressions, draw(frame.image, expressions))

    def _show_still(self, still: Still | None) -> None:
        if still is None:  # passed over
            return
        self.still = still
        place = f"{self.files.index(self._wanted) + 1} of {len(self.files)}" if self._wanted in self.files else ""
        self._set("place", place)
        n = len(still.expressions)
        names = ", ".join(expression.label for expression in still.expressions[:8]) + (" …" if n > 8 else "")
        self.say(f"{still.name}: " + (f"{n} face{'s' * (n > 1)}: {names}" if n else "no face found"))
        self.redraw()

    # The camera

    def start_or_stop(self) -> None:
        """Open what the camera's field says, or close it."""
        if self.streaming:
            self.worker.stop()
            self.ended()
            self.say("the camera is closed")
            return
        text = self._get("camera").strip()
        if not text:
            self.complain("no camera is chosen; choose or type one, or open a video file")
            return
        self._set("mode", "camera")
        self.change_mode()
        self.streaming = True
        self._widget("start").configure(text="Stop")
        self._opening = True
        self.say(f"opening {text} …")
        source = self._cameras.get(text, text)
        self.worker.start(lambda: Camera(source, as_camera=True))

    def open_video(self) -> None:
        """Ask for a video file and play it as a camera."""
        patterns = " ".join(f"*{suffix}" for suffix in sorted(VIDEO_SUFFIXES))
        kinds = [("Videos", patterns), ("All files", "*")]
        name = filedialog.askopenfilename(parent=self.root, initialdir=self.folder or None, filetypes=kinds)
        if name:
            self._set("camera", name)
            if self.streaming:
                self.start_or_stop()
            self.start_or_stop()

    def save_faces(self) -> None:
        """Save each face of the picture, or of the newest frame, as a picture of its own."""
        if self._get("mode") == "camera":
            super().save_faces()
        elif self.still is not None:
            self.save_faces_of(self.still.frame, self.still.expressions, self.saves / Path(self.still.name).stem)

    def ended(self) -> None:
        self.streaming = self._opening = False
        self._widget("start").configure(text="Start")
        self._set("speed", "")
        self.redraw()

    def show(self, shown: Shown) -> None:
        if not self.streaming:  # a frame that was on its way when it was stopped
            return
        self.show_picture(shown.view)
        if self._opening:
            self._opening = False
            self.say(f"live: {shown.sight.frame.source}")
        self._set("speed", f"{shown.rate:.0f} frames/s, {1000 * shown.latency:.0f} ms")
        if time.monotonic() - self._charts_at > CHARTS_EVERY:
            self._charts_at = time.monotonic()
            self.worker.submit(self._stream_charts, self.panel.show)

    # What is drawn

    def redraw(self) -> None:
        """Draw picture and charts anew, as large as the window is now."""
        if self._get("mode") == "picture":
            if self.still is None:
                self.show_text(PICTURE_HINT)
                self.panel.show([])
            else:
                self.worker.submit(partial(self._still_view, self.still), self._show_still_view)
        elif self.shown is None:
            self.show_text(CAMERA_HINT)
            self.panel.show([])
        elif not self.streaming:
            self.worker.submit(partial(fit, self.shown.drawn, self.worker.view_size), self.show_picture)
            self.worker.submit(self._stream_charts, self.panel.show)

    def _still_view(self, still: Still) -> tuple[ImageArray, list[ImageArray]]:
        from_left = sorted(still.expressions, key=lambda expression: expression.face.box.x1)
        charts = [self._face_chart(still.frame, expression) for expression in from_left]
        return fit(still.drawn, self.worker.view_size), charts

    def _show_still_view(self, view: tuple[ImageArray, list[ImageArray]]) -> None:
        if self._get("mode") == "picture":
            self.show_picture(view[0])
            self.panel.show(view[1])

    def _stream_charts(self) -> list[ImageArray]:
        """Draw the bars of the largest face, how often each expression was seen, and when; in the worker's thread."""
        recorder, shown = self.worker.recorder, self.shown
        if recorder is None or shown is None:
            return []
        charts = []
        if shown.sight.expressions:
            largest = max(shown.sight.expressions, key=lambda e: e.face.box.area)
            charts.append(self._face_chart(shown.sight.frame, largest))
        statistics = recorder.statistics
        charts.append(self._bars(statistics.shares(), "seen so far"))
        line = statistics.timeline()
        areas = timeline_chart(
            line.times,
            line.probabilities,
            statistics.labels,
            size=self._scaled(CHART_WIDTH, TIMELINE_HEIGHT),
            dark=self.dark,
            scale=self.scale,
        )
        return [*charts, areas]

    def _face_chart(self, frame: Frame, expression: Expression) -> ImageArray:
        """Draw a face, what it shows, and its probabilities."""
        bars = self._bars(expression.prediction.as_dict(), "")
        side = round(FACE_SIDE * self.scale)
        (crop,) = crop_faces(frame.image, [expression.face])
        head = np.empty((side, bars.shape[1], 3), np.uint8)
        head[:] = bars[0, 0]
        head[:, :side] = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        letter = side // 4
        draw_text(head, expression.label, letter, x=side + letter, base=(side + letter) // 2, ink=self._ink())
        return np.vstack([head, bars])

    def _ink(self) -> tuple[int, int, int]:
        red, green, blue = bytes.fromhex(COLOURS[self.dark].text[1:])
        return red, green, blue

    def _bars(self, shares: dict[str, float], title: str) -> ImageArray:
        size = self._scaled(CHART_WIDTH, BARS_HEIGHT)
        return bar_chart(shares, size=size, dark=self.dark, title=title, scale=self.scale)

    def _scaled(self, width: int, height: int) -> tuple[int, int]:
        return round(width * self.scale), round(height * self.scale)

    # The machinery

    def close(self) -> None:
        """Remember the choices, end what runs, then the window."""
        with suppress(OutputError):
            self.on_close(self.settings())
        super().close()

    def show_keys(self) -> None:
        """List the keys."""
        text = "\n".join(f"{keys}: {what}" for keys, what in KEYS.items())
        messagebox.showinfo("Keys", text, parent=self.root)

    def _lay_out(self, geometry: str) -> None:
        self.scale = scale_of(self.root)
        self.root.geometry(geometry or "{}x{}".format(*self._scaled(*SIZE)))
        self.root.minsize(*self._scaled(*SMALLEST))
        view = self._widget("view_frame")
        view.grid_propagate(False)  # its size follows the window's, not the picture's
        view.bind("<Configure>", self._resized)
        self._widget("panel").configure(width=self._scaled(CHART_WIDTH, 0)[0])
        for keys, act in self._keys().items():
            self.root.bind(keys, partial(self._pressed, act, edits=keys in EDITING))
        self._widget("cameras").bind("<Return>", lambda _: self.start_or_stop())

    def _keys(self) -> dict[str, Callable[[], None]]:
        leaf = {"<Prior>": self.previous_picture, "<Next>": self.next_picture}
        return leaf | {
            "<Control-Key-1>": lambda: self._turn_to("picture"),
            "<Control-Key-2>": lambda: self._turn_to("camera"),
            "<Control-o>": self.open_picture,
            "<Control-v>": self.paste,
            "<Control-b>": lambda: self._switch("probabilities", self.change_probabilities),
            "<Control-r>": self.start_or_stop,
            "<Control-s>": self.save_picture,
            "<Control-f>": self.save_faces,
            "<Control-t>": self.save_statistics,
            "<Control-d>": lambda: self._switch("dark", self.change_theme),
            "<F1>": self.show_keys,
            "<F5>": self.refresh,
            "<Control-q>": self.close,
        }

    def _pressed(self, act: Callable[[], None], event: tk.Event[tk.Misc], *, edits: bool) -> None:
        if not (edits and event.widget is self._widget("cameras")):  # there, these keys edit the text
            act()

    def _turn_to(self, mode: str) -> None:
        self._set("mode", mode)
        self.change_mode()

    def _switch(self, name: str, then: Callable[[], None]) -> None:
        self._set(name, not self._get(name))
        then()

    def _resized(self, event: tk.Event[tk.Misc]) -> None:
        self.worker.view_size = (max(event.width - 2, 1), max(event.height - 2, 1))
        self._widget("status").configure(wraplength=max(self.root.winfo_width() - 220 * round(self.scale), 200))
        if self._redraw:
            self.root.after_cancel(self._redraw)
        self._redraw = self.root.after(REDRAW_MS, self.redraw)

    def _show_widget(self, name: str, shown: bool) -> None:
        widget = self._widget(name)
        if shown:
            widget.grid()
        else:
            widget.grid_remove()

    def _widget(self, name: str) -> Any:
        return self.builder.get_object(name)

    def _get(self, name: str) -> Any:
        return self.builder.get_variable(name).get()

    def _set(self, name: str, value: object) -> None:
        self.builder.get_variable(name).set(value)


def pictures_around(path: Path) -> tuple[list[Path], Path]:
    """Return the pictures of a folder, or of the folder that a picture lies in, and which to look at first.

    Raises:
        InputError: There is no such file, or no picture in the folder.
    """
    if path.is_dir():
        files = [file for file in list_files(path) if file.suffix.lower() in PICTURE_SUFFIXES | {".gif"}]
        if not files:
            raise InputError(f"no pictures in folder '{path}'; choose another")
        return files, files[0]
    (path,) = list_files(path)
    try:
        beside = sorted(file for file in path.parent.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES | {".gif"})
    except OSError:
        beside = []
    return beside, path


def run(source: Path | None = None, *, saves: Path | None = None, models_dir: Path | None = None) -> None:
    """Open the window; return when it is closed.

    Args:
        source: A picture or folder to open.
        saves: Folder for snapshots, faces and statistics; "mien" among the user's pictures when None.
        models_dir: Where user models lie; the default directory when None.

    Raises:
        InputError: There is no display to open a window on.
    """
    root, kept = open_root("mien"), settings_path()
    window = Window(
        root,
        load_settings(kept),
        saves=saves or platformdirs.user_pictures_path() / "mien",
        models_dir=models_dir,
        on_close=lambda settings: save_settings(settings, kept),
    )
    warnings.showwarning = lambda message, *_: window.worker.done.put(partial(window.complain, str(message)))
    if source is not None:
        window.open(source)
    root.mainloop()
