"""The worker: sees in a thread of its own, so that no window ever waits for it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

import cv2
import numpy as np

from mien.drawing.faces import draw
from mien.errors import ConfigError, MienError
from mien.labels import LabelSet
from mien.live import FrameResult, Live
from mien.recognizer import Recognizer
from mien.sinks.recorder import Recorder
from mien.sources.camera import Camera, CameraStatus
from mien.structures import ImageArray

T = TypeVar("T")

IDLE = 0.1  # seconds between looks at whether the window has closed, when there is nothing to do
PATIENCE = 0.05  # seconds to wait for a camera's next frame before looking whether there is something else to do
RATE_FRAMES = 30  # over which the frames per second are averaged


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A frame of a stream that is ready to be shown.

    Args:
        sight: What was seen.
        drawn: The frame with that drawn into it, RGB uint8 (H, W, 3).
        view: The same, as large as the window wants it.
        latency: Seconds from the camera's delivery of the frame until now.
        rate: Frames per second, over the last ones; 0 with the first.
    """

    sight: FrameResult
    drawn: ImageArray
    view: ImageArray
    latency: float
    rate: float


class Listener(Protocol):
    """Who is told what happens, in its own thread: the window."""

    def say(self, sentence: str) -> None:
        """Something goes well."""

    def complain(self, sentence: str) -> None:
        """Something went wrong."""

    def ended(self) -> None:
        """A stream has ended by itself, or could not be opened."""


class Worker:
    """Does, one after the other in its own thread, what a window asks for; in between it sees what a camera shows.

    Of the frames seen, the newest alone is kept, in `newest`. What the window is to do once something is ready comes
    by `done`: it calls what it gets from there, in its own thread.

    Args:
        window: Told what happens, by `done`.
        half_life: Of the smoothing, in seconds; see `Live`.
    """

    def __init__(self, window: Listener, *, half_life: float) -> None:
        self.done: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.newest: deque[Shown] = deque(maxlen=1)
        self.view_size = (640, 480)  # width and height; the window sets it, as it does the next two
        self.top = 1  # labels to name for each face
        self.paused = False
        self.live: Live | None = None
        self.recorder: Recorder | None = None  # of the stream that runs, or of the last one
        self._camera: Camera | None = None
        self._stream = ExitStack()  # what is open while a stream runs
        self._half_life = half_life
        self._window = window
        self._lost = False  # whether the camera gives nothing for now
        self._times: deque[float] = deque(maxlen=RATE_FRAMES)
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mien-worker", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T], then: Callable[[T], None] | None = None) -> None:
        """Do something in the worker's thread, then something with its result in the window's."""
        self._jobs.put(partial(self._do, work, then))

    def choose(self, make: Callable[[], Recognizer], then: Callable[[Recognizer], None]) -> None:
        """Recognise with another model or detector as soon as they are ready, and with the old ones until then."""
        self.submit(partial(self._choose, make), then)

    def start(
        self, open_camera: Callable[[], Camera], open_recorder: Callable[[LabelSet], Recorder] = Recorder
    ) -> None:
        """Open a camera, in place of one that is open; see and record what it shows."""
        self.submit(partial(self._start, open_camera, open_recorder))

    def stop(self, then: Callable[[None], None] | None = None) -> None:
        """Close the camera and the files."""
        self.submit(self._stop, then)

    def close(self, *, wait: float | None = 1.0) -> None:
        """End the thread once it has done what was asked for; wait for that so many seconds, or as long as it takes."""
        self._jobs.put(self._closing.set)
        self._thread.join(wait)

    def _run(self) -> None:
        while not self._closing.is_set():
            streaming = self._camera is not None and not self.paused
            try:
                job = self._jobs.get_nowait() if streaming else self._jobs.get(timeout=IDLE)
            except Empty:
                if streaming:
                    self._do(self._see)
            else:
                job()
        self._do(self._stop)

    def _do(self, work: Callable[[], T], then: Callable[[T], None] | None = None) -> None:
        try:
            result = work()
        except Exception as error:  # a mistake of ours, too, must not end the thread in silence
            self.done.put(partial(self._window.complain, sentence(error)))
        else:
            if then is not None:
                self.done.put(partial(then, result))

    def _choose(self, make: Callable[[], Recognizer]) -> Recognizer:
        recognizer = make()
        labels = recognizer.head.labels
        if self.recorder is not None and self.recorder.labels != labels:
            if self.recorder.writes and self._camera is not None:
                raise ConfigError(
                    f"{recognizer.classifier.spec.name} has other labels than the files that are being written; "
                    "stop the recording first"
                )
            self.recorder = Recorder(labels)
        if self.live is None:
            self.live = Live(recognizer, half_life=self._half_life)
        else:
            self.live.recognizer = recognizer
        return recognizer

    def _start(self, open_camera: Callable[[], Camera], open_recorder: Callable[[LabelSet], Recorder]) -> None:
        try:
            self._stop()
            if self.live is None:
                raise ConfigError("no model is ready; choose one")
            with ExitStack() as stack:
                self._camera = stack.enter_context(open_camera())
                self.recorder = stack.enter_context(open_recorder(self.live.recognizer.head.labels))
                self._stream = stack.pop_all()
        except MienError as error:
            self._end(error)
            return
        self.live = Live(self.live.recognizer, half_life=self._half_life)  # other faces: no track goes on
        self._times.clear()
        self._lost = False
        self.newest.clear()

    def _stop(self) -> None:
        self._camera = None
        self._stream.close()

    def _end(self, error: Exception | None = None) -> None:
        if error is not None:
            self.done.put(partial(self._window.complain, sentence(error)))
        elif self._camera is not None:
            self.done.put(partial(self._window.say, self._camera.status.text))
        self.done.put(self._window.ended)
        self._stop()

    def _see(self) -> None:
        """See the next frame of the stream, if it comes in time."""
        if self._camera is None or self.live is None or self.recorder is None:
            return
        try:
            frame = self._camera.read(timeout=PATIENCE)
            self._tell_of(self._camera.status)
            if frame is None:
                if self._camera.ended:
                    self._end()
                return
            sight = self.live.see(frame)
            drawn = draw(frame.image, sight.expressions, top=self.top)
            self.recorder.write(sight, drawn)
        except Exception as error:
            self._end(error)
            return
        self._times.append(time.monotonic())
        passed = self._times[-1] - self._times[0]
        rate = (len(self._times) - 1) / passed if passed > 0 else 0.0
        view = fit(drawn, self.view_size)
        self.newest.append(Shown(sight, drawn, view, self._camera.clock() - frame.time, rate))

    def _tell_of(self, status: CameraStatus) -> None:
        lost = status.state == "lost"
        if lost != self._lost:
            self._lost = lost
            self.done.put(partial(self._window.complain if lost else self._window.say, status.text))


def sentence(error: BaseException) -> str:
    """Return what to tell of an error: its own words, or those that ask to report a mistake of ours."""
    return str(error) if isinstance(error, MienError) else f"mien made a mistake; please report it: {error!r}"


def fit(image: ImageArray, size: tuple[int, int]) -> ImageArray:
    """Shrink or enlarge a picture as far as it fits into (width, height), keeping its proportions."""
    height, width = image.shape[:2]
    scale = min(size[0] / width, size[1] / height)
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    if target == (width, height):
        return image
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, target, interpolation=how), np.uint8)
