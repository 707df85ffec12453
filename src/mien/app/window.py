"""The desktop window: pictures and cameras, their faces, and the faces' expressions. See docs/decisions/0022."""

from __future__ import annotations

import os
import sys
import tkinter as tk
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from tkinter import filedialog

from mien.app.base import StreamWindow
from mien.app.camera_mode import CameraMode
from mien.app.charts import WIDTH, Charts
from mien.app.choices import Choices
from mien.app.converting import KerasModels
from mien.app.drop import accept_files
from mien.app.help import show_about, show_help
from mien.app.keys import bind_keys, build_menu
from mien.app.layout import Layout, Tooltip
from mien.app.look import COLOURS, open_root, scale_of, set_theme
from mien.app.meter import LevelMeter
from mien.app.mode import Mode
from mien.app.panel import Panel
from mien.app.picture_mode import SUFFIXES, PictureMode
from mien.app.settings import Settings, geometry_within, load_settings, save_settings, settings_path
from mien.app.viewport import ImageView
from mien.app.worker import Shown
from mien.app.yunet import DetectorBar
from mien.errors import InputError, OutputError
from mien.files import user_folder
from mien.models.store import Model, list_models
from mien.recognizer import Recognizer
from mien.sources.devices import CameraInfo, list_cameras
from mien.sources.frames import inspect
from mien.sources.paths import VIDEO_SUFFIXES
from mien.vision.smooth import HalfLifeSmoother

HALF_LIFE = 0.3  # seconds, of a camera's smoothed probabilities
SIZE, SMALLEST = (1024, 700), (1020, 520)  # pixels of a standard screen
TOOLTIPS = {
    "menu": "More commands, help, and about mien",
    "previous": "Previous picture (←)",
    "next": "Next picture (→)",
    "cameras": "A camera, the address of a stream (rtsp://…), or the path of a video",
    "find": "Find cameras and models again (F5)",
    "voice": "Recognise how the voice sounds, from the microphone or a video's sound track (Ctrl+M). "
    "No sound is stored",
    "statistics": "Save each expression's share of the time, as charts and JSON",
}


class Window(StreamWindow):
    """The window of `mien app`. Its layout is in mien.ui, by whose names widgets, variables and commands go.

    Args:
        root: The program's window.
        settings: The remembered choices.
        saves: Folder for snapshots, faces and statistics.
        models_dir: The user's models directory; the default one when None.
        on_close: Called with the choices to remember when the window is closed.
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
        super().__init__(root, saves=saves, smoother_for=lambda _: HalfLifeSmoother(HALF_LIFE))
        self.models_dir, self.on_close, self.folder = models_dir, on_close, settings.folder
        self.pictures, self.camera = PictureMode(self), CameraMode(self)
        self._modes: dict[str, Mode] = {"picture": self.pictures, "camera": self.camera}
        self.mode = self._modes.get(settings.mode, self.pictures)
        self.commands = self._commands()
        self.layout = Layout(root, {**self.commands, "choose": self.choose})
        self.view = ImageView(self.layout.widget("view"))
        self.status_label = self.layout.widget("status")
        self.panel = Panel(self.layout.widget("panel"), self.layout.widget("scroll"))
        self.layout.set("camera", settings.camera)
        self.layout.set("probabilities", settings.probabilities)
        self.layout.set("mode", "picture" if self.mode is self.pictures else "camera")
        self.choices = Choices(self.layout, settings)
        self.keras = KerasModels(self, self._use)
        self.detector_bar = DetectorBar(self, self._load)
        self.charts = Charts(scale_of(root))
        self.meter = LevelMeter(self.layout.widget("level"), self.layout.widget("hearing"), scale=self.charts.scale)
        self.worker.voice_bars = False  # they are in the panel
        self._arrange(settings.geometry)
        self.set_dark(settings.dark)
        self.mode.open()
        self.worker.submit(self._find, self._begin)
        self.poll()

    def settings(self) -> Settings:
        """Return the choices to remember."""
        return Settings(
            mode=self.layout.get("mode"),
            model=self.choices.remembered,
            labels=self.choices.labels if self.choices.model == self.choices.remembered else "",
            detector=self.choices.detector,
            camera=self.camera.remembered,
            folder=self.folder,
            probabilities=self.layout.get("probabilities"),
            dark=self.dark,
            geometry=self.root.geometry(),
        )

    def choose(self, _event: object = None) -> None:
        """Load the model and the detector that the lists show."""
        if self.choices.read() or self.worker.live is None:
            self._load()

    def refresh(self) -> None:
        """Find models and cameras again."""
        self.worker.submit(self._find, self._found)

    def turn_to(self, mode: str) -> None:
        """Turn to a mode, "picture" or "camera"."""
        self.layout.set("mode", mode)
        self.change_mode()

    def change_mode(self) -> None:
        """Show the mode whose button is pressed."""
        mode = self._modes[self.layout.get("mode")]
        if mode is not self.mode:
            self.mode.close()
            self.mode = mode
            self.layout.widget("view").focus_set()  # or a hidden text field keeps the keys
            mode.open()

    def set_dark(self, dark: bool) -> None:
        """Make the window dark or light."""
        self.dark = dark
        set_theme(self.root, dark=dark)
        self.layout.widget("panel").configure(background=COLOURS[dark].ground)
        self.charts = Charts(self.charts.scale, dark)
        self.meter.show(None, dark=dark)
        self.mode.show()

    def open_file(self) -> None:
        """Ask for a picture or a video, and open it."""
        pictures, videos = _patterns(SUFFIXES), _patterns(VIDEO_SUFFIXES)
        kinds = [("Pictures and videos", pictures + videos), ("Pictures", pictures), ("Videos", videos)]
        name = filedialog.askopenfilename(
            parent=self.root, initialdir=self.folder or None, filetypes=[*kinds, ("All files", "*")]
        )
        if name:
            self.open(Path(name))

    def open_folder(self) -> None:
        """Ask for a folder, and open its first picture."""
        name = filedialog.askdirectory(parent=self.root, initialdir=self.folder or None, mustexist=True)
        if name:
            self.open(Path(name))

    def open(self, *paths: Path) -> None:
        """Open a picture, a folder, several pictures, or a video, which plays as a camera does."""
        self.say(f"opening {paths[0].name} …")
        self.worker.submit(partial(_is_video, paths), partial(self._open, paths))

    def show(self, shown: Shown) -> None:
        self.camera.show_frame(shown)

    def ended(self) -> None:
        self.camera.ended()

    def voice_lost(self, reason: str) -> None:
        self.camera.voice_lost()
        super().voice_lost(reason)

    def close(self) -> None:
        """Remember the choices, stop the worker, and close the window."""
        with suppress(OutputError):
            self.on_close(self.settings())
        super().close()

    def _commands(self) -> dict[str, Callable[[], None]]:
        return {
            "change_mode": lambda: self.change_mode(),
            "change_probabilities": lambda: self.mode.show(),
            "close": self.close,
            "convert": lambda: self.keras.convert(),
            "download": lambda: self.detector_bar.start(),
            "next_picture": lambda: self._turn(1),
            "open_file": self.open_file,
            "open_folder": self.open_folder,
            "paste": self.pictures.paste,
            "previous_picture": lambda: self._turn(-1),
            "refresh": self.refresh,
            "save": lambda: self.mode.save(),
            "save_faces": lambda: self.mode.save_faces(),
            "save_statistics": self.save_statistics,
            "show_about": partial(show_about, self.root),
            "show_camera": lambda: self.turn_to("camera"),
            "show_help": partial(show_help, self.root),
            "show_pictures": lambda: self.turn_to("picture"),
            "start_or_stop": self.camera.start_or_stop,
            "toggle_dark": lambda: self.set_dark(not self.dark),
            "toggle_probabilities": self._toggle_probabilities,
            "toggle_voice": self.camera.toggle_voice,
            "zoom_in": lambda: self.view.zoom(1),
            "zoom_out": lambda: self.view.zoom(-1),
            "zoom_whole": lambda: self.view.show_whole(),
        }

    def _toggle_probabilities(self) -> None:
        self.layout.set("probabilities", not self.layout.get("probabilities"))
        self.mode.show()

    def _turn(self, steps: int) -> None:
        if self.mode is self.pictures:
            self.pictures.turn(steps)

    def _open(self, paths: Sequence[Path], moving: bool) -> None:
        if moving:
            self.camera.play(paths[0])
        else:
            self.turn_to("picture")
            self.pictures.open_paths(paths)

    def _find(self) -> tuple[list[Model], list[CameraInfo]]:
        """List models and cameras, in the worker's thread."""
        return list_models(self.models_dir), list_cameras()

    def _found(self, found: tuple[list[Model], list[CameraInfo]]) -> None:
        models, cameras = found
        self.choices.offer(models)
        self.camera.offer(cameras)
        self.keras.offer([model.path for model in models if model.format == "keras"])
        if problem := next((model.problem for model in models if model.problem and model.format == "onnx"), ""):
            self.complain(problem)
        else:
            names = "; ".join(camera.name for camera in cameras) or "none found"
            self.say(f"models: {'; '.join(self.choices.titles)} – cameras: {names}")

    def _begin(self, found: tuple[list[Model], list[CameraInfo]]) -> None:
        self._found(found)
        self._load()

    def _use(self, model: str) -> None:
        """Find and choose a model that was just added."""
        self.choices.model = model
        self.worker.submit(self._find, self._begin)

    def _load(self) -> None:
        self.say(f"loading {self.choices.model} …")
        self.worker.choose(self.choices.recognizer(self.models_dir), then=self._loaded)

    def _loaded(self, recognizer: Recognizer) -> None:
        self.say(self.choices.sentence)
        self.detector_bar.update(recognizer)
        self.mode.recognizer_changed()

    def _arrange(self, geometry: str) -> None:
        scale, screen = self.charts.scale, (self.root.winfo_screenwidth(), self.root.winfo_screenheight())
        size, smallest = ([min(round(a * scale), b) for a, b in zip(s, screen, strict=True)] for s in (SIZE, SMALLEST))
        root = self.root
        area = root.winfo_vrootx(), root.winfo_vrooty(), root.winfo_vrootwidth(), root.winfo_vrootheight()
        root.geometry(geometry_within(geometry, area, smallest) or "{}x{}".format(*size))
        self.root.minsize(*smallest)
        for name in ("picture_actions", "camera_actions", "offer"):
            self.layout.show(name, False)
        self.layout.widget("view_frame").grid_propagate(False)  # its size follows the window's, not the image's
        self.layout.widget("panel").configure(width=round(WIDTH * scale))
        self.wrap_status()
        self.layout.widget("cameras").bind("<Return>", lambda _: self.camera.start_or_stop())
        build_menu(self.layout.widget("menu"), self.commands)
        bind_keys(self.root, self.commands, self.layout.widget("cameras"))
        accept_files(self.layout.widget("main"), lambda paths: self.open(*paths))
        for name, text in TOOLTIPS.items():
            Tooltip(self.layout.widget(name), text)


def _is_video(paths: Sequence[Path]) -> bool:
    """Return whether there is one path, of a video; an unreadable file is left to the pictures to complain about."""
    try:
        return len(paths) == 1 and os.path.isfile(paths[0]) and inspect(paths[0]).kind == "video"
    except InputError:
        return False


def _patterns(suffixes: frozenset[str]) -> list[str]:
    """Return a file dialog's patterns of suffixes; on X11 these are case-sensitive."""
    both = suffixes if sys.platform == "win32" else suffixes | {suffix.upper() for suffix in suffixes}
    return [f"*{suffix}" for suffix in sorted(both)]


def run(source: Path | None = None, *, saves: Path | None = None, models_dir: Path | None = None) -> None:
    """Open the window; return when it is closed.

    Args:
        source: A picture, folder or video to open.
        saves: Folder for snapshots, faces and statistics; "mien" in the user's pictures folder when None.
        models_dir: The user's models directory; the default one when None.

    Raises:
        InputError: There is no display to open a window on.
    """
    root, kept = open_root("mien"), settings_path()
    window = Window(
        root,
        load_settings(kept),
        saves=saves or user_folder("pictures"),
        models_dir=models_dir,
        on_close=lambda settings: save_settings(settings, kept),
    )
    warnings.showwarning = lambda message, *_: window.worker.done.put(partial(window.complain, str(message)))
    if source is not None:
        window.open(source)
    root.mainloop()
