"""Whatever goes wrong, the answer is a problem with a code, or a closed WebSocket."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")
pytest.importorskip("httpx", reason="needs the extra: pip install '.[client]'")

import httpx

from clips import write_video
from mien.warn import WarningCode
from mien.web.problems import PROBLEMS
from mien.web.server import DOCS
from services import connect, loaded, received, serving

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "web.md"
FOREIGN = {"origin": "http://evil.example"}
TEXT = {"content-type": "text/plain"}
UPGRADE = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
           "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(loaded(max_upload=100_000)) as port:
        yield port


@pytest.fixture(scope="module")
def video(port: int, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a video that is done."""
    data = write_video(tmp_path_factory.mktemp("clips") / "clip.mp4").read_bytes()
    answer = httpx.post(f"http://localhost:{port}/v1/videos", content=data, headers={"content-type": "video/mp4"})
    path = answer.headers["location"]
    end = time.monotonic() + 60
    while (job := httpx.get(f"http://localhost:{port}{path}").json())["state"] != "done":
        assert job["state"] != "failed", job
        assert time.monotonic() < end, job
        time.sleep(0.01)
    return str(path)


def problem_of(answer: httpx.Response) -> str:
    """Return the code of an answer that is a problem of its status."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["title"]) == (answer.status_code, body["code"].replace("-", " "))
    assert len(body["detail"].splitlines()) == 1
    assert answer.headers["x-content-type-options"] == "nosniff"
    return str(body["code"])


@pytest.mark.parametrize(
    ("method", "path", "headers", "code", "status"),
    [
        ("GET", "/nothing", {}, "not-found", 404),
        ("GET", "/nothing/at/all.js", {}, "not-found", 404),
        ("GET", "/v1", {}, "not-found", 404),
        ("GET", "/v1/", {}, "not-found", 404),
        ("GET", "/v1/predict/", {}, "not-found", 404),
        ("GET", "/v1/videos/unknown", {}, "not-found", 404),
        ("DELETE", "/v1/videos/unknown", {}, "not-found", 404),
        ("GET", "/v1/videos/unknown/faces.csv", {}, "not-found", 404),
        ("GET", "/v1/videos/unknown/nothing.csv", {}, "not-found", 404),
        ("GET", "/docs/nothing.js", {}, "not-found", 404),
        ("GET", "/docs/..%2f..%2fjobs.py", {}, "not-found", 404),
        ("GET", "/..%2fjobs.py", {}, "not-found", 404),
        ("GET", "/%00", {}, "not-found", 404),
        ("GET", f"/{'a' * 5000}", {}, "not-found", 404),
        ("GET", "/here/models/nothing.onnx", {}, "not-found", 404),
        ("POST", "/", {}, "method-not-allowed", 405),
        ("POST", "/docs", {}, "method-not-allowed", 405),
        ("POST", "/docs/docs.js", {}, "method-not-allowed", 405),
        ("GET", "/v1/predict", {}, "method-not-allowed", 405),
        ("PUT", "/v1/predict", {}, "method-not-allowed", 405),
        ("PATCH", "/v1/videos/unknown", {}, "method-not-allowed", 405),
        ("OPTIONS", "/v1/predict", {}, "method-not-allowed", 405),
        ("TRACE", "/v1/about", {}, "method-not-allowed", 405),
        ("CONNECT", "/v1/about", {}, "method-not-allowed", 405),
        ("ODD", "/v1/about", {}, "method-not-allowed", 405),
        ("POST", "/metrics", {}, "method-not-allowed", 405),
        ("GET", "/v1/live", {}, "websocket-only", 426),
        ("POST", "/v1/live", {}, "method-not-allowed", 405),
        ("POST", "/v1/predict", TEXT, "unsupported-content-type", 415),
        ("POST", "/v1/videos", TEXT, "unsupported-content-type", 415),
        ("POST", "/v1/predict?model=nothing", {"content-type": "image/png"}, "unknown-model", 422),
        ("POST", "/v1/predict?labels=nothing", {"content-type": "image/png"}, "unknown-labels", 422),
        ("POST", "/v1/predict?detector=nothing", {"content-type": "image/png"}, "unknown-detector", 422),
        ("POST", "/v1/predict?top=1", {"content-type": "image/png"}, "bad-input", 422),
        ("POST", "/v1/predict", {"content-type": "image/png"}, "unreadable-picture", 422),
        ("POST", "/v1/videos", {"content-type": "video/mp4"}, "unreadable-video", 422),
        ("GET", "/v1/about", FOREIGN, "foreign-origin", 403),
        ("OPTIONS", "/v1/predict", FOREIGN | {"access-control-request-method": "POST"}, "foreign-origin", 403),
        ("GET", "/", {"host": "evil.example"}, "foreign-host", 421),
        ("GET", "/v1/live", UPGRADE | {"connection": "keep-alive"}, "websocket-only", 426),
    ],
)
def test_an_answer_that_is_no_success_is_a_problem(
    port: int, method: str, path: str, headers: dict[str, str], code: str, status: int
) -> None:
    answer = httpx.request(method, f"http://localhost:{port}{path}", headers=headers)
    assert (problem_of(answer), answer.status_code) == (code, status)
    assert status == PROBLEMS[code][0]
    if status == 405:
        assert method not in answer.headers["allow"].split(", ")
        assert answer.json()["detail"] == f"this address takes {answer.headers['allow']}, not {method}; see /docs"


def test_a_body_that_is_too_large_is_a_problem(port: int) -> None:
    for route, kind in (("predict", "image/png"), ("draw", "image/png")):
        answer = httpx.post(
            f"http://localhost:{port}/v1/{route}", content=bytes(200_000), headers={"content-type": kind}
        )
        assert (problem_of(answer), answer.status_code) == ("too-large", 413)


@pytest.mark.parametrize(("asked", "status", "code"), [("bytes=900000-", 416, "bad-range"), ("x", 400, "bad-request")])
def test_a_wrong_range_of_a_result_is_a_problem(port: int, video: str, asked: str, status: int, code: str) -> None:
    answer = httpx.get(f"http://localhost:{port}{video}/faces.csv", headers={"range": asked})
    assert (answer.status_code, problem_of(answer)) == (status, code)
    assert ("content-range" in answer.headers) == (status == 416)


LONG = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + bytes(200_000)


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n",
        b"\x16\x03\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        LONG,
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
    ids=["words", "no host", "no name", "TLS", "no number", "long", "encoding"],
)  # fmt: skip
def test_bytes_that_are_no_request_get_a_problem(port: int, sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with connect(port) as connection:
        try:
            connection.sendall(sent)
            head, _, body = received(connection).partition(b"\r\n\r\n")
        except ConnectionError:
            if sent != LONG:  # which is refused before its end, and its rest never read
                raise
            return
    status = int(head.split()[1])
    assert status in (400, 501)
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "bad-request"
    assert [record for record in caplog.records if record.exc_info] == []


def test_bytes_after_a_request_that_are_none_break_no_answer(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with connect(port) as connection:
        connection.sendall(b"GET /v1/about HTTP/1.1\r\nHost: localhost\r\n\r\nhello\r\n\r\n")
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("path", ["/v1/health", "/v1/about", "/v1/openapi.json", "/metrics", "/docs", "/", "/main.js"])
def test_head_is_answered_as_get_without_a_body(port: int, path: str) -> None:
    head, got = (httpx.request(method, f"http://localhost:{port}{path}") for method in ("HEAD", "GET"))
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert "content-length" in head.headers


def test_head_of_an_address_without_get_has_no_body_either(port: int) -> None:
    head = httpx.head(f"http://localhost:{port}/v1/predict")
    assert (head.status_code, head.headers["allow"], head.content) == (405, "POST", b"")


def test_the_documentation_has_an_address_with_and_without_a_slash(port: int) -> None:
    answer = httpx.get(f"http://localhost:{port}/docs/", follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, "/docs")
    assert answer.text == (DOCS / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/live", FOREIGN, 403), ("/v1/live", {"host": "evil.example"}, 403), ("/v1/predict", {}, 403),
        ("/nothing", {}, 403), ("/", {}, 403), ("/v1/live", {"sec-websocket-version": "12"}, 400),
        ("/v1/live", {"sec-websocket-key": "short"}, 400),
    ],
)  # fmt: skip
def test_a_websocket_is_refused_by_a_status(port: int, path: str, headers: dict[str, str], status: int) -> None:
    answer = httpx.get(f"http://localhost:{port}{path}", headers=UPGRADE | headers)
    assert answer.status_code == status


def test_the_guide_lists_every_code_of_warnings() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert [code for code in get_args(WarningCode) if f"`{code}`" not in text] == []


def test_the_guide_lists_every_code_with_its_status() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    listed = {code: int(status) for code, status in re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", text, re.MULTILINE)}
    assert listed == {code: status for code, (status, _) in PROBLEMS.items()}
