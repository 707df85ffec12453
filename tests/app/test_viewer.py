"""Tests of the window of `mien live` by its keys."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hands import hover, press, until
from mien.hearing import Hearing, open_hearing
from mien.recognizer import Recognizer
from mien.sinks.recorder import Recorder
from mien.sources.camera import Camera
from mien.vision.detect import WholeImage
from mien.vision.smooth import HalfLifeSmoother
from mien.voice.listener import Listener
from speech import LoudDetector, PitchModel, tone, write_wav


@pytest.fixture
def viewer(display: None, tidied: None, tmp_path: Path, clip: Path, tiny_model: Path) -> Iterator[Any]:
    """A stream of the astronaut, with two models to go through."""
    from mien.app.viewer import Viewer

    spoken_wav = write_wav(tmp_path / "spoken.wav", tone(30))
    viewer = Viewer(
        partial(Camera, clip, as_camera=True),
        ["base", str(tiny_model)],
        partial(Recognizer, WholeImage(), labels="fer2013"),
        partial(Recorder, csv=tmp_path / "faces.csv"),
        saves=tmp_path / "saves",
        smoother_for=lambda _: HalfLifeSmoother(),
        top=2,
        detector="whole",
        open_voice=lambda: open_hearing(spoken_wav, Listener(PitchModel(), detector=LoudDetector())),
        voice=False,
    )
    until(viewer.root, lambda: viewer.shown is not None, "the stream is seen")
    hover(viewer.view.label)  # keys go to the window below the pointer
    yield viewer
    if not viewer.closed:
        viewer.close()


def test_its_keys_save_pause_change_the_model_and_quit(viewer: Any, tmp_path: Path) -> None:
    saves = tmp_path / "saves"
    for key, pattern in (("c", "snapshot-*.png"), ("f", "*-track1-*.png"), ("s", "statistics-*/statistics.json")):
        press(key)
        until(viewer.root, lambda pattern=pattern: list(saves.glob(pattern)), f"{key} has saved {pattern}")
    press("m")
    until(viewer.root, lambda: viewer.models[0] != "base", "the next model sees")
    press("space")
    until(viewer.root, lambda: viewer.worker.paused, "it is paused")
    press("space")
    until(viewer.root, lambda: not viewer.worker.paused, "it is resumed")
    press("q")
    until(viewer.root, lambda: viewer.closed, "it is closed")
    viewer.worker.close(wait=None)
    assert (tmp_path / "faces.csv").read_text().count("\n") > 1
    assert viewer.failure is None


def test_a_key_before_the_first_frame_fails_nothing(viewer: Any) -> None:
    viewer.shown = None
    viewer.worker.paused = True
    until(viewer.root, lambda: not viewer.worker.newest, "the last frame was taken")
    viewer.shown = None
    viewer.save_snapshot()
    assert "there is no frame yet" in viewer.status_label.cget("text")
    assert viewer.failure is None
    viewer.complain("the model is broken")
    viewer.worker.paused = False
    until(viewer.root, lambda: viewer.shown is not None, "the stream is seen")
    assert viewer.failure is None


def test_v_turns_the_voice_on_and_off(viewer: Any) -> None:
    press("v")
    until(viewer.root, lambda: viewer.shown.meter is not None, "the meter is there")
    until(viewer.root, lambda: viewer.shown.result.voice_result.utterance, "the voice is heard")
    assert viewer.meter.label.cget("text") == "speaking"
    press("v")
    until(viewer.root, lambda: viewer.shown.meter is None, "the voice is off")
    until(viewer.root, lambda: viewer.meter.label.cget("text") == "", "the meter is empty")


def test_a_voice_that_cannot_be_heard_is_one_line_and_the_stream_goes_on(viewer: Any, tmp_path: Path) -> None:
    (tmp_path / "spoken.wav").unlink()
    press("v")
    until(viewer.root, lambda: viewer.status_label.cget("text").startswith("no voice: "), "the reason is shown")
    before = viewer.shown.result.frame.index
    until(viewer.root, lambda: viewer.shown.result.frame.index > before, "the stream goes on")
    assert viewer.failure is None


def test_a_stream_that_does_not_open_is_an_error(display: None, tidied: None, tmp_path: Path) -> None:
    from mien.app.viewer import Viewer
    from mien.errors import MienError

    with pytest.raises(MienError, match=r"no file or folder 'nothing\.mp4'"):
        Viewer(
            partial(Camera, "nothing.mp4", as_camera=True), ["base"], partial(Recognizer, WholeImage()), Recorder,
            saves=tmp_path, smoother_for=lambda _: HalfLifeSmoother(), top=1,
            detector="whole", open_voice=Hearing, voice=False,
        ).run()  # fmt: skip
