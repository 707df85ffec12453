"""The service in tests: behind a client without a socket, or in a thread with one.

Starlette's own test client is not used: it warns unless a package is installed that nothing else needs.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")

pytest.importorskip("httpx", reason="needs the extra: pip install '.[client]'")

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Message

from mien.web.engine import Engine
from mien.web.server import app_of
from mien.web.serving import Server, listen
from mien.web.settings import ServerSettings

ASTRONAUT = Path(__file__).parents[1] / "docs" / "images" / "astronaut.png"
PNG = {"content-type": "image/png"}


def settings(**changes: Any) -> ServerSettings:
    """Return settings of a small model that comes with mien, without those of the user."""
    return ServerSettings(**{"model": "ferg", "detector": "haar", "models_dir": Path("no-models"), **changes})


class Caller:
    """Calls an app from a thread without an event loop.

    Args:
        app: The app.
        portal: Runs it.
    """

    def __init__(self, app: ASGIApp, portal: BlockingPortal) -> None:
        self.portal = portal
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        return self.portal.call(lambda: self._client.request(method, url, **options))

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> httpx.Response:
        return self.request("POST", url, **options)


@contextmanager
def calling(engine: Engine) -> Iterator[Caller]:
    """Call an engine's app, at http://localhost."""
    app = app_of(engine)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_lifespan(app)):
        yield Caller(app, portal)


@contextmanager
def mounted(prefix: str, engine: Engine) -> Iterator[Caller]:
    """Call an app that has mounted an engine's, whose lifespan no one runs, as under a server."""
    app = Starlette(routes=[Mount(prefix, app_of(engine))])
    with start_blocking_portal() as portal:
        yield Caller(app, portal)


@asynccontextmanager
async def _lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Start an app up and shut it down, as a server does."""
    requests: asyncio.Queue[Message] = asyncio.Queue()
    answers: asyncio.Queue[Message] = asyncio.Queue()
    ending = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, requests.get, answers.put))
    await requests.put({"type": "lifespan.startup"})
    assert await answers.get() == {"type": "lifespan.startup.complete"}
    yield
    await requests.put({"type": "lifespan.shutdown"})
    assert await answers.get() == {"type": "lifespan.shutdown.complete"}
    await ending


def loaded(**changes: Any) -> Engine:
    """Return an engine that is ready."""
    engine = Engine(settings(**changes))
    engine.load()
    return engine


@contextmanager
def serving(engine: Engine, *, port: int = 0, **options: Any) -> Iterator[int]:
    """Serve an engine in a thread, at any free port if it is 0; yield the port once it is ready."""
    listening, server = listen("127.0.0.1", port), Server(engine, **options)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not (engine.is_ready and server.started):
            assert server.failure is None
            assert thread.is_alive()
            time.sleep(0.01)
        yield int(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


def connect(port: int) -> socket.socket:
    """Return a raw connection to a service in a thread."""
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def received(connection: socket.socket) -> bytes:
    """Return all that a connection sends until its end."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)
