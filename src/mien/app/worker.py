"""The worker: recognises in a thread of its own, so that no window waits for it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from mien.drawing.faces import draw
from mien.errors import ConfigError, MienError
from mien.fusion import VoiceResult, shared_labels
from mien.hearing import Hearing, Meter
from mien.live import FrameResult, Live
from mien.recognizer import Recognizer
from mien.sinks.recorder import Recorder
from mien.sinks.statistics import Statistics
from mien.sources.camera import Camera, CameraStatus
from mien.structures import Box, Expression, Face, ImageArray, Provenance
from mien.vision.smooth import Smoother

T = TypeVar("T")

IDLE = 0.1  # seconds between two looks for a job without a camera
PATIENCE = 0.05  # seconds to wait for a camera's next frame before the next look for a job
NO_FACE = Face(Box(0, 0, 1, 1), score=0.0)  # of a voice in statistics, which count faces
RATE_FRAMES = 30  # frames over which the frame rate is averaged


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A frame of a stream, ready to be shown.

    Args:
        result: The frame and its expressions.
        drawn: The frame with its faces boxed and named, RGB uint8 (H, W, 3).
        latency: Seconds from the camera's delivery of the frame until now.
        rate: Frames per second, over the last `RATE_FRAMES`; 0 with the first.
        meter: For the level meter; None where nobody listens.
    """

    result: FrameResult
    drawn: ImageArray
    latency: float
    rate: float
    meter: Meter | None = None


class Listener(Protocol):
    """The window, as the worker's callbacks see it; they run in the window's thread."""

    def say(self, sentence: str) -> None:
        """Show a message."""

    def complain(self, sentence: str) -> None:
        """Show an error."""

    def ended(self) -> None:
        """React to a stream that ended by itself, or did not open."""

    def voice_lost(self, reason: str) -> None:
        """React to a voice that cannot be heard, or no longer; the stream goes on."""


class Worker:
    """Runs a window's jobs one after the other in a thread of its own, and recognises a camera's frames in between.

    Only the newest frame is kept, in `newest`. Callbacks come by the queue `done`; the window takes them from there and
    calls them in its own thread.

    Args:
        window: Receives messages and errors, by `done`.
        smoother_for: Returns a new smoother for a recogniser, in the worker's thread.
    """

    def __init__(self, window: Listener, *, smoother_for: Callable[[Recognizer], Smoother]) -> None:
        self.done: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.newest: deque[Shown] = deque(maxlen=1)
        self.top = 1  # labels per face; the window sets it, and the next two
        self.voice_bars = True  # whether the bars of the voice are drawn into the image
        self.paused = False
        self.live: Live | None = None
        self.recorder: Recorder | None = None  # of the running stream, or of the last one
        self.hearing: Hearing | None = None  # None where nobody listens
        self.voices: Statistics | None = None  # of the voice, in the bins of the recorder's statistics
        self._open_voice: Callable[[], Hearing] | None = None  # None where the voice is off
        self._first_time: float | None = None  # of the frames that the recorder's statistics count
        self._resumes = False  # after a pause
        self._camera: Camera | None = None
        self._stream = ExitStack()  # closes camera and recorder
        self._smoother_for = smoother_for
        self._window = window
        self._lost = False  # whether the camera gives no frames for now
        self._times: deque[float] = deque(maxlen=RATE_FRAMES)
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mien-worker", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T], then: Callable[[T], None] | None = None) -> None:
        """Run a job in the worker's thread, then a callback with its result in the window's."""
        self._jobs.put(partial(self._do, work, then))

    def choose(self, make: Callable[[], Recognizer], then: Callable[[Recognizer], None]) -> None:
        """Switch to another recogniser once it is loaded; statistics start again."""
        self.submit(partial(self._choose, make), then)

    def start(
        self, open_camera: Callable[[], Camera], open_recorder: Callable[[Provenance], Recorder] = Recorder
    ) -> None:
        """Open a camera in place of the one before; recognise and record its frames."""
        self.submit(partial(self._start, open_camera, open_recorder))

    def listen(self, open_voice: Callable[[], Hearing] | None) -> None:
        """Hear a voice beside the camera, from now on or from its start, until None is given; errors are shown."""
        self.submit(partial(self._listen, open_voice))

    def stop(self) -> None:
        """Close the camera and the recorder's files."""
        self.submit(self._stop)

    def close(self, *, wait: float | None = 1.0) -> None:
        """End the thread after the pending jobs; wait at most so many seconds, or as long as it takes when None."""
        self._jobs.put(self._closing.set)
        self._thread.join(wait)

    def _run(self) -> None:
        while not self._closing.is_set():
            streaming = self._camera is not None and not self.paused
            self._resumes = self._resumes or self.paused
            try:
                job = self._jobs.get_nowait() if streaming else self._jobs.get(timeout=IDLE)
            except Empty:
                if streaming:
                    self._do(self._process_frame)
            else:
                job()
        self._do(self._stop)

    def _do(self, work: Callable[[], T], then: Callable[[T], None] | None = None) -> None:
        try:
            result = work()
        except Exception as error:  # a bug of ours must not end the thread in silence either
            self.done.put(partial(self._window.complain, sentence(error)))
        else:
            if then is not None:
                self.done.put(partial(then, result))

    def _choose(self, make: Callable[[], Recognizer]) -> Recognizer:
        recognizer = make()
        if self.recorder is not None and self.recorder.writes and self._camera is not None:
            self.recorder.switch(recognizer.provenance)
        elif self.recorder is not None:
            self.recorder = Recorder(recognizer.provenance)
        self.voices, self._first_time = None, None
        smoother = self._smoother_for(recognizer)
        if self.live is None:
            self.live = Live(recognizer, smoother=smoother)
        else:
            self.live.recognizer, self.live.smoother = recognizer, smoother
        self._check_voice()
        return recognizer

    def _start(self, open_camera: Callable[[], Camera], open_recorder: Callable[[Provenance], Recorder]) -> None:
        try:
            self._stop()
            if self.live is None:
                raise ConfigError("no model is ready; choose one")
            with ExitStack() as stack:
                self._camera = stack.enter_context(open_camera())
                self.recorder = stack.enter_context(open_recorder(self.live.recognizer.provenance))
                self._stream = stack.pop_all()
        except MienError as error:
            self._end(error)
            return
        recognizer = self.live.recognizer
        self.live = Live(recognizer, smoother=self._smoother_for(recognizer))  # another stream, other tracks
        self._times.clear()
        self._first_time, self._resumes = None, False
        self._lost = False
        self.newest.clear()
        self._hear()

    def _stop(self) -> None:
        self._camera = None
        self._stop_hearing()
        self._stream.close()

    def _listen(self, open_voice: Callable[[], Hearing] | None) -> None:
        self._open_voice = open_voice
        self._stop_hearing()
        if self._camera is not None:
            self._hear()

    def _hear(self) -> None:
        """Open the microphone or the file's sound, if the voice is on; its failure never stops the camera."""
        self.voices = None
        if self._open_voice is None or self.live is None:
            return
        try:
            self.hearing = self.live.voice = self._open_voice()
        except MienError as error:
            self._lose_voice(str(error))
        else:
            self._check_voice()
            if self.hearing is not None and self._camera is not None and self._times:
                self.hearing.skip(self._camera.clock())  # a file's sound begins at its start

    def _check_voice(self) -> None:
        """Stop hearing a voice that has too few labels in common with the faces."""
        if self.hearing is None or self.live is None:
            return
        try:
            shared_labels(self.live.recognizer.head.labels, self.hearing.provenance.labels)
        except ConfigError as error:
            self._lose_voice(str(error))

    def _lose_voice(self, reason: str) -> None:
        self._stop_hearing()
        self.done.put(partial(self._window.voice_lost, reason))

    def _stop_hearing(self) -> None:
        if self.live is not None:
            self.live.voice = None
        if self.hearing is not None:
            self.hearing.close()
            self.hearing = None

    def _end(self, error: Exception | None = None) -> None:
        if error is not None:
            self.done.put(partial(self._window.complain, sentence(error)))
        elif self._camera is not None:
            self.done.put(partial(self._window.say, self._camera.status.text))
        self.done.put(self._window.ended)
        self._stop()

    def _process_frame(self) -> None:
        """Recognise the next frame of the stream, if it comes in time."""
        if self._camera is None or self.live is None or self.recorder is None:
            return
        try:
            if self._resumes and self.hearing is not None:
                self.hearing.skip(self._camera.clock())
            self._resumes = False
            frame = self._camera.read(timeout=PATIENCE)
            self._report(self._camera.status)
            if frame is None:
                if self._camera.ended:
                    self._end()
                elif self.hearing is not None and self._times:
                    self.hearing.at(self._camera.clock())  # the sound goes on
                return
            result = self.live.recognize(frame)
            drawn = draw(
                frame.image, result.expressions, top=self.top, voice_result=self._drawn_voice(result.voice_result)
            )
            self.recorder.write(frame, result.expressions, drawn, voice_result=result.voice_result)
            self._count_voice(result)
        except Exception as error:
            self._end(error)
            return
        self._times.append(time.monotonic())
        passed = self._times[-1] - self._times[0]
        rate = (len(self._times) - 1) / passed if passed > 0 else 0.0
        meter = None if self.hearing is None else self.hearing.meter
        self.newest.append(Shown(result, drawn, self._camera.clock() - frame.time, rate, meter))
        if meter is not None and meter.failed:
            self._lose_voice(meter.text)

    def _drawn_voice(self, voice_result: VoiceResult | None) -> VoiceResult | None:
        return voice_result if voice_result is None or self.voice_bars else replace(voice_result, utterance=None)

    def _count_voice(self, result: FrameResult) -> None:
        """Count the voice of a frame like a face, so that both can be drawn over the same time."""
        if self._first_time is None:
            self._first_time = result.frame.time
        if self.hearing is None or result.voice_result is None:
            return
        if self.voices is None:
            self.voices = Statistics(self.hearing.provenance)
            self.voices.write(replace(result.frame, time=self._first_time), [])
        utterance = result.voice_result.utterance
        voice = [] if utterance is None else [Expression(NO_FACE, utterance.prediction, utterance.min_confidence)]
        self.voices.write(result.frame, voice)

    def _report(self, status: CameraStatus) -> None:
        lost = status.state == "lost"
        if lost != self._lost:
            self._lost = lost
            self.done.put(partial(self._window.complain if lost else self._window.say, status.text))


def sentence(error: BaseException) -> str:
    """Return the message of an error, or for a bug of ours the request to report it."""
    return str(error) if isinstance(error, MienError) else f"this is a bug in mien; please report it: {error!r}"
