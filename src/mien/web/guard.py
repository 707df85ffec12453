"""Requests that are refused before they are read: foreign hosts, foreign origins, missing tokens."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.web.browser import POLICY
from mien.web.problems import Problem, response
from mien.web.settings import DEFAULT_PORTS, ServerSettings, parse_host, parse_origin

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
TOKEN_PROTOCOL = "mien.token."  # a WebSocket's subprotocol that carries the token: pages cannot set headers
OPEN = ("/v1/health", "/v1/openapi.json")  # of the routes below /v1, those that need no token
SECURITY_HEADERS = {
    "Content-Security-Policy": f"{POLICY}; manifest-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
PREFLIGHT_HEADERS = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Content-Disposition",
    "Access-Control-Allow-Private-Network": "true",
    "Access-Control-Max-Age": "600",
}


class Guard:
    """An ASGI app that lets through what the service may answer, and adds the headers of a strict page.

    Args:
        app: The app behind it.
        settings: Names, origins and the token.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app, self.settings = app, settings
        self._hosts = frozenset({*LOCAL_HOSTS, *settings.hosts})
        self._token = None if settings.token is None else _digest(settings.token.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sending = _with_headers(send, self._headers_for(headers))
        try:
            self._check_caller(scope, headers)
            if _is_preflight(scope, headers):
                await Response(status_code=204, headers=PREFLIGHT_HEADERS)(scope, receive, sending)
                return
            self._check_token(scope, headers)
        except Problem as problem:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
            else:
                await response(problem)(scope, receive, sending)
            return
        await self.app(scope, receive, sending)

    def _check_caller(self, scope: Scope, headers: Headers) -> None:
        """Raise Problem where the host or the calling page is foreign."""
        host = _only(headers, "host")
        named = parse_host(host)
        if named is None or named[0] not in self._hosts:
            raise Problem("foreign-host", f"host '{host}' is not allowed; add it with --allow-host")
        if "origin" in headers:
            self._check_origin(_only(headers, "origin"), named, scope["scheme"])
        elif _comes_from_elsewhere(scope, headers):
            raise Problem(
                "foreign-origin", "pages of other sites may not call this service; name them with --allow-origin"
            )

    def _check_origin(self, origin: str, host: tuple[str, int | None], scheme: str) -> None:
        page = parse_origin(origin)
        if page is None or not (self._is_own(page, host, scheme) or origin.lower() in self.settings.origins):
            raise Problem(
                "foreign-origin", f"pages of '{origin}' may not call this service; name it with --allow-origin"
            )

    @staticmethod
    def _is_own(page: tuple[str, str, int | None], host: tuple[str, int | None], scheme: str) -> bool:
        """Return whether a page is the service's own; behind a proxy that ends TLS, its scheme is not known."""
        page_scheme, name, port = page
        own_port = None if host[1] == DEFAULT_PORTS[page_scheme] else host[1]
        return (name, port) == (host[0], own_port) and (scheme in ("http", "ws") or page_scheme == "https")

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        if self._token is None or not _needs_token(own_path(scope)):
            return
        given = _tokens(scope, headers)
        if not given:
            raise Problem("token-needed", "this service needs its token: Authorization: Bearer TOKEN")
        if not any(hmac.compare_digest(_digest(token), self._token) for token in given):
            raise Problem("token-wrong", "wrong token; the service's token was set with --token or $MIEN_TOKEN")

    def _headers_for(self, headers: Headers) -> Mapping[str, str]:
        """Return the headers of every answer; an allowed page of another origin may read it."""
        origin = headers.get("origin", "").lower()
        if origin not in self.settings.origins:
            return SECURITY_HEADERS
        return {
            **SECURITY_HEADERS,
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": "Retry-After",
            "Vary": "Origin",
        }


def own_path(scope: Scope) -> str:
    """Return the path that the router takes: below the prefix at which another app has mounted this one."""
    path: str = scope["path"]
    prefix: str = scope.get("root_path", "")
    below = path.removeprefix(prefix)
    return below if below.startswith("/") or not below else path  # "/v1" is no prefix of "/v12"


def _only(headers: Headers, name: str) -> str:
    """Return the value of a header; empty where it is missing or there are several."""
    values = headers.getlist(name)
    return values[0] if len(values) == 1 else ""


def _comes_from_elsewhere(scope: Scope, headers: Headers) -> bool:
    """Return whether a browser marks a request without Origin as another page's, and it is no link to a page."""
    is_link = headers.get("sec-fetch-mode") == "navigate" and scope.get("method") in ("GET", "HEAD")
    return headers.get("sec-fetch-site", "none") in ("cross-site", "same-site") and not is_link


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return scope.get("method") == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def _needs_token(path: str) -> bool:
    return path.startswith(("/v1", "/metrics")) and path not in OPEN


def _tokens(scope: Scope, headers: Headers) -> list[bytes]:
    """Return the tokens that a request carries, none of them empty, as bytes of any encoding."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    given = [value.strip()] if scheme.lower() == "bearer" else []
    if scope["type"] == "websocket":
        names = [name for name in scope["subprotocols"] if name.startswith(TOKEN_PROTOCOL)]
        given += [unquote(name.removeprefix(TOKEN_PROTOCOL), "latin-1") for name in names]
    return [token.encode("latin-1", "replace") for token in given if token]  # as ASGI decodes headers


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()  # of one length: a comparison's time gives none away


def _with_headers(send: Send, added: Mapping[str, str]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in added.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
