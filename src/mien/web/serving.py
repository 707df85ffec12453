"""Running the service: its socket, certificate, signals and log."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mien.errors import ConfigError, InputError
from mien.files import printable
from mien.web.engine import Engine
from mien.web.metrics import JsonLines
from mien.web.problems import Problem, response
from mien.web.server import app_of
from mien.web.settings import ServerSettings

HEAD_SECONDS = 10  # for the head of a request, and for the rest of a body that is refused
GRACE_SECONDS = 1  # for requests in flight when the service ends


def serve(
    settings: ServerSettings,
    listening: socket.socket,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    log: bool = False,
    on_start: Callable[[], None] = lambda: None,
) -> None:
    """Serve until Ctrl+C or SIGTERM, and then end this process. The model loads while the service answers already.

    Args:
        settings: Of the service.
        listening: The socket, which is closed at the end.
        certificate: PEM file for https.
        key: PEM file of its private key; None where it is in the same file.
        log: Whether each request is logged, not only those that fail.
        on_start: Called once requests are answered.

    Raises:
        MienError: The default model or detector cannot be loaded, or the certificate is unusable.
    """
    _set_up_log(logging.INFO if log else logging.WARNING)
    server = Server(Engine(settings), certificate=certificate, key=key, on_start=on_start)
    server.run(sockets=[listening])
    if server.failure is not None:
        raise server.failure
    sys.stdout.flush()
    os._exit(0)  # Python would wait for threads that compute, and take half a second to free all modules


def listen(host: str, port: int) -> socket.socket:
    """Open the socket of the service.

    Args:
        host: Name or address of this machine.
        port: 0 for a free one.

    Raises:
        InputError: The address is not one of this machine, or the port is taken or reserved.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, UnicodeError) as error:  # the latter for a name that cannot be one
        where, number = f"cannot listen on {host}, port {port}", getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            raise InputError(f"{where}: the port is in use; choose a free one with --port 0") from error
        if number == errno.EACCES and port < 1024:
            raise InputError(f"{where}: ports below 1024 are reserved; choose one above, as --port 8443") from error
        if isinstance(error, (socket.gaierror, UnicodeError)) or number == errno.EADDRNOTAVAIL:
            raise InputError(f"{where}: this machine has no such address; try 127.0.0.1, or 0.0.0.0") from error
        raise InputError(f"{where}: {error.strerror or error}; choose another --host or --port") from error


def check_certificate(certificate: Path, key: Path | None) -> None:
    """Check that a certificate and its key can be used.

    Raises:
        ConfigError: A file is missing or no PEM, the key is another one's, or it needs a passphrase.
    """
    for path in filter(None, (certificate, key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot read '{printable(path)}': {error.strerror}; expected a PEM file") from error
    names = " and ".join(f"'{printable(path)}'" for path in (certificate, key) if path is not None)

    def refuse() -> str:
        raise ConfigError(f"the key of {names} needs a passphrase; save it without one: openssl pkey -in KEY -out NEW")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=refuse)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or "no PEM"
        raise ConfigError(
            f"cannot use {names} for https ({reason}); expected a certificate and its private key as PEM files"
        ) from error


class Server(uvicorn.Server):
    """Runs an engine's app. It loads the model in the background, and a signal is its usual end.

    Args:
        engine: Not loaded yet.
        certificate: See `serve`.
        key: See `serve`.
        on_start: See `serve`.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        certificate: Path | None = None,
        key: Path | None = None,
        on_start: Callable[[], None] = lambda: None,
    ) -> None:
        config = uvicorn.Config(
            app_of(engine), http=_Protocol, ws="websockets-sansio", ws_max_size=engine.settings.max_upload,
            ws_per_message_deflate=False, log_config=None, access_log=False, server_header=False, date_header=False,
            proxy_headers=False, timeout_graceful_shutdown=GRACE_SECONDS, ssl_certfile=certificate, ssl_keyfile=key,
            lifespan="on",
        )  # fmt: skip
        super().__init__(config)
        self.engine = engine
        self.failure: Exception | None = None
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loading = asyncio.get_running_loop().run_in_executor(None, self._load)

    def _load(self) -> None:
        try:
            self.engine.load()
            warnings.simplefilter("ignore", UserWarning)  # of pictures, which name files of clients
            self._on_start()
        except Exception as error:  # whatever it is, a service without a model is of no use
            self.failure, self.should_exit = error, True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Protocol(H11Protocol):
    """HTTP/1.1 that closes connections whose next request does not begin in time."""

    _expiry: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        # asyncio does so for sockets of a named protocol alone, which `socket.create_server` makes not. Otherwise the
        # second packet of an answer waits for the client's delayed acknowledgement of the first: 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
        self._expect_request()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no request with a problem, unless an answer to an earlier one is in flight."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            refused = response(Problem("bad-request", "this is no HTTP/1.1 request, or its head is too long"))
            headers = [*refused.raw_headers, (b"connection", b"close")]
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=bytes(refused.body)),
                          h11.EndOfMessage()):  # fmt: skip
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_request()

    def _expect_request(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = self.loop.call_later(HEAD_SECONDS, self._close_unless_begun, self.cycle)

    def _close_unless_begun(self, last: object) -> None:
        if self.cycle is last and self in self.connections:  # a WebSocket has left them
            self.transport.close()


def _set_up_log(level: int) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    levels = {"mien.web": level, "uvicorn.error": logging.WARNING, "python_multipart": logging.CRITICAL}
    for name, least in levels.items():  # the last one has a line for every form that is none
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least)
