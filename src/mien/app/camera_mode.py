"""The window's camera: a camera, an address, or a video that plays as one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mien.app.worker import Shown
from mien.hearing import Hearing, open_hearing
from mien.models.voice import VoiceClassifier, load_voice
from mien.sources.address import parse_source, without_credentials
from mien.sources.camera import Camera
from mien.sources.devices import CameraInfo
from mien.structures import ImageArray
from mien.voice.listener import Listener

if TYPE_CHECKING:
    from mien.app.window import Window

HINT = (
    "Choose a camera or type the address of a stream, then press Start.\nA video file starts by itself.\n\n"
    "F1 opens the help."
)
STATISTICS_SECONDS = 0.25  # between two drawings of the statistics while a camera runs


class CameraMode:
    """Starts, shows and stops a camera; a `Mode`."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.streaming = False
        self.listening = False  # whether the voice is heard; never from the start
        self._sound: Path | None = None  # the video whose sound is heard; None for the microphone
        self._voice_model: VoiceClassifier | None = None  # loaded on first use
        self._opening = ""  # the source, until its first frame is there
        self._cameras: dict[str, int] = {}  # title in the list -> index
        self._statistics: list[ImageArray] = []
        self._statistics_at = 0.0

    def open(self) -> None:
        self.window.layout.show("camera_actions")
        self.window.layout.show("side")
        self.window.say(self.status())
        self.show()

    def close(self) -> None:
        if self.streaming:
            self.start_or_stop()
        self.window.layout.show("camera_actions", False)

    def show(self) -> None:
        shown = self.window.shown
        if shown is None or self._opening:
            self.window.view.show_text(f"Opening {self._opening} …" if self._opening else HINT)
            self.window.panel.show([])
            return
        self.window.view.show(shown.drawn)
        self._draw_statistics()
        self.window.panel.show(self.charts())

    def charts(self) -> list[ImageArray]:
        shown = self.window.shown
        if shown is None:
            return []
        largest = max(shown.result.expressions, key=lambda expression: expression.face.box.area, default=None)
        face = [] if largest is None else [self.window.charts.face(shown.result.frame, largest)]
        return [*face, *self._voice_chart(shown), *self._statistics]

    def save(self) -> None:
        self.window.save_snapshot()

    def save_faces(self) -> None:
        self.window.save_stream_faces()

    def status(self) -> str:
        if self._opening:
            return f"opening {self._opening} …"
        if self.window.shown is not None and self.streaming:
            return f"live: {self.window.shown.result.frame.source}"
        return "no camera is running"

    def recognizer_changed(self) -> None:
        if self.window.shown is not None:
            self.window.say(f"{self.window.choices.sentence}; statistics were reset")
            self.show()

    def offer(self, cameras: Sequence[CameraInfo]) -> None:
        """List the cameras of this machine; choose the first if the field is empty."""
        self._cameras = {f"{camera.index}: {camera.name}": camera.index for camera in cameras}
        self.window.layout.widget("cameras").configure(values=list(self._cameras))
        if not self.window.layout.get("camera") and self._cameras:
            self.window.layout.set("camera", next(iter(self._cameras)))

    @property
    def remembered(self) -> str:
        """The text of the camera's field, without a password."""
        return without_credentials(self.window.layout.get("camera"))

    def play(self, path: Path) -> None:
        """Play a video file as a camera."""
        if self.streaming:
            self.start_or_stop()
        self.window.folder = str(path.parent)
        self.window.layout.set("camera", str(path))
        self.start_or_stop()

    def start_or_stop(self) -> None:
        """Start the camera, address or file in the field, or stop it."""
        if self.streaming:
            self.window.worker.stop()
            self.ended()
            self.window.say("stopped")
            return
        text = self.window.layout.get("camera").strip()
        if not text:
            self.window.turn_to("camera")
            self.window.complain("no camera is chosen; choose or type one, or open a video file")
            return
        self.streaming = True
        self._opening = self.remembered if text in self._cameras or "://" in text else Path(text).name
        self.window.turn_to("camera")
        self.window.layout.widget("start").configure(text="Stop")
        self.window.layout.widget("view").focus_set()
        self.window.say(self.status())
        self.show()
        source = self._cameras.get(text, text)
        parsed = parse_source(source)
        self._sound = parsed if isinstance(parsed, Path) else None
        self.window.worker.start(lambda: Camera(source, as_camera=True))

    def toggle_voice(self) -> None:
        """Turn voice recognition on or off; off releases the microphone."""
        self.listening = not self.listening
        self._show_listening()
        self.window.worker.listen(self._open_voice if self.listening else None)
        if not self.listening:
            self.window.say("the voice is off")
        elif self.streaming:
            self.window.say(
                "listening to the video's sound track"
                if self._sound
                else "listening to the microphone; no sound is stored"
            )
        else:
            self.window.say("voice recognition starts with the next camera or video")

    def voice_lost(self) -> None:
        """Show that no voice is heard any more."""
        self.listening = False
        self._show_listening()
        self.window.worker.listen(None)

    def show_frame(self, shown: Shown) -> None:
        """Show a frame of the stream. Its charts are drawn with it, so that image and panel agree."""
        if not self.streaming:  # a frame that was on its way when the camera was stopped
            return
        if self._opening:
            self._opening = ""
            self.window.say(self.status())
            self.window.view.show_whole()
        self.window.layout.set("speed", f"{shown.rate:.0f} frames/s, {1000 * shown.latency:.0f} ms")
        self.window.meter.show(shown.meter, dark=self.window.dark)
        self.window.view.show(shown.drawn)
        if time.monotonic() - self._statistics_at > STATISTICS_SECONDS:
            self._draw_statistics()
        self.window.panel.show(self.charts())

    def ended(self) -> None:
        """Show that nothing runs any more."""
        self.streaming, self._opening = False, ""
        self.window.layout.widget("start").configure(text="Start")
        self.window.layout.set("speed", "")
        self.window.meter.show(None, dark=self.window.dark)
        if self.window.mode is self:
            self.show()

    def _draw_statistics(self) -> None:
        recorder = self.window.worker.recorder
        self._statistics_at = time.monotonic()
        if recorder is None:
            self._statistics = []
            return
        title = f"seen so far with {recorder.provenance.model}"
        bars = self.window.charts.bars(recorder.statistics.shares(), title)
        self._statistics = [bars, self.window.charts.timeline(recorder.statistics)]
        if (voices := self.window.worker.voices) is not None:
            self._statistics = [*self.window.charts.timelines(recorder.statistics, voices), bars]

    def _voice_chart(self, shown: Shown) -> list[ImageArray]:
        voices = self.window.worker.voices
        if voices is None or shown.result.voice_result is None:
            return []
        return [self.window.charts.voice(shown.result.voice_result.utterance, voices.labels)]

    def _show_listening(self) -> None:
        style = "Listening.TButton" if self.listening else "TButton"
        self.window.layout.widget("voice").configure(text="● Voice" if self.listening else "Voice", style=style)
        if not self.listening:
            self.window.meter.show(None, dark=self.window.dark)

    def _open_voice(self) -> Hearing:
        """Open the video's sound, or the microphone, in the worker's thread."""
        if self._voice_model is None:
            self._voice_model = load_voice(models_dir=self.window.models_dir)
        return open_hearing(self._sound, Listener(self._voice_model))
