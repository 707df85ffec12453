"""Tests of the worker with fake cameras and a fake window."""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from clips import write_video
from mien.app.worker import Worker
from mien.errors import ConfigError, MicrophoneError, UnknownModel
from mien.hearing import Hearing
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.recognizer import Recognizer
from mien.sinks.recorder import Recorder
from mien.sources import camera as camera_module
from mien.sources.camera import Camera
from mien.sources.frames import frames, inspect
from mien.structures import Block, Box, Face, FloatArray, ImageArray, Provenance
from mien.vision.smooth import HalfLifeSmoother
from mien.voice.listener import Listener
from speech import LoudDetector, PitchModel, tone

PATIENCE = 30.0  # seconds that nothing here needs, unless it hangs
SIZE = (64, 48)
FACE = Face(Box(8, 8, 40, 40), 0.9)


class FakeDevice:
    """A camera that returns an image every few milliseconds while it is plugged in."""

    def __init__(self) -> None:
        self.plugged, self.released = threading.Event(), threading.Event()
        self.plugged.set()

    def isOpened(self) -> bool:
        return self.plugged.is_set()

    def read(self) -> tuple[bool, ImageArray | None]:
        time.sleep(0.004)
        return (True, np.full((*SIZE[::-1], 3), 90, np.uint8)) if self.plugged.is_set() else (False, None)

    def get(self, propId: int, /) -> float:
        return -1.0

    def release(self) -> None:
        self.released.set()


@dataclass
class OneFace:
    def detect(self, image: ImageArray) -> list[Face]:
        return [FACE]


@dataclass
class Named:
    """A classifier that always answers with one label."""

    label: str
    labels: LabelSet

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(name="named", arch="none", heads=(Head(self.labels),), preprocess=Preprocess())

    def predict_proba(self, crops: Sequence[ImageArray], *, head: str | None = None) -> FloatArray:
        return np.eye(len(self.labels), dtype=np.float32)[[self.labels.index(self.label)] * len(crops)]


def recognizer(label: str, labels: LabelSet = FER2013) -> Recognizer:
    return Recognizer(OneFace(), Named(label, labels))


@dataclass
class Window:
    """A fake window that keeps its messages and errors; `poll` runs the worker's callbacks."""

    half_life: float = 0.0
    said: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    n_ended: int = 0
    voices_lost: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.worker = Worker(self, smoother_for=lambda _: HalfLifeSmoother(self.half_life))

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def complain(self, sentence: str) -> None:
        assert "\n" not in sentence
        self.complaints.append(sentence)

    def ended(self) -> None:
        self.n_ended += 1

    def voice_lost(self, reason: str) -> None:
        self.voices_lost.append(reason)

    def poll(self) -> None:
        while not self.worker.done.empty():
            self.worker.done.get()()

    def until(self, condition: Callable[[], object]) -> None:
        """Poll until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"it never came; complaints: {self.complaints}"
            self.poll()
            time.sleep(0.002)

    def settle(self) -> None:
        """Wait until all pending jobs are done."""
        done: list[None] = []
        self.worker.submit(lambda: None, done.append)
        self.until(lambda: done)

    def choose(self, make: Callable[[], Recognizer]) -> None:
        self.worker.choose(make, lambda chosen: self.say(f"chosen: {chosen.head.labels.name}"))

    def start(self, device: FakeDevice, open_recorder: Callable[[Provenance], Recorder] = Recorder) -> None:
        """Start a stream of a device, and wait for its first frame."""
        self.worker.start(partial(Camera, 0, opener=lambda source: device, retry_seconds=0.01), open_recorder)
        self.settle()
        self.until(lambda: self.worker.newest)

    def label(self) -> str:
        """Return label set and label of the newest frame."""
        self.worker.newest.clear()
        self.until(lambda: self.worker.newest)
        (expression,) = self.worker.newest.pop().result.expressions
        return f"{expression.prediction.labels.name}: {expression.label}"


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    """A window whose worker has a model that calls every face happy."""
    monkeypatch.setattr(camera_module, "STALL_SECONDS", PATIENCE)  # a busy machine is no lost camera
    before = set(threading.enumerate())  # of other tests
    made = Window()
    made.choose(partial(recognizer, "happy"))
    made.settle()
    yield made
    made.worker.close(wait=PATIENCE)
    end = time.monotonic() + PATIENCE
    while names := [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith("mien")]:
        assert time.monotonic() < end, names
        time.sleep(0.002)


def fail(error: Exception) -> NoReturn:
    raise error


def n_frames(recorder: Recorder) -> int:
    return int(str(recorder.statistics.as_dict()["frames"]))


class TestJobs:
    def test_they_run_in_order_in_the_worker_thread_and_their_callbacks_in_the_window_thread(
        self, window: Window
    ) -> None:
        ran: list[tuple[str, int]] = []
        followed: list[tuple[int, int]] = []
        for number in range(20):
            window.worker.submit(
                lambda number=number: (ran.append((threading.current_thread().name, number)), number)[1],
                lambda result: followed.append((threading.get_ident(), result)),
            )
        window.until(lambda: len(followed) == 20)
        assert ran == [("mien-worker", number) for number in range(20)]
        assert followed == [(threading.get_ident(), number) for number in range(20)]

    def test_callbacks_wait_for_the_window_to_poll(self, window: Window) -> None:
        followed: list[int] = []
        window.worker.submit(lambda: 1, followed.append)
        ran = threading.Event()
        window.worker.submit(ran.set)
        assert ran.wait(PATIENCE)
        assert followed == []
        window.poll()
        assert followed == [1]

    @pytest.mark.parametrize(
        ("error", "sentence"),
        [
            (ConfigError("fps is 0; expected more"), "fps is 0; expected more"),
            (ZeroDivisionError("a bug"), "this is a bug in mien; please report it: ZeroDivisionError('a bug')"),
        ],
    )
    def test_an_error_is_a_message_and_the_next_job_runs(self, window: Window, error: Exception, sentence: str) -> None:
        followed: list[object] = []
        window.worker.submit(partial(fail, error), followed.append)
        window.worker.submit(lambda: 2, followed.append)
        window.until(lambda: followed)
        assert followed == [2]
        assert window.complaints == [sentence]

    def test_they_run_between_the_frames_of_a_camera(self, window: Window) -> None:
        window.start(FakeDevice())
        window.settle()
        assert window.label() == "fer2013: happy"

    def test_pending_jobs_are_done_before_it_closes(self, tmp_path: Path) -> None:
        window = Window()
        holds = threading.Event()
        window.worker.submit(lambda: holds.wait(PATIENCE))
        window.worker.submit(lambda: (tmp_path / "saved").touch())
        window.worker.close(wait=0)
        holds.set()
        window.worker.close(wait=PATIENCE)
        assert (tmp_path / "saved").exists()


class TestStream:
    def test_only_the_newest_frame_is_kept(self, window: Window) -> None:
        window.start(FakeDevice())
        first = window.worker.newest[0].result.frame
        recorder = window.worker.recorder
        assert recorder is not None
        window.until(lambda: n_frames(recorder) > 5)
        assert len(window.worker.newest) == 1
        shown = window.worker.newest.pop()
        assert shown.result.frame.index > first.index
        assert (shown.drawn != shown.result.frame.image).any()
        assert shown.drawn.shape == (48, 64, 3)
        assert shown.rate > 0
        assert shown.latency >= 0

    def test_while_paused_no_frames_are_recognised_and_jobs_run(self, window: Window) -> None:
        window.start(FakeDevice())
        window.worker.paused = True
        window.settle()
        window.worker.newest.clear()
        window.settle()
        time.sleep(0.05)
        assert not window.worker.newest
        window.worker.paused = False
        assert window.label() == "fer2013: happy"

    def test_a_file_ends_by_itself_and_another_one_starts(self, window: Window, tmp_path: Path) -> None:
        clip = write_video(tmp_path / "a.mp4", n=3, fps=50)
        for n_ended in (1, 2):
            window.worker.start(partial(Camera, clip, as_camera=True))
            window.until(lambda n_ended=n_ended: window.n_ended == n_ended)
            assert window.worker.newest.pop().result.frame.index == 2
        assert window.complaints == []

    def test_stopping_closes_camera_and_files_and_statistics_stay(self, window: Window, tmp_path: Path) -> None:
        device, stopped = FakeDevice(), threading.Event()
        window.start(device, partial(Recorder, video=tmp_path / "a.mp4", csv=tmp_path / "a.csv"))
        window.worker.stop()
        window.worker.submit(stopped.set)
        window.until(stopped.is_set)
        assert device.released.wait(PATIENCE)
        assert window.worker.recorder is not None
        assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + n_frames(window.worker.recorder)
        assert inspect(tmp_path / "a.mp4").frames
        assert not (tmp_path / "a.mkv").exists()

    def test_a_stream_takes_the_place_of_the_one_before(self, window: Window) -> None:
        first, second = FakeDevice(), FakeDevice()
        window.start(first)
        window.start(second)
        assert first.released.wait(PATIENCE)
        assert not second.released.is_set()
        assert window.worker.newest[0].result.expressions[0].face.track_id == 1

    def test_a_missing_camera_is_one_error_and_another_one_starts(self, window: Window) -> None:
        missing, there = FakeDevice(), FakeDevice()
        missing.plugged.clear()
        window.worker.start(partial(Camera, 4242, opener=lambda source: missing))
        window.until(lambda: window.n_ended)
        assert len(window.complaints) == 1
        assert "camera 4242" in window.complaints[0]
        window.start(there)
        assert (len(window.complaints), window.n_ended) == (1, 1)

    def test_a_bug_in_the_camera_thread_is_a_message_and_ends_the_stream(self, window: Window) -> None:
        window.worker.start(partial(Camera, 0, opener=lambda source: fail(ZeroDivisionError("a bug"))))
        window.until(lambda: window.n_ended)
        assert window.complaints == ["this is a bug in mien; please report it: ZeroDivisionError('a bug')"]

    def test_without_a_model_there_is_no_stream(self) -> None:
        window = Window()
        window.worker.start(partial(Camera, 0, opener=lambda source: FakeDevice()))
        window.until(lambda: window.n_ended)
        assert window.complaints == ["no model is ready; choose one"]
        window.worker.close(wait=PATIENCE)

    def test_a_lost_camera_is_one_error_and_its_return_one_message(self, window: Window) -> None:
        device = FakeDevice()
        window.start(device)
        said = len(window.said)
        for n in (1, 2):
            device.plugged.clear()
            window.until(lambda n=n: len(window.complaints) == n)
            time.sleep(0.1)  # several attempts to open it
            window.poll()
            assert window.complaints == ["camera 0 gives no more frames; reopening it"] * n
            device.plugged.set()
            window.until(lambda n=n: len(window.said) == said + n)
            assert window.label() == "fer2013: happy"
            assert window.said[said:] == ["camera 0 is live"] * n
        assert window.n_ended == 0

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
    def test_a_full_disk_ends_the_stream_with_an_error(self, window: Window, tmp_path: Path) -> None:
        device = FakeDevice()
        recorder = partial(Recorder, csv=Path("/dev/full"), video=tmp_path / "a.mkv")
        window.worker.start(partial(Camera, 0, opener=lambda source: device), recorder)
        window.until(lambda: window.n_ended)
        assert len(window.complaints) == 1
        assert "No space left" in window.complaints[0]
        assert device.released.wait(PATIENCE)

    def test_a_path_that_cannot_be_written_is_an_error_and_closes_the_camera(
        self, window: Window, tmp_path: Path
    ) -> None:
        device = FakeDevice()
        recorder = partial(Recorder, csv=tmp_path / "no" / "a.csv")
        window.worker.start(partial(Camera, 0, opener=lambda source: device), recorder)
        window.until(lambda: window.n_ended)
        assert "choose another place" in window.complaints[0]


class TestChoosing:
    def test_another_model_takes_over_while_the_stream_continues(self, window: Window) -> None:
        device = FakeDevice()
        window.start(device)
        assert window.label() == "fer2013: happy"
        window.choose(partial(recognizer, "sad"))
        window.until(lambda: window.label() == "fer2013: sad")
        window.until(lambda: window.worker.newest)
        assert window.worker.newest.pop().result.expressions[0].face.track_id == 1
        assert not device.released.is_set()
        assert (window.complaints, window.n_ended) == ([], 0)

    def test_other_labels_start_new_statistics(self, window: Window) -> None:
        window.start(FakeDevice())
        before = window.worker.recorder
        window.choose(partial(recognizer, "contempt", FERPLUS))
        window.until(lambda: window.label() == "ferplus: contempt")
        assert window.worker.recorder is not None
        assert window.worker.recorder is not before
        assert window.worker.recorder.statistics.shares()["contempt"] == 1

    def test_another_model_of_the_same_labels_starts_new_statistics(self, window: Window) -> None:
        window.start(FakeDevice())
        window.choose(partial(recognizer, "sad"))
        window.until(lambda: window.label() == "fer2013: sad")
        assert window.worker.recorder is not None
        assert window.worker.recorder.statistics.shares()["sad"] == 1

    def test_files_being_written_continue_with_the_new_model_and_new_statistics(
        self, window: Window, tmp_path: Path
    ) -> None:
        window.start(FakeDevice(), partial(Recorder, csv=tmp_path / "a.csv"))
        recorder = window.worker.recorder
        window.choose(partial(recognizer, "sad"))
        window.until(lambda: window.label() == "fer2013: sad")
        assert window.worker.recorder is recorder
        assert recorder is not None
        assert recorder.statistics.shares()["sad"] == 1

    def test_other_labels_are_an_error_while_files_are_written(self, window: Window, tmp_path: Path) -> None:
        window.start(FakeDevice(), partial(Recorder, csv=tmp_path / "a.csv"))
        window.choose(partial(recognizer, "contempt", FERPLUS))
        window.until(lambda: window.complaints)
        assert window.complaints == [
            "named has other labels than the files that are being written; stop the recording first"
        ]
        window.choose(partial(recognizer, "sad"))  # the same labels
        window.until(lambda: window.label() == "fer2013: sad")
        window.worker.stop()
        window.choose(partial(recognizer, "contempt", FERPLUS))
        window.until(lambda: "chosen: ferplus" in window.said)
        with (tmp_path / "a.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["label"] for row in rows] == sorted(row["label"] for row in rows)  # happy, then sad
        assert {row["label"] for row in rows} == {"happy", "sad"}
        assert len(window.complaints) == 1

    def test_a_model_that_does_not_load_leaves_the_one_before(self, window: Window) -> None:
        window.start(FakeDevice())
        window.choose(partial(fail, UnknownModel("no model 'nobody'")))
        window.until(lambda: window.complaints)
        assert window.complaints == ["no model 'nobody'"]
        assert window.label() == "fer2013: happy"


class TestClosing:
    def test_it_ends_the_thread_while_a_camera_runs_and_files_are_complete(
        self, window: Window, tmp_path: Path
    ) -> None:
        device = FakeDevice()
        window.start(device, partial(Recorder, csv=tmp_path / "a.csv", video=tmp_path / "a.mp4"))
        window.worker.close(wait=PATIENCE)
        assert "mien-worker" not in [thread.name for thread in threading.enumerate()]
        assert device.released.wait(PATIENCE)
        assert len(list(frames(tmp_path / "a.mp4"))) == inspect(tmp_path / "a.mp4").frames
        assert not (tmp_path / "a.mkv").exists()
        assert (tmp_path / "a.csv").read_text().endswith("\n")

    def test_twice_does_no_harm(self, window: Window) -> None:
        window.worker.close(wait=PATIENCE)
        window.worker.close(wait=PATIENCE)

    def test_it_waits_no_longer_than_asked(self, window: Window) -> None:
        holds = threading.Event()
        window.worker.submit(lambda: holds.wait(PATIENCE))
        window.worker.close(wait=0.01)
        assert "mien-worker" in [thread.name for thread in threading.enumerate()]
        holds.set()


class Talking:
    """A microphone that hears a tone from the first frame on."""

    ended = False

    def __init__(self, error: Exception | None = None) -> None:
        self.problem, self.error, self.closed, self.at = "", error, threading.Event(), 0.0

    def until(self, time: float) -> Iterator[Block]:
        if self.error is not None:
            raise self.error
        yield Block(self.at, tone(0.5))
        self.at += 0.5

    def close(self) -> None:
        self.closed.set()


def hearing(source: Talking, labels: LabelSet | None = None) -> Hearing:
    model = PitchModel()
    model.labels = labels or model.labels
    return Hearing(source, Listener(model, detector=LoudDetector()))


class TestVoice:
    def test_what_was_said_before_it_was_turned_on_or_in_a_pause_is_left(
        self, window: Window, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        skipped: list[float] = []
        monkeypatch.setattr(Hearing, "skip", lambda self, time: skipped.append(time))
        window.start(FakeDevice())
        window.worker.listen(lambda: hearing(Talking()))
        window.until(lambda: window.worker.newest and window.worker.newest[-1].result.voice_result)
        assert len(skipped) == 1
        window.worker.paused = True
        window.settle()
        time.sleep(0.2)  # the worker looks for jobs every 0.1 s
        window.worker.newest.clear()
        window.worker.paused = False
        window.until(lambda: window.worker.newest)
        assert len(skipped) == 2
        assert skipped[0] < skipped[1]

    def test_it_is_heard_beside_the_camera_until_it_is_turned_off(self, window: Window) -> None:
        source = Talking()
        window.start(FakeDevice())
        assert window.worker.newest[-1].meter is None
        window.worker.listen(lambda: hearing(source))
        window.until(lambda: window.worker.newest and window.worker.newest[-1].result.voice_result)
        window.until(lambda: window.worker.newest[-1].result.voice_result.utterance)
        shown = window.worker.newest[-1]
        assert shown.meter is not None
        assert shown.meter.speaking
        assert shown.result.voice_result is not None
        assert shown.result.voice_result.fused is not None
        assert shown.result.voice_result.fused.agree is False  # happy by the face, sad by the voice
        assert window.worker.voices is not None
        window.worker.listen(None)
        window.settle()
        assert source.closed.is_set()
        window.worker.newest.clear()
        window.until(lambda: window.worker.newest)
        assert window.worker.newest[-1].result.voice_result is None
        assert window.voices_lost == []

    def test_it_starts_and_ends_with_the_stream(self, window: Window) -> None:
        sources: list[Talking] = []

        def open_voice() -> Hearing:
            sources.append(Talking())
            return hearing(sources[-1])

        window.worker.listen(open_voice)
        window.settle()
        assert sources == []  # no microphone is open without a camera
        window.start(FakeDevice())
        window.worker.stop()
        window.settle()
        assert [source.closed.is_set() for source in sources] == [True]
        window.start(FakeDevice())
        assert [source.closed.is_set() for source in sources] == [True, False]

    @pytest.mark.parametrize(
        "open_voice",
        [
            partial(fail, MicrophoneError("it burns")),
            lambda: hearing(Talking(MicrophoneError("it burns"))),
        ],
        ids=["opening", "hearing"],
    )
    def test_a_microphone_that_fails_is_told_and_the_camera_goes_on(
        self, window: Window, open_voice: Callable[[], Hearing]
    ) -> None:
        window.start(FakeDevice())
        window.worker.listen(open_voice)
        window.until(lambda: window.voices_lost)
        assert window.voices_lost == ["it burns"]
        assert window.label() == "fer2013: happy"
        assert (window.complaints, window.n_ended) == ([], 0)

    def test_a_model_without_the_labels_of_the_voice_turns_it_off(self, window: Window) -> None:
        source = Talking()
        window.start(FakeDevice())
        window.worker.listen(lambda: hearing(source))
        window.settle()
        window.choose(partial(recognizer, "calm", LabelSet("other", ("calm", "happy"))))
        window.until(lambda: window.voices_lost)
        assert "in common" in window.voices_lost[0]
        assert source.closed.is_set()
        assert window.label() == "other: calm"
