"""Tests of the desktop window by keys and clicks on a virtual screen."""

from __future__ import annotations

import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hands import answer_dialog, click, drag, hover, press, scroll, status, type_text, until
from keras_files import save_linear
from mien import __version__
from mien.app.converting import PIXELS, label_orders
from mien.app.keys import KEYS, MENU
from mien.app.settings import Settings, geometry_within, load_settings, save_settings
from mien.errors import MissingExtra
from mien.hearing import FileSound, Hearing
from mien.labels import FER2013
from mien.models.onnx_file import read_spec
from mien.models.spec import DEFAULT_MODEL
from mien.recognizer import Recognizer
from mien.sources.paths import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from mien.sources.pictures import read_picture
from mien.voice.listener import Listener
from speech import LoudDetector, PitchModel, tone, write_wav

pytestmark = pytest.mark.usefixtures("display")


@pytest.fixture
def window(display: None, tidied: None, tmp_path: Path, tiny_model: Path) -> Iterator[Any]:
    """The window, with the tiny model besides the shipped ones."""
    from mien.app.look import open_root
    from mien.app.window import Window

    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.onnx").write_bytes(tiny_model.read_bytes())
    kept: list[Settings] = []
    root = open_root("mien")
    window = Window(
        root, Settings(geometry="1024x700+0+0"), saves=tmp_path / "saves", models_dir=tmp_path / "models",
        on_close=kept.append,
    )  # fmt: skip
    window.kept = kept  # type: ignore[attr-defined]
    until(root, lambda: status(window).startswith(f"{DEFAULT_MODEL}: neutral"), "a model is ready")
    yield window
    if not window.closed:
        window.close()


def widget(window: Any, name: str) -> Any:
    return window.layout.widget(name)


def choose_from(window: Any, name: str, value: str) -> None:
    """Choose from a list with the keyboard."""
    box = widget(window, name)
    values = list(box.cget("values"))
    click(box)
    until(window.root, lambda: window.root.tk.call("ttk::combobox::PopdownWindow", box), "the list is there")
    steps = values.index(value) - values.index(box.get())
    window.root.update()
    press(*(["Down"] * steps if steps > 0 else ["Up"] * -steps), "Return")
    until(window.root, lambda: box.get() == value, f"{value} is chosen")


def test_the_window_goes_on_after_an_error(window: Any) -> None:
    ran: list[int] = []
    window.worker.done.put(lambda: 1 // 0)
    until(window.root, lambda: "this is a bug in mien" in status(window), "the error is shown")
    window.worker.done.put(lambda: ran.append(1))
    until(window.root, lambda: ran, "the next callback runs")


class TestPictures:
    def test_a_picture_is_opened_shown_and_saved_with_its_face_named(
        self, window: Any, astronaut: Path, tmp_path: Path
    ) -> None:
        answer_dialog(window.root, str(astronaut))
        press("ctrl+o")
        until(window.root, lambda: "1 face: happy" in status(window), "the face is named")
        until(window.root, lambda: window.panel.canvas.find_all(), "its bars are shown")
        assert widget(window, "view").cget("image")
        saved = tmp_path / "seen.png"
        answer_dialog(window.root, str(saved))
        press("ctrl+s")
        until(window.root, lambda: "saved" in status(window), "it is saved")
        original, annotated = read_picture(astronaut), read_picture(saved)
        assert annotated.shape == original.shape
        changed = (annotated != original).any(axis=2)
        assert 0.001 < changed.mean() < 0.2  # a box and a label box

    def test_probabilities_are_shown_and_hidden_by_their_switch(self, window: Any, astronaut: Path) -> None:
        window.open(astronaut)
        until(window.root, lambda: "1 face: happy" in status(window), "the face is named")
        assert widget(window, "side").winfo_ismapped()
        wide = widget(window, "view_frame").winfo_width()
        click(widget(window, "probabilities"))
        until(window.root, lambda: not widget(window, "side").winfo_ismapped(), "the bars are gone")
        until(window.root, lambda: widget(window, "view_frame").winfo_width() > wide, "the picture has their room")
        press("ctrl+b")
        until(window.root, lambda: widget(window, "side").winfo_ismapped(), "the bars are back")

    def test_a_path_that_was_copied_is_pasted(self, window: Any, astronaut: Path) -> None:
        window.root.clipboard_clear()
        window.root.clipboard_append(f"file://{astronaut}")
        press("ctrl+v")
        until(window.root, lambda: "1 face: happy" in status(window), "the face is named")

    def test_files_of_the_clipboard_are_pasted_where_the_system_lists_them(
        self, window: Any, astronaut: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from mien.app import clipboard

        monkeypatch.setattr(clipboard.ImageGrab, "grabclipboard", lambda: [str(astronaut)])
        assert clipboard._system_picture() == astronaut

    def test_a_picture_that_is_opened_while_a_model_loads_stays(
        self, window: Any, astronaut: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "pictures"
        folder.mkdir()
        for name in ("a.png", "b.png"):
            (folder / name).write_bytes(astronaut.read_bytes())
        window.open(folder)
        until(window.root, lambda: status(window).startswith("a.png: 1 face"), "the first picture is there")
        holds = threading.Event()
        window.worker.submit(lambda: holds.wait(20))
        press("Next")
        until(window.root, lambda: "opening b.png" in status(window), "the next one is asked for")
        live = window.worker.live
        live.recognizer = Recognizer(live.recognizer.detector, "ferg")
        window.mode.recognizer_changed()
        holds.set()
        until(window.root, lambda: status(window).startswith("b.png: 1 face"), "the next picture is there")
        settled: list[None] = []
        window.worker.submit(lambda: None, settled.append)
        until(window.root, lambda: settled, "all is done")
        assert status(window).startswith("b.png: 1 face")
        assert window.mode.still.recognizer is live.recognizer

    def test_a_clipboard_without_a_picture_is_an_error(self, window: Any) -> None:
        window.root.clipboard_clear()
        window.root.clipboard_append("just words")
        press("ctrl+v")
        until(window.root, lambda: "clipboard" in status(window), "it says so")

    def test_page_keys_lead_through_a_folder_past_an_unreadable_file(
        self, window: Any, astronaut: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "pictures"
        folder.mkdir()
        (folder / "a.png").write_bytes(astronaut.read_bytes())
        (folder / "b.png").write_text("no picture")
        (folder / "c.png").write_bytes(astronaut.read_bytes())
        window.open(folder)
        until(window.root, lambda: status(window).startswith("a.png: 1 face"), "the first one is seen")
        press("Next")
        until(window.root, lambda: "b.png" in status(window) and "not a picture" in status(window), "it says so")
        press("Next")
        until(window.root, lambda: status(window).startswith("c.png: 1 face"), "the third one is seen")
        press("Next")
        until(window.root, lambda: status(window).startswith("a.png: 1 face"), "the first one follows the last")
        press("Prior")
        until(window.root, lambda: status(window).startswith("c.png: 1 face"), "Page Up goes back")

    def test_arrow_keys_lead_through_a_folder(self, window: Any, astronaut: Path, tmp_path: Path) -> None:
        for name in ("a.png", "b.png", "c.png"):
            (tmp_path / name).write_bytes(astronaut.read_bytes())
        window.open(tmp_path / "a.png")
        until(window.root, lambda: status(window).startswith("a.png: 1 face"), "the picture is open")
        press("Right")
        until(window.root, lambda: status(window).startswith("b.png: 1 face"), "the next one is open")
        press("Left", "Left")
        until(window.root, lambda: status(window).startswith("c.png: 1 face"), "the last one is open")

    def test_several_files_are_opened_as_a_sequence(self, window: Any, astronaut: Path, tmp_path: Path) -> None:
        (tmp_path / "apart").mkdir()
        other = tmp_path / "apart" / "other.png"
        other.write_bytes(astronaut.read_bytes())
        window.open(astronaut, tmp_path / "notes.txt", other)
        until(window.root, lambda: "astronaut.png: 1 face" in status(window), "the first one is open")
        assert window.layout.get("place") == "1 of 2"
        press("Right")
        until(window.root, lambda: "other.png: 1 face" in status(window), "the other one is open")
        window.open(tmp_path / "notes.txt", tmp_path / "apart")
        until(window.root, lambda: "no pictures among these files" in status(window), "it complains")

    def test_wheel_and_keys_zoom_dragging_pans_and_the_next_picture_is_whole(
        self, window: Any, astronaut: Path, tmp_path: Path
    ) -> None:
        for name in ("a.png", "b.png"):
            (tmp_path / name).write_bytes(astronaut.read_bytes())
        window.open(tmp_path / "a.png")
        until(window.root, lambda: status(window).startswith("a.png: 1 face"), "the picture is open")
        assert window.view.viewport.zoom == 1
        scroll(widget(window, "view"), 3)
        until(window.root, lambda: window.view.viewport.zoom == pytest.approx(1.25**3), "the wheel zooms")
        press("plus", "minus", "minus")
        until(window.root, lambda: window.view.viewport.zoom == pytest.approx(1.25**2), "keys zoom")
        before = window.view.viewport
        drag(widget(window, "view"), 30, 0)
        until(window.root, lambda: window.view.viewport.x < before.x, "the image is dragged to the right")
        assert window.view.viewport.y == pytest.approx(before.y)
        press("0")
        until(window.root, lambda: window.view.viewport.zoom == 1, "the whole image is shown")
        press("plus", "Right")
        until(window.root, lambda: status(window).startswith("b.png: 1 face"), "the next one is open")
        assert window.view.viewport.zoom == 1

    def test_another_model_recognises_the_same_picture(self, window: Any, astronaut: Path) -> None:
        window.open(astronaut)
        until(window.root, lambda: "1 face: happy" in status(window), "the face is named")
        before = window.pictures.still.expressions[0].prediction.probabilities
        choose_from(window, "models", "tiny")
        until(
            window.root,
            lambda: window.pictures.still.expressions[0].prediction.probabilities is not before,
            "it is recognised again",
        )
        assert not np.allclose(window.pictures.still.expressions[0].prediction.probabilities, before)


DRAG_TO_THE_WINDOW = """
while sleep 0.5; do  # a busy window may answer too late
    xdotool mousemove 1150 810 mousedown 1
    for x in 1140 1100 1000 800 600 400 390; do xdotool mousemove $x 400; sleep 0.1; done
    xdotool mouseup 1
done
"""
DRAG_SOURCE = """
import sys
from tkinterdnd2 import COPY, DND_FILES, TkinterDnD

root = TkinterDnD.Tk()
root.geometry("100x100+1100+760")
root.drag_source_register(1, DND_FILES)
root.dnd_bind("<<DragInitCmd>>", lambda event: (COPY, DND_FILES, sys.argv[1]))
sent = " ".join(hex(byte) for byte in "\\r\\n".join(sys.argv[1:]).encode())  # tkdnd sends 0 in place of a text
root.tk.createcommand("::tkdnd::xdnd::_SendData", lambda type, offset, n, *_: sent[int(offset) :][: int(n)])
root.after(500, lambda: print("ready", flush=True))
root.mainloop()
"""


def test_files_dropped_on_the_window_are_opened(window: Any, astronaut: Path, tmp_path: Path) -> None:
    pytest.importorskip("tkinterdnd2", reason="needs the extra: pip install 'mien[app]'")
    files = [tmp_path / "with a space.png", tmp_path / "ä.png"]
    for file in files:
        file.write_bytes(astronaut.read_bytes())
    command = [sys.executable, "-c", DRAG_SOURCE, *(file.as_uri() for file in files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as source:
        assert source.stdout is not None
        source.stdout.readline()
        hands = subprocess.Popen(["sh", "-c", DRAG_TO_THE_WINDOW])
        try:
            until(window.root, lambda: "1 face: happy" in status(window), "the first file is open")
        finally:
            hands.terminate()
            hands.wait()
            source.terminate()
            subprocess.run(["xdotool", "mouseup", "1"], check=True)
    assert window.pictures.files == files


class TestCamera:
    def test_a_video_runs_while_the_model_is_switched_and_everything_is_saved(
        self, window: Any, clip: Path, tmp_path: Path
    ) -> None:
        press("ctrl+2")
        until(window.root, lambda: widget(window, "cameras").winfo_ismapped(), "the camera's buttons are there")
        click(widget(window, "cameras"))
        type_text(str(clip))
        until(window.root, lambda: widget(window, "cameras").get() == str(clip), "its path is typed")
        click(widget(window, "start"))
        until(window.root, lambda: window.shown is not None and window.shown.result.expressions, "a face is seen")
        labels = window.shown.result.expressions[0].prediction.labels.name
        assert labels == "ferplus"
        choose_from(window, "label_sets", "7 expressions (FER2013)")
        until(
            window.root,
            lambda: window.shown.result.expressions and len(window.shown.result.expressions[0].prediction.labels) == 7,
            "the other model names it, with the camera running",
        )
        assert window.camera.streaming
        for name, pattern in (("snapshot", "*.png"), ("faces", "*track*.png"), ("statistics", "*/statistics.json")):
            click(widget(window, name))
            until(window.root, lambda pattern=pattern: list((tmp_path / "saves").glob(pattern)), f"{name} are saved")
        click(widget(window, "start"))
        until(window.root, lambda: not window.camera.streaming, "it has stopped")
        assert widget(window, "start").cget("text") == "Start"
        until(
            window.root, lambda: not any(clip.name in thread.name for thread in threading.enumerate()), "it is closed"
        )

    def test_a_video_that_is_opened_starts_by_itself(
        self, window: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hints: list[str] = []
        monkeypatch.setattr(window.view, "show_text", hints.append)
        window.open(clip)
        until(window.root, lambda: status(window) == f"live: {clip}", "it runs")
        assert set(hints) == {f"Opening {clip.name} …"}
        assert window.layout.get("camera") == str(clip)
        assert window.mode is window.camera

    def test_another_model_leaves_the_picture_mode_alone_and_starts_the_statistics_again(
        self, window: Any, astronaut: Path, clip: Path
    ) -> None:
        window.open(astronaut)
        until(window.root, lambda: "1 face: happy" in status(window), "a picture is open")
        still = window.pictures.still
        window.open(clip)
        until(window.root, lambda: status(window).startswith("live: "), "the video runs")
        recorder = window.worker.recorder
        choose_from(window, "models", "tiny")
        until(window.root, lambda: status(window).startswith("tiny: neutral"), "the model is loaded")
        assert status(window).endswith("; statistics were reset")
        assert window.worker.recorder is not recorder
        assert window.pictures.still is still
        press("ctrl+1")
        until(window.root, lambda: window.pictures.still is not still, "the picture is recognised by the new model")
        until(window.root, lambda: "astronaut.png: 1 face" in status(window), "and named")

    def test_image_and_panel_are_always_of_the_same_frame(
        self, window: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from mien.app.charts import Charts

        charted: list[int] = []
        draw_face = Charts.face

        def face(charts: Charts, frame: Any, expression: Any) -> Any:
            charted.append(frame.index)
            return draw_face(charts, frame, expression)

        monkeypatch.setattr(Charts, "face", face)
        window.open(clip)
        until(window.root, lambda: charted, "it runs")
        shown = [charted[-1]]

        def more() -> bool:
            if window.shown.result.frame.index != shown[-1]:
                shown.append(window.shown.result.frame.index)
                assert charted[-1] == shown[-1]
            return len(shown) > 8

        until(window.root, more, "eight frames are shown")

    def test_the_voice_is_off_until_its_button_is_pressed_which_is_then_red(
        self, window: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from mien.app.look import LISTENING

        asked: list[object] = []

        def stand_in(sound: object, listener: object) -> Hearing:
            asked.append(sound)
            said = write_wav(tmp_path / "said.wav", tone(60))
            return Hearing(FileSound(said), Listener(PitchModel(), detector=LoudDetector()))

        monkeypatch.setattr("mien.app.camera_mode.open_hearing", stand_in)
        monkeypatch.setattr("mien.app.camera_mode.Listener", lambda *_, **__: None)
        window.open(clip)
        until(window.root, lambda: status(window).startswith("live: "), "the video runs")
        button = widget(window, "voice")
        assert (button.cget("text"), asked) == ("Voice", [])
        click(button)
        until(window.root, lambda: window.worker.voices is not None, "the voice is heard")
        assert asked == [clip]  # of a video its own sound
        assert button.cget("text") == "● Voice"
        assert str(window.root.tk.call("ttk::style", "lookup", button.cget("style"), "-foreground")) == LISTENING[False]
        until(
            window.root,
            lambda: (voice_result := window.shown.result.voice_result) is not None and voice_result.utterance,
            "an utterance is heard",
        )
        assert widget(window, "hearing").cget("text") == "speaking"
        assert len(window.camera.charts()) == 5  # face, voice, both over time, shares
        press("ctrl+m")
        until(window.root, lambda: window.shown.meter is None, "it is off")
        assert button.cget("text") == "Voice"

    def test_a_voice_that_cannot_be_heard_is_one_line_and_the_button_is_off_again(
        self, window: Any, clip: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def missing(*_: object, **__: object) -> None:
            raise MissingExtra("finding speech", "voice")

        monkeypatch.setattr("mien.app.camera_mode.Listener", missing)
        window.open(clip)
        until(window.root, lambda: status(window).startswith("live: "), "the video runs")
        click(widget(window, "voice"))
        until(window.root, lambda: "no voice: finding speech needs the 'voice' extra" in status(window), "it says so")
        assert widget(window, "voice").cget("text") == "Voice"
        before = window.shown.result.frame.index
        until(window.root, lambda: window.shown.result.frame.index > before, "the video goes on")

    def test_a_missing_camera_is_named_in_the_status_line(self, window: Any) -> None:
        window.layout.set("camera", "63")
        press("ctrl+r")
        until(window.root, lambda: "there is no camera 63" in status(window), "it says so")
        until(window.root, lambda: not window.camera.streaming, "it can be started again")
        assert "there is no camera 63" in status(window)

    def test_keys_in_the_camera_field_edit_its_text_and_return_starts(self, window: Any, clip: Path) -> None:
        press("ctrl+2")
        until(window.root, lambda: widget(window, "cameras").winfo_ismapped(), "the camera's buttons are there")
        window.root.clipboard_clear()
        window.root.clipboard_append(str(clip))
        click(widget(window, "cameras"))
        press("ctrl+v")
        until(window.root, lambda: widget(window, "cameras").get() == str(clip), "the path is pasted into the field")
        press("Return")
        until(window.root, lambda: window.shown is not None, "it runs")
        assert window.layout.get("mode") == "camera"

    def test_keys_turn_pages_again_after_an_address_was_typed(
        self, window: Any, astronaut: Path, tmp_path: Path
    ) -> None:
        for name in ("a.png", "b.png"):
            (tmp_path / name).write_bytes(astronaut.read_bytes())
        press("ctrl+2")
        until(window.root, lambda: widget(window, "cameras").winfo_ismapped(), "the camera's buttons are there")
        click(widget(window, "cameras"))
        type_text("rtsp")
        until(window.root, lambda: widget(window, "cameras").get() == "rtsp", "an address is typed")
        window.open(tmp_path / "a.png")
        until(window.root, lambda: status(window).startswith("a.png: 1 face"), "a picture is open")
        press("Right")
        until(window.root, lambda: status(window).startswith("b.png: 1 face"), "the next one is open")

    def test_a_password_is_not_remembered(self, window: Any) -> None:
        window.layout.set("camera", "rtsp://me:secret@camera.example/1")
        assert window.settings().camera == "rtsp://camera.example/1"

    def test_a_missing_file_is_named_in_the_status_line(self, window: Any) -> None:
        window.layout.set("camera", "nothing.mp4")
        press("ctrl+r")
        until(window.root, lambda: "no file or folder 'nothing.mp4'" in status(window), "it says so")
        until(window.root, lambda: not window.camera.streaming, "it can be started again")

    def test_closing_ends_camera_and_worker_and_remembers_the_choices(self, window: Any, clip: Path) -> None:
        window.layout.set("camera", str(clip))
        press("ctrl+2", "ctrl+r")
        until(window.root, lambda: window.shown is not None, "it runs")
        press("ctrl+d")
        until(window.root, lambda: window.dark, "it is dark")
        press("ctrl+q")
        deadline_root = window.root
        until(deadline_root, lambda: window.closed, "it is closed")
        names = [thread.name for thread in threading.enumerate()]
        assert not any(name == "mien-worker" or name.startswith("mien: ") for name in names), names
        assert window.kept[0].camera == str(clip)
        assert window.kept[0].dark
        assert window.kept[0].mode == "camera"


class TestChoices:
    def test_a_model_for_cartoons_is_marked_and_not_remembered(self, window: Any, astronaut: Path) -> None:
        choose_from(window, "models", "ferg (cartoons)")
        note = f"– ferg is for drawn faces; mien starts with {DEFAULT_MODEL} next time"
        until(window.root, lambda: note in status(window), "it says so")
        assert window.worker.live.recognizer.classifier.spec.name == "ferg"
        assert window.settings().model == DEFAULT_MODEL
        window.open(astronaut)
        until(window.root, lambda: "1 face" in status(window), "a picture is open")
        assert status(window).endswith(note)

    def test_model_label_set_and_detector_are_remembered(self, window: Any) -> None:
        choose_from(window, "label_sets", "7 expressions (FER2013)")
        until(window.root, lambda: status(window).startswith(f"{DEFAULT_MODEL}: angry"), "the label set is loaded")
        choose_from(window, "detectors", "whole picture")
        until(window.root, lambda: window.worker.live.recognizer.detector.__class__.__name__ == "WholeImage", "loaded")
        kept = window.settings()
        assert (kept.model, kept.labels, kept.detector) == (DEFAULT_MODEL, "fer2013", "whole")

    def test_a_tooltip_describes_the_model(self, window: Any) -> None:
        hover(widget(window, "models"))

        def tip() -> str:
            tops = [child for child in widget(window, "models").winfo_children() if child.winfo_class() == "Toplevel"]
            return "".join(top.winfo_children()[0].cget("text") for top in tops if top.winfo_children())

        until(window.root, lambda: "accuracy on its test images: 73 %" in tip(), "it is there")
        hover(widget(window, "view"))
        until(window.root, lambda: not tip(), "it is gone")


def test_a_picture_is_opened_before_the_model_is_ready(
    display: None, tidied: None, tmp_path: Path, astronaut: Path
) -> None:
    from mien.app.look import open_root
    from mien.app.window import Window

    window = Window(open_root("mien"), Settings(), saves=tmp_path, models_dir=tmp_path)
    try:
        window.open(astronaut)
        until(window.root, lambda: "1 face: happy" in status(window), "its face is named")
    finally:
        window.close()


class TestHelp:
    def tops(self, window: Any) -> list[Any]:
        return [child for child in window.root.winfo_children() if child.winfo_class() == "Toplevel"]

    def test_f1_opens_the_help_and_escape_closes_it(self, window: Any) -> None:
        press("F1")
        until(window.root, lambda: self.tops(window), "it is open")
        press("F1")
        window.root.update()
        (top,) = self.tops(window)
        assert top.title() == "mien help"
        top.focus_force()
        until(window.root, lambda: window.root.focus_get() is not None, "it has the keys")
        press("Escape")
        until(window.root, lambda: not self.tops(window), "it is closed")

    def test_about_names_version_and_licence(self, window: Any) -> None:
        window.commands["show_about"]()
        (top,) = self.tops(window)
        texts = [label.cget("text") for label in top.winfo_children()[0].winfo_children()]
        assert texts[0] == f"mien {__version__}"
        assert "Apache-2.0" in texts[1]


class TestKerasModels:
    """A Keras model in the models directory."""

    @pytest.fixture(autouse=True)
    def _converter(self) -> None:
        for package in ("h5py", "onnx"):
            pytest.importorskip(package, reason="needs the extra: pip install '.[keras]'")

    def test_it_is_found_converted_by_the_dialog_and_used(self, window: Any, astronaut: Path, tmp_path: Path) -> None:
        assert not widget(window, "offer").winfo_ismapped()
        window.open(astronaut)
        until(window.root, lambda: "1 face: happy" in status(window), "the face is named")
        save_linear(tmp_path / "models" / "net.h5")
        press("F5")
        until(window.root, lambda: widget(window, "convert").winfo_ismapped(), "it is offered")
        assert widget(window, "offered").cget("text") == "net.h5 is a Keras model, not converted yet"
        assert widget(window, "convert").cget("text") == "Convert net…"
        click(widget(window, "convert"))
        until(window.root, lambda: window.keras.dialog is not None, "it is asked about")
        assert window.keras.dialog.labels.get() == "angry,disgust,fear,happy,sad,surprise,neutral"
        assert window.keras.dialog.pixels.get().startswith("unit:")
        click(window.keras.dialog.equalize)
        click(window.keras.dialog.convert)
        until(
            window.root, lambda: "1 face:" in status(window) and widget(window, "models").get() == "net", "it is used"
        )
        spec = read_spec(tmp_path / "models" / "net.onnx")
        assert spec.labels == FER2013
        assert spec.preprocess.equalize
        assert "net" in widget(window, "models").cget("values")
        assert window.worker.live.recognizer.classifier.spec == spec
        assert not widget(window, "offer").winfo_ismapped()
        assert not window.keras.dialog.top.winfo_exists()

    def test_a_wrong_answer_is_explained_and_can_be_corrected(self, window: Any, tmp_path: Path) -> None:
        save_linear(tmp_path / "models" / "net.h5", n_outputs=3, channels=3, inner="block1_conv1")
        press("F5")
        until(window.root, lambda: widget(window, "convert").winfo_ismapped(), "it is offered")
        click(widget(window, "convert"))
        until(window.root, lambda: window.keras.dialog is not None, "it is asked about")
        dialog = window.keras.dialog
        assert (dialog.labels.get(), dialog.pixels.get()) == ("", "")  # neither can be known
        assert len(dialog.pixels.cget("values")) == len(PIXELS)
        click(dialog.labels)
        type_text("happy,sad")
        until(window.root, lambda: dialog.labels.get() == "happy,sad", "labels are typed")
        press("Return")
        until(window.root, lambda: "a pretrained net whose normalisation" in status(window), "it says so")
        dialog.pixels.current(4)
        press("Return")
        until(window.root, lambda: "3 outputs, but 2 labels were given" in status(window), "it says so")
        type_text(",angry")
        until(window.root, lambda: dialog.labels.get() == "happy,sad,angry", "one more is typed")
        click(dialog.convert)
        until(window.root, lambda: "net: happy, sad, angry" in status(window), "it is converted and chosen")

    def test_one_of_several_is_chosen_and_a_broken_one_is_an_error(self, window: Any, tmp_path: Path) -> None:
        (tmp_path / "models" / "broken.h5").write_text("no model")
        save_linear(tmp_path / "models" / "net.keras")
        press("F5")
        until(window.root, lambda: widget(window, "convert").winfo_ismapped(), "they are offered")
        assert widget(window, "offered").cget("text") == "Keras models, not converted yet: broken.h5, net.keras"
        click(widget(window, "convert"))
        press("Down", "Return")
        until(window.root, lambda: "broken.h5: not a Keras model" in status(window), "it says so")
        click(widget(window, "convert"))
        press("Down", "Down", "Return")
        until(window.root, lambda: window.keras.dialog is not None, "the other one is asked about")
        click(window.keras.dialog.cancel)
        until(window.root, lambda: not window.keras.dialog.top.winfo_exists(), "it is left for later")
        assert widget(window, "convert").winfo_ismapped()

    def test_without_the_extra_it_names_the_install_command(
        self, window: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_linear(tmp_path / "models" / "net.h5")
        for name in ("mien.convert.keras", "mien.convert.keras_file"):
            monkeypatch.delitem(sys.modules, name, raising=False)
            monkeypatch.delattr(name, raising=False)
        monkeypatch.setitem(sys.modules, "h5py", None)
        press("F5")
        until(window.root, lambda: widget(window, "convert").winfo_ismapped(), "it is offered all the same")
        click(widget(window, "convert"))
        until(window.root, lambda: "[keras]'" in status(window), "it says so")
        assert window.keras.dialog is None


def test_the_dialog_offers_every_normalisation() -> None:
    convert = pytest.importorskip("mien.convert.keras", reason="needs the extra: pip install '.[keras]'")
    assert list(PIXELS) == list(convert.NORMALIZATIONS)


@pytest.mark.parametrize(("n", "orders"), [(7, 2), (8, 2), (3, 0)])
def test_labels_are_proposed_for_known_numbers_of_outputs(n: int, orders: int) -> None:
    proposed = label_orders(n)
    assert len(proposed) == orders
    assert all(len(order.split(",")) == n for order in proposed)


class TestSettings:
    def test_they_are_read_as_they_were_written(self, tmp_path: Path) -> None:
        settings = Settings(mode="camera", model="tiny", dark=True, geometry="900x600+1+1")
        save_settings(settings, tmp_path / "deep" / "window.json")
        assert load_settings(tmp_path / "deep" / "window.json") == settings

    def test_older_files_have_model_and_label_set_in_one(self, tmp_path: Path) -> None:
        (tmp_path / "window.json").write_text('{"mode": "camera", "model": "base, ferplus", "detector": "haar"}')
        assert load_settings(tmp_path / "window.json") == Settings(
            mode="camera", model="base", labels="ferplus", detector="haar"
        )

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "{", '{"dark": "yes", "model": 3, "other": 1}', "[" * 100_000, '{"camera": "\\ud800"}'],
    )
    def test_invalid_settings_are_ignored(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "window.json").write_text(text)
        assert load_settings(tmp_path / "window.json") == Settings()


@pytest.mark.parametrize(
    ("geometry", "expected"),
    [
        ("900x600+10+20", "900x600+10+20"),
        ("900x600+5000+-300", "900x600+380+0"),  # on a monitor that is gone
        ("900x600-10-20", "900x600+370+280"),
        ("9000x9000+0+0", "1280x900+0+0"),
        ("50x50+1230+0", "100x100+1180+0"),
        *((text, "") for text in ("", "zzz", "900x600", "900x600+1", "900x600+1+1\n", "-1x5+0+0", "9" * 999)),
    ],
)
def test_a_remembered_geometry_is_moved_into_the_screen(geometry: str, expected: str) -> None:
    assert geometry_within(geometry, (0, 0, 1280, 900), (100, 100)) == expected


def test_a_geometry_may_be_on_a_monitor_at_the_left() -> None:
    assert geometry_within("900x600+-1500+0", (-1920, 0, 3840, 1080)) == "900x600+-1500+0"


@pytest.mark.parametrize("geometry", ["zzz", "900x600+9000+9000"])
def test_the_window_opens_on_the_screen_whatever_its_settings_say(
    geometry: str, display: None, tidied: None, tmp_path: Path
) -> None:
    from mien.app.look import open_root
    from mien.app.window import Window

    window = Window(open_root("mien"), Settings(geometry=geometry), saves=tmp_path, models_dir=tmp_path)
    window.root.update()
    assert 0 <= window.root.winfo_rootx() <= window.root.winfo_screenwidth() - window.root.winfo_width()
    assert 0 <= window.root.winfo_rooty() <= window.root.winfo_screenheight() - window.root.winfo_height()
    window.close()


def test_the_open_dialog_offers_pictures_and_videos_in_any_case() -> None:
    from mien.app.window import _patterns

    patterns = _patterns(PICTURE_SUFFIXES | VIDEO_SUFFIXES)
    assert {"*.jpg", "*.heic", "*.mp4"} <= set(patterns)
    assert sys.platform == "win32" or {"*.JPG", "*.HEIC", "*.MP4"} <= set(patterns)


def test_every_callback_key_and_menu_item_has_its_command(window: Any) -> None:
    layout = ET.fromstring(resources.files("mien.app").joinpath("mien.ui").read_text(encoding="utf-8"))
    callbacks = {e.text for e in layout.iter("property") if e.get("type") == "command"}
    callbacks |= {e.get("handler") for e in layout.iter("bind")}
    assert callbacks >= {"open_file", "start_or_stop", "choose"}
    assert callbacks - {"choose"} <= window.commands.keys()
    assert {key.command for key in KEYS} | {item[0] for item in MENU if item} <= window.commands.keys()


def test_the_window_fits_a_small_screen(window: Any) -> None:
    window.root.geometry("1024x700")
    for mode in ("ctrl+1", "ctrl+2"):
        press(mode)
        until(window.root, lambda: window.root.winfo_width() == 1024, "it has its size")
        main = window.root.winfo_children()[0]
        assert main.winfo_reqwidth() <= 1024
        assert main.winfo_reqheight() <= 700


def test_a_long_name_alone_is_cut_off_in_the_smallest_window(window: Any, tmp_path: Path, tiny_model: Path) -> None:
    long_name = "a-name-that-nobody-reads-to-the-end"
    (tmp_path / "models" / f"{long_name}.onnx").write_bytes(tiny_model.read_bytes())
    press("F5")
    until(window.root, lambda: long_name in widget(window, "models").cget("values"), "it is listed")
    window.root.geometry("{}x{}".format(*window.root.minsize()))
    until(window.root, lambda: window.root.winfo_width() == window.root.minsize()[0], "it has its size")
    cut_off = []
    for name in ("models", "label_sets", "detectors"):
        box = widget(window, name)
        for value in box.cget("values"):
            box.set(value)
            window.root.update()
            cut_off += [] if box.xview() == (0, 1) else [value]
    assert cut_off == [long_name]


def test_the_smallest_window_is_no_larger_than_a_high_resolution_screen(
    display: None, tidied: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mien.app.look import open_root
    from mien.app.window import Window

    monkeypatch.setattr("mien.app.window.scale_of", lambda _: 2.0)
    window = Window(open_root("mien"), Settings(), saves=tmp_path, models_dir=tmp_path)
    try:
        assert window.root.minsize() == (window.root.winfo_screenwidth(), window.root.winfo_screenheight())
    finally:
        window.close()
