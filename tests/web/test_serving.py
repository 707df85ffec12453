"""The service in a process or thread of its own: clients that are slow, leave or are many, its start and its end."""

from __future__ import annotations

import json
import logging
import mimetypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from threading import Event
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")
pytest.importorskip("httpx", reason="needs the extra: pip install '.[client]'")

import httpx

from commands import error_of
from mien.errors import MienError
from mien.web import serving as web_serving
from mien.web.engine import Engine
from mien.web.serving import Server, listen
from photographs import scene, write_pictures
from services import ASTRONAUT, PNG, calling, connect, loaded, received, serving, settings

HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


@pytest.fixture
def quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log, in which at the end is neither a traceback nor an error."""
    caplog.set_level(logging.INFO)
    yield caplog
    assert [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info] == []


class TestClients:
    def test_eight_at_once_get_the_answers_of_one_after_the_other(self, tmp_path: Path) -> None:
        names = [f"{i}.png" for i in range(4)]
        folder = write_pictures(tmp_path, {name: scene(i) for i, name in enumerate(names)})
        with serving(loaded(batch_ms=5)) as port, httpx.Client(base_url=f"http://localhost:{port}") as client:

            def ask(job: tuple[str, str]) -> object:
                name, detector = job
                files = {"file": (name, (folder / name).read_bytes())}
                return client.post("/v1/predict", files=files, params={"detector": detector}, timeout=60).json()

            jobs = [(name, detector) for name in names for detector in ("haar", "whole")] * 4
            serial = {job: ask(job) for job in set(jobs)}
            with ThreadPoolExecutor(8) as pool:
                assert list(pool.map(ask, jobs)) == [serial[job] for job in jobs]
        faces = [len(answer["pictures"][0]["faces"]) for answer in serial.values()]  # type: ignore[index]
        assert min(faces) == 1

    def test_silent_uploads_take_no_place_from_others(self, quiet_log: pytest.LogCaptureFixture) -> None:
        data = ASTRONAUT.read_bytes()
        with serving(loaded(workers=1, waiting=1, read_seconds=60)) as port:
            silent = [connect(port) for _ in range(18)]
            for connection in silent:
                connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nhalf")
            answer = httpx.post(f"http://localhost:{port}/v1/predict", content=data, headers=PNG, timeout=60)
            assert answer.status_code == 200
            for connection in silent:  # they leave in the midst of the upload
                connection.close()
            assert httpx.get(f"http://localhost:{port}/v1/health").status_code == 200

    def test_a_slow_upload_is_ended(self, quiet_log: pytest.LogCaptureFixture) -> None:
        with serving(loaded(read_seconds=0.2)) as port, connect(port) as connection:
            connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nhalf")
            answer = received(connection)  # the service closes the connection
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"the body did not arrive within 0.2 s" in answer

    def test_an_answer_waits_for_no_acknowledgement(self, monkeypatch: pytest.MonkeyPatch) -> None:
        delays, made = [], web_serving._Protocol.connection_made

        def noting(protocol: web_serving._Protocol, transport: Any) -> None:
            made(protocol, transport)
            found = transport.get_extra_info("socket")
            delays.append(found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0)

        monkeypatch.setattr(web_serving._Protocol, "connection_made", noting)
        with serving(loaded()) as port:
            assert httpx.get(f"http://localhost:{port}/v1/health").status_code == 200
        assert delays == [False]

    def test_a_connection_without_a_request_is_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(web_serving, "HEAD_SECONDS", 0.2)
        with serving(loaded()) as port, connect(port) as connection:
            connection.sendall(b"GET /v1/health HTTP/1.1\r\nHo")
            assert received(connection) == b""

    @pytest.mark.parametrize("announced", [b"Content-Length: 40000000", b"Transfer-Encoding: chunked"])
    def test_a_body_that_is_too_large_is_refused_before_its_end(self, announced: bytes) -> None:
        with serving(loaded(max_upload=1000)) as port, connect(port) as connection:
            connection.sendall(HEAD + announced + b"\r\n\r\n7D0\r\n" + bytes(2000))
            assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")

    def test_too_many_at_once_are_asked_to_come_again(self) -> None:
        engine, gate, entered = loaded(workers=1, waiting=1), Event(), Event()

        def wait() -> None:
            entered.set()
            gate.wait(20)

        with calling(engine) as client:
            for _ in range(2):
                client.portal.start_task_soon(engine.run, wait)
            assert entered.wait(20)
            end = time.monotonic() + 20  # when both are done
            while "mien_queue 2.0" not in client.get("/metrics").text:
                assert time.monotonic() < end
                time.sleep(0.01)
            refused = client.post("/v1/predict", content=ASTRONAUT.read_bytes(), headers=PNG)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert refused.json()["detail"] == "busy: 2 requests are waiting; try again in a moment"
            gate.set()
            while "mien_queue 0.0" not in client.get("/metrics").text:
                time.sleep(0.01)
            assert client.post("/v1/predict", content=ASTRONAUT.read_bytes(), headers=PNG).status_code == 200

    def test_a_service_that_ends_says_so(self) -> None:
        engine = loaded()
        with calling(engine) as client:
            engine.close()
            refused = client.post("/v1/predict", content=ASTRONAUT.read_bytes(), headers=PNG)
        assert (refused.status_code, refused.json()["detail"]) == (503, "the service is shutting down; try again later")

    def test_uploads_that_would_take_all_memory_are_asked_to_come_again(self) -> None:
        engine = loaded()
        with calling(engine) as client:
            engine.bodies.take(engine.bodies.total - 1000)
            refused = client.post("/v1/predict", content=ASTRONAUT.read_bytes(), headers=PNG)
            assert (refused.status_code, refused.json()["title"]) == (503, "busy")
            engine.bodies.give(engine.bodies.total - 1000)
            assert client.post("/v1/predict", content=ASTRONAUT.read_bytes(), headers=PNG).status_code == 200
            assert engine.bodies.used == 0

    def test_pictures_that_are_decoded_at_once_share_a_budget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mien.web.engine.DECODING_BYTES", 1000)  # below one picture: each is decoded alone
        files = [("file", ("a.png", ASTRONAUT.read_bytes()))] * 6
        with calling(loaded(workers=3)) as client:
            pictures = client.post("/v1/predict", files=files).json()["pictures"]
        assert [len(picture["faces"]) for picture in pictures] == [1] * 6


class TestLog:
    def test_a_fault_is_logged_without_its_message_and_answered_without_a_traceback(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("geheim.png")

        monkeypatch.setattr("mien.web.predict.first_frame", fail)
        with calling(loaded()) as client:
            answer = client.post("/v1/predict?model=ferg", content=ASTRONAUT.read_bytes(), headers=PNG)
        assert (answer.status_code, answer.json()["detail"]) == (
            500, "the request failed with an internal error; see the service's log",
        )  # fmt: skip
        (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
        line = json.loads(web_serving.JsonLines().format(record))
        assert (line["level"], line["route"], line["status"]) == ("error", "/v1/predict", 500)
        assert line["fault"].startswith("RuntimeError at test_serving.py:")
        assert "geheim" not in json.dumps(line)

    def test_a_line_per_request_has_no_names_queries_or_tokens(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        bearer = {"authorization": "Bearer geheim-token"}
        with calling(loaded(token="geheim-token")) as client:
            client.post("/v1/predict?model=geheim-x", files={"file": ("geheim.png", b"x")}, headers=bearer)
            client.get("/v1/geheim?token=geheim-token")
            client.get("/geheim/path")
        lines = [web_serving.JsonLines().format(r) for r in caplog.records if r.name == "mien.web.requests"]
        assert [(json.loads(line)["route"], json.loads(line)["status"]) for line in lines] == [
            ("/v1/predict", 422), ("other", 401), ("other", 404),
        ]  # fmt: skip
        assert "geheim" not in "".join(lines)

    def test_metrics_count_requests_faces_and_batches_and_need_the_token(self) -> None:
        with calling(loaded(token="secret")) as client:
            bearer = {"authorization": "Bearer secret"}
            client.post("/v1/predict", content=ASTRONAUT.read_bytes(), headers=PNG | bearer)
            assert client.get("/metrics").status_code == 401
            text = client.get("/metrics", headers=bearer).text
        for line in (
            'mien_requests_total{method="POST",route="/v1/predict",status="200"} 1.0',
            'mien_requests_total{method="GET",route="other",status="401"} 1.0',
            'mien_request_seconds_count{route="/v1/predict"} 1.0',
            "mien_faces_total 1.0", 'mien_batch_faces_bucket{le="1.0"} 1.0', "mien_queue 0.0", "mien_sessions 0.0",
        ):  # fmt: skip
            assert line in text.splitlines()


class TestStart:
    def test_the_service_answers_503_while_its_model_loads(self) -> None:
        with calling(Engine(settings())) as client:
            for method, path in (("GET", "/v1/health"), ("GET", "/v1/about"), ("POST", "/v1/predict")):
                answer = client.request(method, path, content=b"x", headers=PNG)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
                assert "loading" in answer.json()["detail"]
            assert client.get("/v1/openapi.json").status_code == 200

    def test_a_model_that_cannot_be_loaded_ends_the_service(self) -> None:
        server = Server(Engine(settings(model="nix")))
        server.run(sockets=[listen("127.0.0.1", 0)])
        with pytest.raises(MienError, match="no model 'nix'"):
            raise server.failure or AssertionError

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["--host", "127.0.0.1:9000"], "an address without its port: --host 127.0.0.1 --port 9000"),
            (["--host", "0.0.0.0"], "0.0.0.0 is reachable from other machines: set a token with --token"),
            (["--host", "::", "--no-token"], "a service on :: must know the host name that clients use: --allow-host"),
            (["--host", "nowhere.invalid", "--token", "a", "--allow-host", "b"], "this machine has no such address"),
            (["--host", "192.0.2.1", "--token", "a"], "this machine has no such address"),
            (["--host", "a" * 64 + ".x", "--token", "a", "--allow-host", "b"], "this machine has no such address"),
            (["--tls-cert", "a.pem"], "https needs both --tls-cert and --tls-key"),
            (["--tls-cert", "a.pem", "--tls-key", "b.pem"], "cannot read 'a.pem': No such file or directory"),
            (["--allow-host", "http://a"], "'http://a' is no name of a host"),
            (["--allow-origin", "a"], "'a' is no origin of a page"),
            (["--token", " "], "the token is empty"),
            (["--max-upload", "nan"], "--max-upload is nan"),
            (["--max-upload", "0"], "--max-upload is 0"),
            (["--model", "nix"], "no model 'nix'; choose from"),
            (["--detector", "nix"], "unknown detector 'nix'; choose from"),
        ],
    )
    def test_a_wrong_option_is_one_line(
        self, words: list[str], line: str, capsys: pytest.CaptureFixture[str], own_folder: None
    ) -> None:
        assert line in error_of(capsys, "serve", "--port", 0, *words)

    def test_a_port_in_use_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            line = error_of(capsys, "serve", "--port", port)
        assert f"port {port}: the port is in use; choose a free one with --port 0" in line

    def test_a_reserved_port_is_one_line(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("socket.create_server", refuse)
        assert "ports below 1024 are reserved" in error_of(capsys, "serve", "--port", 80)
        assert "port 8008: Permission denied; choose another" in error_of(capsys, "serve", "--port", 8008)


def test_modules_are_javascript_whatever_the_system_calls_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mimetypes, "_db", mimetypes.MimeTypes())  # the system's types are as they were after this test
    mimetypes.add_type("text/plain", ".js")
    with calling(loaded()) as service:
        for path in ("/main.js", "/docs/docs.js"):
            assert service.get(path).headers["content-type"].startswith("text/javascript")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that nobody signed, and its key."""
    if which("openssl") is None:
        pytest.skip("needs openssl, which makes a certificate")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    words = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {cert}"
    subprocess.run([*words.split(), "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    return cert, key


class TestTls:
    def test_https(self, certificate: tuple[Path, Path]) -> None:
        import ssl

        cert, key = certificate
        trust = ssl.create_default_context(cafile=cert)
        with serving(loaded(), certificate=cert, key=key) as port:
            assert httpx.get(f"https://localhost:{port}/v1/health", verify=trust).json() == {"status": "ok"}

    @pytest.mark.parametrize("fault", ["no PEM", "another key", "only the key", "passphrase"])
    def test_a_certificate_that_cannot_be_used_is_one_line(
        self, fault: str, certificate: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        cert, key = certificate
        other = tmp_path / "other.pem"
        if fault == "no PEM":
            other.write_bytes(b"\xff\0no certificate")
            cert = other
        elif fault == "only the key":
            cert = key
        else:
            cipher = ["-aes128", "-passout", "pass:abcd"] if fault == "passphrase" else []
            subprocess.run(["openssl", "genrsa", *cipher, "-out", other, "2048"], check=True, capture_output=True)
            key = other
        line = error_of(capsys, "serve", "--port", 0, "--tls-cert", cert, "--tls-key", key)
        assert ("needs a passphrase" if fault == "passphrase" else "expected a certificate and its private key") in line


@contextmanager
def serving_process(folder: Path, *words: object) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `mien serve` on a free port; yield the process and the port."""
    command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--model", "ferg", "--detector", "haar", *words]
    process = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
        env={**os.environ, "MIEN_OFFLINE": "1", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("mien is running at http://127.0.0.1:"), line + process.communicate()[1]
        yield process, int(line.split(";")[0].rpartition(":")[2])
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_it_with_open_connections_and_no_word(self, number: int, tmp_path: Path) -> None:
        with serving_process(tmp_path) as (process, port):
            idle, half, answered = connect(port), connect(port), connect(port)
            half.sendall(HEAD + b"Content-Length: 1000\r\n\r\nhalf")
            answered.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answered.recv(65536).startswith(b"HTTP/1.1 200 ")
            process.send_signal(number)
            _, log = process.communicate(timeout=20)
            for connection in (idle, half, answered):
                connection.close()
        assert process.returncode == 0
        assert "Traceback" not in log
        assert all(json.loads(line)["level"] in ("warning", "error") for line in log.splitlines())
