"""YuNet is downloaded in the background, from a server on this machine that may be slow or broken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from detectors import yunet_file
from hands import click, hover, press, status, until
from mien.app.settings import Settings
from mien.app.yunet import Missing, detector_used, missing_yunet
from mien.models.spec import DEFAULT_MODEL
from mien.vision import fetch
from mien.vision.fetch import YUNET_FILE


class Server:
    """Serves a file: the first half at once, the other once it may."""

    def __init__(self) -> None:
        self.content = b"no detector"
        self.may_finish = threading.Event()
        self.may_finish.set()
        self.n_requests = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.n_requests += 1
                content, half = server.content, len(server.content) // 2
                self.send_response(200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[:half])
                self.wfile.flush()
                server.may_finish.wait(60)
                self.wfile.write(content[half:])

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/{YUNET_FILE}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """In place of the OpenCV zoo, for a machine with an empty cache."""
    server = Server()
    monkeypatch.delenv("MIEN_OFFLINE")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(fetch, "YUNET_URL", server.url)
    monkeypatch.setattr(fetch, "cache_dir", lambda: tmp_path / "cache")
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.may_finish.set()
    server.http.shutdown()
    server.http.server_close()
    thread.join()


@pytest.fixture
def failed_before(server: Server, tmp_path: Path) -> None:
    """A fetch that failed an hour ago: none starts by itself."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / fetch._FAILURE).write_text("no connection")


@pytest.fixture
def window(display: None, tidied: None, server: Server, failed_before: None, tmp_path: Path) -> Iterator[Any]:
    yield from opened(tmp_path)


@pytest.fixture
def first_window(display: None, tidied: None, server: Server, tmp_path: Path) -> Iterator[Any]:
    """The window on a machine that has not tried to fetch YuNet; the server is silent after half of the file."""
    server.may_finish.clear()
    yield from opened(tmp_path)


def opened(folder: Path) -> Iterator[Any]:
    from mien.app.look import open_root
    from mien.app.window import Window

    window = Window(open_root("mien"), Settings(geometry="1024x700+0+0"), saves=folder, models_dir=folder)
    until(window.root, lambda: window.worker.live is not None, "a model is ready")
    yield window
    if not window.closed:
        window.close()


def is_shown(window: Any, name: str) -> bool:
    return bool(window.layout.widget(name).winfo_ismapped())


def detector(window: Any) -> str:
    return str(window.worker.live.recognizer.provenance.detector)


def test_the_button_downloads_yunet_while_the_window_works_and_yunet_finds_the_faces_then(
    window: Any, server: Server, astronaut: Path
) -> None:
    server.content = yunet_file().read_bytes()
    server.may_finish.clear()
    until(window.root, lambda: is_shown(window, "download"), "it is offered")
    assert window.layout.get("detector_used") == "Faces: Haar"
    assert server.n_requests == 0
    click(window.layout.widget("download"))
    until(window.root, lambda: 0 < float(window.layout.widget("downloaded").cget("value")) < 1, "a part is there")
    assert is_shown(window, "downloaded")
    assert not is_shown(window, "download")
    window.open(astronaut)
    until(window.root, lambda: "1 face: happy" in status(window), "the window recognises meanwhile")
    still = window.pictures.still
    server.may_finish.set()
    until(window.root, lambda: window.layout.get("detector_used") == "Faces: YuNet", "YuNet is in use")
    until(window.root, lambda: window.pictures.still is not still, "the picture is recognised again")
    assert detector(window) == "yunet"
    assert not is_shown(window, "downloaded")
    assert not is_shown(window, "download")


def test_a_failure_is_one_sentence_and_the_download_can_be_repeated(window: Any, server: Server) -> None:
    until(window.root, lambda: is_shown(window, "download"), "it is offered")
    click(window.layout.widget("download"))
    sentence = "YuNet could not be downloaded (its hash differs from the expected one); fix this and try again"
    until(window.root, lambda: status(window) == sentence, "it says so")
    assert detector(window) == "haar"
    server.content = yunet_file().read_bytes()
    until(window.root, lambda: is_shown(window, "download"), "it is offered again")
    click(window.layout.widget("download"))
    until(window.root, lambda: detector(window) == "yunet", "YuNet is in use")


def test_the_first_window_downloads_by_itself_and_a_failure_is_no_alarm(first_window: Any, server: Server) -> None:
    window = first_window
    until(window.root, lambda: is_shown(window, "downloaded"), "it downloads")
    assert detector(window) == "haar"
    server.may_finish.set()
    until(window.root, lambda: "could not be downloaded" in status(window), "it says so")
    assert str(window.status_label.cget("foreground")) == "#1c1c1c"
    until(window.root, lambda: is_shown(window, "download"), "it is offered")
    window.layout.set("labels", "7 expressions (FER2013)")
    window.choose()
    until(window.root, lambda: status(window).startswith(f"{DEFAULT_MODEL}: angry"), "another label set is loaded")
    assert server.n_requests == 1


def test_closing_does_not_wait_for_the_download(first_window: Any, server: Server) -> None:
    window = first_window
    until(window.root, lambda: is_shown(window, "downloaded"), "it downloads")
    window.close()
    [thread] = [thread for thread in threading.enumerate() if thread.name == "yunet-download"]
    server.may_finish.set()
    thread.join(60)
    assert not thread.is_alive()


def test_yunet_chosen_by_name_is_downloaded(window: Any, server: Server) -> None:
    server.content = yunet_file().read_bytes()
    window.layout.set("detector", "accurate (YuNet)")
    window.choose()
    until(window.root, lambda: detector(window) == "yunet", "it is in use")


@pytest.mark.parametrize(
    ("chosen", "used", "given", "offline", "missing"),
    [
        ("auto", "haar", "", "", Missing()),
        ("yunet", "haar", "", "", Missing()),
        ("auto", "yunet", "", "", None),
        ("haar", "haar", "", "", None),
        ("whole", "whole", "", "", None),
        ("auto", "haar", "", "1", "MIEN_OFFLINE is set"),
        ("auto", "haar", "nothing.onnx", "", "MIEN_YUNET is wrong"),
    ],
)
def test_yunet_is_offered_where_it_is_wanted_and_may_be_downloaded(
    chosen: str, used: str, given: str, offline: str, missing: Missing | str | None,
    server: Server, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MIEN_YUNET", given)
    monkeypatch.setenv("MIEN_OFFLINE", offline)
    found = missing_yunet(chosen, used)
    assert (found.note if isinstance(missing, str) and found else found) == missing


@pytest.mark.parametrize(("name", "shown"), [("yunet", "YuNet"), ("haar-alt", "Haar (alt)"), ("Mine", "Mine")])
def test_detectors_in_use_have_everyday_names(name: str, shown: str) -> None:
    assert detector_used(name) == shown


def test_offline_the_window_says_so_and_offers_nothing(
    display: None, tidied: None, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_OFFLINE", "1")
    for window in opened(tmp_path):
        until(window.root, lambda window=window: window.layout.get("detector_used"), "the detector is shown")
        assert window.layout.get("detector_used") == "Faces: Haar (MIEN_OFFLINE is set)"
        assert not is_shown(window, "download")
    assert server.n_requests == 0


def test_the_viewer_downloads_by_its_key(
    display: None, tidied: None, server: Server, failed_before: None, clip: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from mien.app.viewer import Viewer
    from mien.recognizer import Recognizer
    from mien.sinks.recorder import Recorder
    from mien.sources.camera import Camera
    from mien.vision.smooth import HalfLifeSmoother

    server.content = yunet_file().read_bytes()
    monkeypatch.setattr("mien.vision.detect.is_news", lambda _: False)  # the warning is tested elsewhere

    def no_voice() -> Any:
        raise AssertionError("nobody asked for the voice")

    viewer = Viewer(
        partial(Camera, clip, as_camera=True), ["base"], partial(Recognizer, "auto"), Recorder, saves=tmp_path,
        smoother_for=lambda _: HalfLifeSmoother(), top=1, detector="auto", open_voice=no_voice, voice=False,
    )  # fmt: skip
    try:
        until(viewer.root, lambda: viewer.shown is not None, "the stream is seen")
        until(viewer.root, lambda: "d download YuNet" in status(viewer), "it is offered")
        assert "Haar" in viewer.speed.cget("text")
        hover(viewer.view.label)
        press("d")
        until(viewer.root, lambda: "· YuNet ·" in viewer.speed.cget("text"), "YuNet is in use")
        assert "download" not in status(viewer)
    finally:
        viewer.close()
