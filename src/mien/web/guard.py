"""What is refused before a request is read: foreign hosts, foreign origins, missing tokens."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.web.problems import response
from mien.web.settings import ServerSettings

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
TOKEN_PROTOCOL = "mien.token."  # a WebSocket's subprotocol that carries the token: pages cannot set headers
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


class Guard:
    """An ASGI app that lets through what the service may answer, and adds the headers of a strict page.

    Args:
        app: The app behind it.
        settings: Names, origins and the token.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
        else:
            await response(*refusal)(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return the status and reason of a refusal, or None."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in (*LOCAL_HOSTS, *self.settings.hosts):
            return 421, f"the host '{host}' is not one of this service; name it with --allow-host"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host and origin not in self.settings.origins:
            return 403, f"pages of '{origin}' may not call this service; name it with --allow-origin"
        if origin is None and headers.get("sec-fetch-site") == "cross-site" and scope.get("method") == "POST":
            return 403, "pages of other sites may not call this service"
        if (
            self.settings.token is not None
            and _needs_token(scope)
            and not _carries(scope, headers, self.settings.token)
        ):
            return 401, "this service needs its token: Authorization: Bearer TOKEN"
        return None


def _name(host: str) -> str:
    """Return the name in a Host header, without the port and the brackets of IPv6."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _needs_token(scope: Scope) -> bool:
    path = str(scope["path"])
    return path.startswith("/v1/") and path != "/v1/health"


def _carries(scope: Scope, headers: Headers, token: str) -> bool:
    if scope["type"] == "websocket":
        given = [name.removeprefix(TOKEN_PROTOCOL) for name in scope["subprotocols"] if name.startswith(TOKEN_PROTOCOL)]
    else:
        given = [headers.get("authorization", "").removeprefix("Bearer ")]
    return any(hmac.compare_digest(candidate.encode(), token.encode()) for candidate in given)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: Any = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
