"""The window of `mien live`: a stream as large as the window, and keys."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tkinter import ttk

from mien.app.base import StreamWindow
from mien.app.look import open_root, scale_of, set_theme
from mien.app.meter import LevelMeter
from mien.app.viewport import ImageView
from mien.app.worker import Shown
from mien.app.yunet import Missing, YunetDownload, detector_used, failure_sentence, missing_yunet
from mien.errors import MienError
from mien.escape import visible
from mien.hearing import Hearing
from mien.recognizer import Recognizer
from mien.sinks.recorder import Recorder
from mien.sources.camera import Camera
from mien.structures import Provenance
from mien.vision.detect import detector_name
from mien.vision.smooth import Smoother

SIZE, SMALLEST = (800, 660), (320, 280)  # pixels of a standard screen
KEYS = "q quit · c save frame · f save faces · s statistics · m next model · v voice · space pause"


class Viewer(StreamWindow):
    """Shows a stream with its faces boxed and named; closes itself if the stream does not open.

    Args:
        open_camera: Opens the stream, in the worker's thread.
        models: Names of the models that m goes through, the first one first.
        make: Returns a recogniser for such a name, in the worker's thread.
        open_recorder: Opens the recorder's files.
        saves: Folder for frames, faces and statistics.
        smoother_for: Returns a new smoother for a recogniser, in the worker's thread.
        top: Number of labels per face.
        detector: Name of the chosen detector.
        open_voice: Opens what is heard beside the stream, in the worker's thread; v toggles it.
        voice: Whether it is heard from the start.
    """

    dark = True

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        models: Sequence[str],
        make: Callable[[str], Recognizer],
        open_recorder: Callable[[Provenance], Recorder],
        *,
        saves: Path,
        smoother_for: Callable[[Recognizer], Smoother],
        top: int,
        detector: str,
        open_voice: Callable[[], Hearing],
        voice: bool,
    ) -> None:
        super().__init__(open_root("mien live"), saves=saves, smoother_for=smoother_for)
        self.models, self.make = list(models), make
        self.failure: str | None = None  # why the stream did not open
        self.download = YunetDownload(self.root, show=self._show_download, ended=self._downloaded)
        self._chosen_detector, self._open_voice, self._listens = detector, open_voice, voice
        self.worker.top = top
        self._lay_out()
        if voice:
            self.worker.listen(open_voice)
        self.worker.choose(partial(make, self.models[0]), lambda _: self.say(self._keys()))
        self.worker.start(open_camera, open_recorder)
        self.poll()

    def run(self) -> None:
        """Show the stream until the window is closed.

        Raises:
            MienError: The stream could not be opened.
        """
        self.root.mainloop()
        self.worker.close(wait=None)  # a video may still be converted
        if self.failure is not None:
            raise MienError(self.failure)

    def show(self, shown: Shown) -> None:
        self.failure = None  # what failed before the first frame didn't stop the stream
        self.view.show(shown.drawn)
        names = f"{visible(self.models[0])} · {detector_used(self._used_detector())}"
        self.speed.configure(text=f"{names} · {shown.rate:.0f} frames/s · {1000 * shown.latency:.0f} ms")
        self.meter.show(shown.meter, dark=True)

    def ended(self) -> None:
        if self.failure is not None:
            self.close()

    def complain(self, sentence: str) -> None:
        super().complain(sentence)
        if self.shown is None:
            self.failure = self.failure or sentence

    def next_model(self) -> None:
        """Switch to the next model."""
        chosen = (self.models[1:] + self.models[:1])[0]
        self.worker.choose(partial(self.make, chosen), lambda _: self._turn_to(chosen))

    def toggle_voice(self) -> None:
        """Turn voice recognition on or off; off releases the microphone."""
        self._listens = not self._listens
        self.worker.listen(self._open_voice if self._listens else None)
        self.say("voice on" if self._listens else "voice off; press v to hear it again")

    def voice_lost(self, reason: str) -> None:
        self._listens = False
        self.say(f"no voice: {reason}")

    def pause(self) -> None:
        """Pause, or resume."""
        self.worker.paused = not self.worker.paused
        self.say("paused; press space to resume" if self.worker.paused else self._keys())

    def download_yunet(self) -> None:
        """Download YuNet where it is missing; it then finds the faces."""
        if self._misses_yunet():
            self.download.start()

    def _used_detector(self) -> str:
        live = self.worker.live
        return "" if live is None else detector_name(live.recognizer.detector)

    def _misses_yunet(self) -> bool:
        return missing_yunet(self._chosen_detector, self._used_detector()) == Missing()

    def _keys(self) -> str:
        return f"{KEYS} · d download YuNet, a better detector" if self._misses_yunet() else KEYS

    def _turn_to(self, model: str) -> None:
        self.models = [model, *(other for other in self.models if other != model)]
        self.say(f"{model}; statistics were reset")

    def _show_download(self, share: float | None) -> None:
        self.say("downloading YuNet …" if share is None else f"downloading YuNet … {share:.0%}")

    def _downloaded(self, failure: str) -> None:
        if failure:
            super().complain(failure_sentence(failure))  # the stream goes on
        else:
            self.worker.choose(partial(self.make, self.models[0]), lambda _: self.say(self._keys()))

    def _lay_out(self) -> None:
        root, scale = self.root, scale_of(self.root)
        set_theme(root, dark=True)
        root.geometry("{}x{}".format(*(round(side * scale) for side in SIZE)))
        root.minsize(*(round(side * scale) for side in SMALLEST))
        frame = ttk.Frame(root)
        frame.grid(sticky="nsew")
        frame.grid_propagate(False)
        frame.columnconfigure(0, weight=1)
        frame.rowconfigure(0, weight=1)
        label = ttk.Label(frame, anchor="center", text="Opening …")
        label.grid(row=0, column=0, columnspan=4, sticky="nsew")
        self.view = ImageView(label)
        self.status_label = ttk.Label(frame)
        self.status_label.grid(row=1, column=0, sticky="ew", padx="6p", pady="3p")
        self.wrap_status()
        level, words = tk.Canvas(frame), ttk.Label(frame)
        level.grid(row=1, column=1)
        words.grid(row=1, column=2, padx="4p")
        self.meter = LevelMeter(level, words, scale=scale)
        self.meter.show(None, dark=True)
        self.speed = ttk.Label(frame, padding="6p 3p")
        self.speed.grid(row=1, column=3)
        acts = {
            "q": self.close, "c": self.save_snapshot, "f": self.save_stream_faces, "s": self.save_statistics,
            "m": self.next_model, "d": self.download_yunet, "v": self.toggle_voice, "space": self.pause,
            "Escape": self.close, "0": self.view.show_whole, "plus": partial(self.view.zoom, 1),
            "minus": partial(self.view.zoom, -1),
        }  # fmt: skip
        for key, act in acts.items():
            root.bind(f"<Key-{key}>", lambda _, act=act: act())  # type: ignore[misc]
