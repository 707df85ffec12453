"""Live sessions: frames of a drawn or photographed face over a WebSocket."""

from __future__ import annotations

import io
import json
import logging
import math
import shutil
import struct
import threading
import time as clock
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")

from PIL import Image
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from mien.drawing.colours import colour_of
from mien.labels import FER2013, FERPLUS
from mien.models.store import shipped_dir
from mien.web import ServerSettings, create_app, live
from mien.web.live import CREDIT, HEAD, MAX_BYTES, PROTOCOL
from services import ASTRONAUT, loaded, serving

URL = "ws://localhost/v1/live"


def jpeg(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, options.pop("format", "JPEG"), **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def face() -> bytes:
    with Image.open(ASTRONAUT) as picture:
        return jpeg(picture.convert("RGB").crop((100, 0, 420, 240)))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    models = tmp_path_factory.mktemp("models")  # without those of the user
    settings = ServerSettings(model="base", detector="haar", page=False, sessions=2, models_dir=models)
    with TestClient(create_app(settings)) as client:
        yield client


@contextmanager
def session(client: TestClient, **start: Any) -> Iterator[WebSocketTestSession]:
    """A session that has started; its "ready" is read."""
    with client.websocket_connect(URL, subprotocols=[PROTOCOL]) as socket:
        socket.send_json({"type": "start", **start})
        assert socket.receive_json()["type"] == "ready"
        yield socket


def ask(socket: WebSocketTestSession, message: dict[str, Any]) -> dict[str, Any]:
    socket.send_json(message)
    return dict(socket.receive_json())


def see(socket: WebSocketTestSession, picture: bytes, number: int = 0, time: float | None = None) -> dict[str, Any]:
    socket.send_bytes(HEAD.pack(number, number / 32 if time is None else time) + picture)
    return dict(socket.receive_json())


def closing(socket: WebSocketTestSession) -> WebSocketDisconnect:
    """The close of a session; answers and errors before it are passed over."""
    try:
        while socket.receive_json()["type"] in ("error", "result"):
            pass
    except WebSocketDisconnect as closed:
        return closed
    pytest.fail("a message came instead of the close")


def test_a_start_is_answered_with_model_labels_colours_and_limits(client: TestClient) -> None:
    with client.websocket_connect(URL, subprotocols=[PROTOCOL]) as socket:
        assert socket.accepted_subprotocol == PROTOCOL
        ready = ask(socket, {"type": "start", "model": "base", "labels": None, "detector": "haar", "half_life": 0.3,
                             "max_detection_gap": 0.2, "min_confidence": 0, "min_score": None,
                             "temporal": False})  # fmt: skip
    assert ready["type"] == "ready"
    assert (ready["model"], ready["label_set"], ready["detector"]) == ("base", "ferplus", "haar")
    assert ready["labels"] == list(FERPLUS)
    assert ready["colours"] == {
        name: "#{:02x}{:02x}{:02x}".format(*colour_of(name, FERPLUS)) for name in (*FERPLUS, "uncertain")
    }
    assert (ready["credit"], ready["max_bytes"]) == (2, 4 * 1024 * 1024)


def test_frames_are_answered_in_order_with_tracks_and_durations(client: TestClient, face: bytes) -> None:
    with session(client) as socket:
        for first in (0, 2, 4):
            for number in (first, first + 1):  # two in flight
                socket.send_bytes(HEAD.pack(number, number / 32) + face)
            for number in (first, first + 1):
                seen = socket.receive_json()
                assert (seen["type"], seen["number"], seen["index"]) == ("result", number, number)
                assert (seen["time"], seen["width"], seen["height"]) == (number / 32, 320, 240)
                (expression,) = seen["faces"]
                assert expression["track"] == 1
                assert math.isclose(sum(expression["probabilities"].values()), 1, abs_tol=1e-4)
                assert "raw" in expression
                assert list(seen["ms"]) == ["wait", "decode", "detect", "track", "classify", "all"]
                assert seen["ms"]["all"] >= seen["ms"]["classify"] > 0


def test_statistics_come_on_demand_and_at_the_end(client: TestClient, face: bytes) -> None:
    with session(client) as socket:
        for number in range(3):
            see(socket, face, number)
        between = ask(socket, {"type": "statistics"})
        see(socket, face, 3)
        end = ask(socket, {"type": "stop"})
        assert closing(socket).code == 1000
    assert (between["type"], between["frames"], between["faces"], between["tracks"]) == ("statistics", 3, 3, 1)
    assert (end["type"], end["frames"], end["seconds"]) == ("statistics", 4, 0.094)
    assert end["labels"] == list(FERPLUS)


def test_a_change_keeps_the_tracks_and_starts_the_statistics_again(client: TestClient, face: bytes) -> None:
    with session(client) as socket:
        before = see(socket, face, 0)
        changed = ask(socket, {"type": "change", "labels": "fer2013"})
        assert (changed["type"], changed["restarted"]) == ("ready", True)
        assert changed["labels"] == list(FER2013)
        after = see(socket, face, 1)
        assert after["faces"][0]["track"] == before["faces"][0]["track"]
        assert list(after["faces"][0]["probabilities"]) == list(FER2013)
        assert ask(socket, {"type": "statistics"})["frames"] == 1
        other = ask(socket, {"type": "change", "model": "model2020"})  # whose label set is another one
        assert (other["model"], other["restarted"]) == ("model2020", True)


def test_a_change_of_the_threshold_alone_keeps_model_and_statistics(client: TestClient, face: bytes) -> None:
    with session(client, labels="fer2013") as socket:
        see(socket, face, 0)
        changed = ask(socket, {"type": "change", "min_confidence": 1})
        assert (changed["label_set"], changed["restarted"]) == ("fer2013", False)
        assert see(socket, face, 1)["faces"][0]["label"] == "uncertain"
        assert ask(socket, {"type": "statistics"})["frames"] == 2


WRONG_SETTINGS = [
    {"model": "no-such-model"},
    {"model": "/etc/passwd.onnx"},
    {"model": "../base"},
    {"model": 3},
    {"labels": "no-such-set"},
    {"detector": "eye"},
    {"half_life": -1},
    {"half_life": None},
    {"max_detection_gap": 0.6},
    {"max_detection_gap": math.nan},
    {"min_confidence": 1.5},
    {"min_score": "high"},
    {"temporal": 1},
    {"colour": "red"},
]


@pytest.mark.parametrize("wrong", WRONG_SETTINGS, ids=str)
def test_a_wrong_setting_ends_a_start_but_not_a_running_session(
    client: TestClient, face: bytes, wrong: dict[str, Any]
) -> None:
    with client.websocket_connect(URL) as socket:
        error = ask(socket, {"type": "start", **wrong})
        assert (error["type"], error["number"]) == ("error", None)
        assert "\n" not in error["detail"]
        closed = closing(socket)
        assert closed.code == 1008
        assert error["detail"].startswith(closed.reason)
    with session(client) as socket:
        assert ask(socket, {"type": "change", **wrong}) == error
        assert see(socket, face)["model"] == "base"


def test_a_temporal_model_smooths_where_there_is_one(client: TestClient, face: bytes) -> None:
    with session(client, labels="ferplus", temporal=True) as socket:
        assert "raw" in see(socket, face, 0)["faces"][0]
        assert ask(socket, {"type": "change", "temporal": False})["restarted"] is False
        see(socket, face, 1)
        error = ask(socket, {"type": "change", "model": "ferg", "temporal": True})
        assert "no temporal model fits" in error["detail"]
        assert see(socket, face, 2)["model"] == "base"


def test_a_model_that_vanished_is_an_error_and_the_session_goes_on(tmp_path: Path, face: bytes) -> None:
    for name in ("mine", "other"):
        shutil.copy(shipped_dir() / "model2020.onnx", tmp_path / f"{name}.onnx")
    settings = ServerSettings(detector="haar", page=False, models_dir=tmp_path)
    with TestClient(create_app(settings)) as client, session(client, model="mine") as socket:
        for file in tmp_path.glob("*.onnx"):
            file.unlink()
        see(socket, face, 0)
        error = ask(socket, {"type": "change", "model": "other"})
        assert "no model 'other'" in error["detail"]
        assert str(tmp_path) not in error["detail"]
        assert see(socket, face, 1)["type"] == "result"


def big_picture() -> bytes:
    return jpeg(Image.new("L", (5000, 4000)), format="PNG")


UNREADABLE = {
    "nothing": (b"", "empty"),
    "text": (b"hello", "not a picture"),
    "half a picture": (b"\xff\xd8\xff\xe0" + bytes(200), "frame"),
    "GIF": (jpeg(Image.new("L", (8, 8)), format="GIF"), "expected JPEG, PNG, WEBP"),
    "a picture of 20 million pixels": (big_picture(), "5000x4000 pixels"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_picture_is_an_error_and_the_session_goes_on(client: TestClient, face: bytes, name: str) -> None:
    data, words = UNREADABLE[name]
    with session(client) as socket:
        error = see(socket, data, 7)
        assert (error["type"], error["number"]) == ("error", 7)
        assert words in error["detail"]
        assert see(socket, face, 8)["type"] == "result"
        assert ask(socket, {"type": "statistics"})["frames"] == 1


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_png_and_webp_are_read_too(client: TestClient, format: str) -> None:
    picture = jpeg(Image.new("RGB", (64, 48)), format=format)
    with session(client) as socket:
        seen = see(socket, picture)
    assert (seen["width"], seen["height"], seen["note"]) == (64, 48, "no face found: nearly black")


NO_FRAMES = [b"", bytes(11), *(struct.pack("<Id", 1, time) for time in (math.nan, math.inf, -math.inf, 1e300))]


@pytest.mark.parametrize("data", NO_FRAMES, ids=repr)
def test_binary_that_is_no_frame_ends_the_session(client: TestClient, data: bytes) -> None:
    with session(client) as socket:
        socket.send_bytes(data)
        closed = closing(socket)
    assert closed.code == 1007
    assert "no frame" in closed.reason


UNKNOWN = ["", "hello", "[1]", "null", "{}", '{"type": 1}', '{"type": "begin"}', '{"type": "start"}', "[" * 5000]


@pytest.mark.parametrize("text", UNKNOWN, ids=lambda text: text[:20])
def test_unknown_text_ends_the_session(client: TestClient, text: str) -> None:
    with session(client) as socket:
        socket.send_text(text)
        assert closing(socket).code == 1003


def test_the_first_message_must_be_a_start(client: TestClient, face: bytes) -> None:
    for first in ({"bytes": HEAD.pack(0, 0) + face}, {"text": '{"type": "stop"}'}):
        with client.websocket_connect(URL) as socket:
            socket.send({"type": "websocket.receive", **first})
            assert closing(socket).code == 1003


@pytest.mark.parametrize("message", [{"bytes": bytes(HEAD.size + MAX_BYTES + 1)}, {"text": " " * 20_000}], ids=list)
def test_a_message_that_is_too_large_ends_the_session(client: TestClient, message: dict[str, Any]) -> None:
    with session(client) as socket:
        socket.send({"type": "websocket.receive", **message})
        assert closing(socket).code == 1009


def test_more_frames_in_flight_than_the_credit_end_the_session(client: TestClient, face: bytes) -> None:
    with session(client) as socket:
        for number in range(CREDIT + 6):
            socket.send_bytes(HEAD.pack(number, number / 32) + face)
        closed = closing(socket)
    assert closed.code == 1008
    assert "in flight" in closed.reason


def test_a_silent_session_ends(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SILENCE", 0.1)
    with session(client) as socket:
        assert closing(socket).code == 1001


def test_an_earlier_time_starts_the_tracks_again_and_the_statistics_go_on(client: TestClient, face: bytes) -> None:
    with session(client) as socket:
        times = [5.0, 5.1, 5.2, 0.0, 0.1, -3.0]
        tracks = [see(socket, face, number, time)["faces"][0]["track"] for number, time in enumerate(times)]
        assert tracks == [1, 1, 1, 2, 2, 3]
        statistics = ask(socket, {"type": "statistics"})
    assert (statistics["frames"], statistics["seconds"], statistics["tracks"]) == (6, 0.3, 3)


def test_one_session_too_many_is_refused_until_another_ends(client: TestClient) -> None:
    with session(client), session(client):
        with client.websocket_connect(URL, subprotocols=[PROTOCOL]) as third:
            closed = closing(third)
        assert closed.code == 1013
        assert "2 sessions" in closed.reason
    with session(client), session(client):
        pass


def test_sessions_do_not_share_tracks_settings_or_statistics(client: TestClient, face: bytes) -> None:
    empty = jpeg(Image.fromarray(np.full((240, 320, 3), 200, np.uint8)))
    with session(client) as one, session(client, labels="fer2013") as other:
        for number in range(4):
            for socket, picture in ((one, face), (other, empty)):
                socket.send_bytes(HEAD.pack(number, number / 32) + picture)
            assert len(one.receive_json()["faces"]) == 1
            assert other.receive_json()["faces"] == []
        assert ask(one, {"type": "statistics"})["faces"] == 4
        assert ask(other, {"type": "statistics"})["label_set"] == "fer2013"


@pytest.mark.parametrize("moment", ["before the start", "while the model loads", "while a frame is seen"])
def test_a_client_that_leaves_at_any_moment_frees_its_session(client: TestClient, face: bytes, moment: str) -> None:
    for _ in range(5):
        with client.websocket_connect(URL) as socket:
            if moment != "before the start":
                socket.send_json({"type": "start"})
            if moment == "while a frame is seen":
                socket.receive_json()
                socket.send_bytes(HEAD.pack(0, 0) + face)
    deadline = clock.monotonic() + 20
    while clock.monotonic() < deadline:
        with client.websocket_connect(URL) as one, client.websocket_connect(URL) as other:
            if all(ask(socket, {"type": "start"})["type"] == "ready" for socket in (one, other)):
                return
    pytest.fail("a session is still counted")


def test_messages_are_json_without_escapes(client: TestClient) -> None:
    with client.websocket_connect(URL) as socket:
        socket.send_json({"type": "start", "model": "größer"})
        text = socket.receive_text()
    assert "größer" in text
    assert json.loads(text)["type"] == "error"


# From here on a server with sockets.


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(loaded(sessions=3)) as port:
        yield port


@contextmanager
def opened(port: int, **options: Any) -> Iterator[ClientConnection]:
    url = f"ws://127.0.0.1:{port}/v1/live"
    with connect(url, **{"subprotocols": [Subprotocol(PROTOCOL)], "compression": None, **options}) as socket:
        yield socket


@contextmanager
def started(port: int, **options: Any) -> Iterator[ClientConnection]:
    """A session that has started."""
    with opened(port, **options) as socket:
        socket.send('{"type": "start"}')
        assert json.loads(socket.recv())["type"] == "ready"
        yield socket


def code(socket: ClientConnection) -> int | None:
    """Return the code that a connection is closed with, after any number of messages."""
    try:
        while True:
            socket.recv(timeout=20)
    except ConnectionClosed as closed:
        return None if closed.rcvd is None else closed.rcvd.code


def status(port: int, **options: Any) -> int:
    """Return the status of a handshake that is refused."""
    with pytest.raises(InvalidStatus) as refused, opened(port, **options):
        pass
    return int(refused.value.response.status_code)


FOREIGN = [
    "http://evil.example",
    "null",
    "https://127.0.0.1",
    "http://127.0.0.1",
    "http://localhost.evil.example",
    "file://",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_pages_of_other_origins_are_refused_at_the_handshake(port: int, origin: str) -> None:
    assert status(port, origin=Origin(origin)) == 403


def test_the_own_page_and_allowed_ones_are_let_in(face: bytes) -> None:
    with serving(loaded(origins=("https://faces.example",))) as port:
        for origin in (f"http://127.0.0.1:{port}", "https://faces.example"):
            with started(port, origin=Origin(origin)) as socket:
                socket.send(HEAD.pack(0, 0) + face)
                assert json.loads(socket.recv())["type"] == "result"
        assert status(port, origin=Origin("https://other.example")) == 403


def test_a_token_comes_as_a_second_subprotocol_which_is_not_answered(face: bytes) -> None:
    token = "se%cret/(="
    with serving(loaded(token=token)) as port:
        assert status(port) == 403
        for wrong in ("", "secret", "mien.live.1"):
            assert status(port, subprotocols=[Subprotocol(PROTOCOL), Subprotocol(f"mien.token.{wrong}")]) == 403
        carried = Subprotocol(f"mien.token.{quote(token, safe='')}")
        with started(port, subprotocols=[Subprotocol(PROTOCOL), carried]) as socket:
            assert socket.subprotocol == PROTOCOL
            socket.send(HEAD.pack(0, 0) + face)
            assert json.loads(socket.recv())["type"] == "result"


def test_a_large_message_is_refused_by_a_server_too(port: int) -> None:
    with started(port) as socket:
        socket.send(bytes(HEAD.size + MAX_BYTES + 1))
        assert code(socket) == 1009


def test_frames_beyond_the_credit_are_refused_by_a_server_too(port: int, face: bytes) -> None:
    with started(port) as socket:
        with suppress(ConnectionClosed):
            for number in range(20):
                socket.send(HEAD.pack(number, number) + face)
        assert code(socket) == 1008


def test_clients_that_vanish_leave_no_session_no_thread_and_no_line_in_the_log(
    port: int, face: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def can_start_all() -> bool:
        with ExitStack() as stack:
            sockets = [stack.enter_context(opened(port)) for _ in range(3)]
            for socket in sockets:
                socket.send('{"type": "start"}')
            try:
                return all(json.loads(socket.recv())["type"] == "ready" for socket in sockets)
            except ConnectionClosed:
                return False

    assert can_start_all()
    threads = {thread.name for thread in threading.enumerate()}
    for i in range(12):
        with started(port) if i % 3 else opened(port) as socket:
            for number in range(i % 3):
                socket.send(HEAD.pack(number, number) + face)
            socket.socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))  # a reset instead of an end
            socket.socket.close()
    deadline = clock.monotonic() + 20
    while not can_start_all():
        assert clock.monotonic() < deadline
    ours = {thread.name for thread in threading.enumerate() if thread.name.startswith(("mien", "Thread"))}
    assert len(ours - threads) <= 1  # of the pool, which grows to its size
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_end_of_the_service_closes_open_sessions(face: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as stack:
        with serving(loaded()) as port:
            sockets = [stack.enter_context(start(port)) for start in (opened, started, started)]
            for number in range(2):
                sockets[-1].send(HEAD.pack(number, number) + face)
        assert [code(socket) for socket in sockets] == [1012] * 3  # service restart, of IANA's registry
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_sessions_have_their_turns_one_after_the_other(face: bytes) -> None:
    n_frames, order = 30, []

    def see_all(port: int, name: str, together: threading.Barrier) -> None:
        with started(port) as socket:
            together.wait(20)
            for number in range(n_frames + CREDIT):
                if number >= CREDIT:
                    assert json.loads(socket.recv())["type"] == "result"
                    order.append(name)
                if number < n_frames:
                    socket.send(HEAD.pack(number, number / 32) + face)

    with serving(loaded(workers=1)) as port:
        together = threading.Barrier(3)
        threads = [threading.Thread(target=see_all, args=(port, name, together)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    first = next(i for i, name in enumerate(order, start=1) if order[:i].count(name) == n_frames)
    assert min(order[:first].count(name) for name in "abc") > n_frames / 2


def test_a_session_ends_at_once_though_messages_follow_the_wrong_one(port: int, face: bytes) -> None:
    with opened(port) as socket:
        socket.send('{"type": "start", "colour": "red"}')
        for _ in range(3):
            with suppress(ConnectionClosed):
                socket.send('{"type": "change"}')
        assert code(socket) == 1008
    with started(port) as socket:
        for message in (HEAD.pack(0, 0) + face, '{"type": "stop"}', HEAD.pack(1, 1) + face, '{"type": "change"}'):
            with suppress(ConnectionClosed):
                socket.send(message)
        assert code(socket) == 1000
