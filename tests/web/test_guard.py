"""Requests of foreign hosts, foreign pages and strangers are refused before they are read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")

from starlette.types import Message, Receive, Scope, Send

from mien.errors import ConfigError
from mien.web.guard import SECURITY_HEADERS, TOKEN_PROTOCOL, Guard
from mien.web.settings import ServerSettings, parse_host, parse_origin

Headers = list[tuple[str, str]]
LOCAL: Headers = [("host", "localhost:8008")]
PAGE = "https://page.example"


async def let_in(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def ask(
    headers: Headers, *, method: str = "POST", path: str = "/v1/predict", prefix: str = "", kind: str = "http",
    scheme: str = "http", **settings: Any,
) -> list[Message]:  # fmt: skip
    """Return what a guard sends for a request."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope: Scope = {"type": kind, "path": path, "scheme": scheme, "headers": raw, "query_string": b""}
    if prefix:
        scope["root_path"] = prefix
    if kind == "http":
        scope["method"] = method
    else:
        scope["subprotocols"] = [
            v.strip() for n, value in headers if n == "sec-websocket-protocol" for v in value.split(",")
        ]
    sent: list[Message] = []

    async def receive() -> Message:
        pytest.fail("a refused request was read")

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(Guard(let_in, ServerSettings(**settings))(scope, receive, send))
    return sent


def status(headers: Headers, **options: Any) -> int:
    return int(ask(headers, **options)[0]["status"])


def headers_of(sent: list[Message]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST", "localhost.", "localhost:", "localhost:80", "localhost.:8008", "127.0.0.1:1",
        "[::1]", "[::1]:8008", "[0:0:0:0:0:0:0:1]", "faces.local", "Faces.Local.:443", "[fe80::1]",
    ],
)  # fmt: skip
def test_own_names_in_any_spelling_are_let_in(host: str) -> None:
    assert status([("host", host)], hosts=("FACES.local", "fe80::1")) == 200


@pytest.mark.parametrize(
    "hosts",
    [
        [], [""], [" "], ["evil.example"], ["localhost.evil.example"], ["evil.example:8008"],
        ["127.0.0.1.evil.example"],
        ["localhost@evil.example"], ["evil.example@localhost"], ["evil.example#localhost"], ["localhost/"],
        ["localhost:8008:8008"], ["localhost:x"], ["localhost:99999"], ["localhost:-1"], ["::1"], ["[::1"], ["[::2]"],
        ["[localhost]"], ["localhost.."], [".localhost"], ["localhost,evil.example"], ["localhost evil.example"],
        ["localhost", "evil.example"], ["localhost", "localhost"], ["http://localhost"], ["0.0.0.0"], ["127.1"],
        ["2130706433"], ["0x7f.1"], ["locälhost"], ["localhost\t"], ["*"], ["null"],
    ],
    ids=repr,
)  # fmt: skip
def test_foreign_hosts_in_any_spelling_are_refused(hosts: list[str]) -> None:
    headers = [("host", host) for host in hosts]
    for path in ("/v1/predict", "/v1/health", "/", "/docs"):
        assert status(headers, path=path, method="GET") == 421
    assert ask(headers, kind="websocket", path="/v1/live") == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    ("host", "origin", "scheme"),
    [
        ("localhost:8008", "http://localhost:8008", "http"),
        ("localhost:8008", "HTTP://LOCALHOST:8008", "http"),
        ("localhost", "http://localhost", "http"),
        ("localhost:80", "http://localhost", "http"),
        ("localhost", "http://localhost:80", "http"),
        ("faces.local", "https://faces.local", "https"),
        ("faces.local", "https://faces.local", "http"),  # behind a proxy that ends TLS
        ("[::1]:8008", "http://[::1]:8008", "http"),
        ("localhost:8008", PAGE, "http"),
        ("localhost:8008", PAGE.upper(), "http"),
    ],
)
def test_the_page_and_allowed_pages_may_call(host: str, origin: str, scheme: str) -> None:
    headers = [("host", host), ("origin", origin)]
    assert status(headers, scheme=scheme, hosts=("faces.local",), origins=(f"{PAGE}/",)) == 200


@pytest.mark.parametrize(
    "origins",
    [
        ["null"], [""], ["http://evil.example"], ["http://localhost"], ["http://localhost:8009"],
        ["http://127.0.0.1:8008"], ["https://localhost:8008.evil.example"], ["http://localhost:8008@evil.example"],
        ["http://evil.example:8008"], ["ftp://localhost:8008"], ["localhost:8008"], ["http://localhost:8008/"],
        ["file://"], ["chrome-extension://abc"], ["http://localhost:8008 http://evil.example"],
        ["http://localhost:8008", "http://evil.example"], [f"{PAGE}.evil.example"], ["http://page.example"],
        [f"{PAGE}:444"],
    ],
    ids=repr,
)  # fmt: skip
def test_foreign_pages_in_any_spelling_are_refused(origins: list[str]) -> None:
    headers = LOCAL + [("origin", origin) for origin in origins]
    for method in ("GET", "POST", "DELETE"):
        assert status(headers, method=method, origins=(PAGE,)) == 403
    assert ask(headers, kind="websocket", path="/v1/live") == [{"type": "websocket.close", "code": 1008}]


def test_a_page_without_tls_is_foreign_to_a_service_with_it() -> None:
    headers = [("host", "localhost"), ("origin", "http://localhost")]
    assert [status(headers, scheme=scheme) for scheme in ("http", "https")] == [200, 403]


@pytest.mark.parametrize(
    ("site", "mode", "method", "expected"),
    [
        ("cross-site", "no-cors", "POST", 403),
        ("same-site", "no-cors", "POST", 403),  # another port of this machine
        ("cross-site", "navigate", "POST", 403),  # a form of another page
        ("cross-site", "no-cors", "GET", 403),  # an image of another page
        ("cross-site", "navigate", "GET", 200),  # a link
        ("same-origin", "cors", "GET", 200),
        ("none", "navigate", "GET", 200),
    ],
)
def test_requests_that_a_browser_marks_as_foreign(site: str, mode: str, method: str, expected: int) -> None:
    headers = [*LOCAL, ("sec-fetch-site", site), ("sec-fetch-mode", mode)]
    assert status(headers, method=method) == expected


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("Bearer geheim-ss", None), ("bearer  geheim-ss ", None), ("Bearer geheim", "token-wrong"),
        ("Bearer geheim-ssx", "token-wrong"), ("Bearer \xff\xfe", "token-wrong"), ("Bearer", "token-needed"),
        ("Bearer ", "token-needed"), ("", "token-needed"), ("Basic geheim-ss", "token-needed"),
        ("geheim-ss", "token-needed"), (None, "token-needed"),
    ],
)  # fmt: skip
def test_the_token_opens_the_service(given: str | None, code: str | None) -> None:
    value = None if given is None else given.encode().decode("latin-1")
    headers = LOCAL if value is None else [*LOCAL, ("authorization", value)]
    sent = ask(headers, token="geheim-ss")
    assert sent[0]["status"] == (401 if code else 200)
    assert (headers_of(sent).get("www-authenticate") == "Bearer") == bool(code)
    assert code is None or json.loads(sent[1]["body"])["code"] == code


@pytest.mark.parametrize(
    ("path", "needs"),
    [
        ("/", False), ("/page.js", False), ("/docs", False), ("/v1/health", False), ("/v1/openapi.json", False),
        ("/v1/about", True), ("/v1/predict", True), ("/v1/videos/1", True), ("/v1/", True), ("/v1", True),
        ("/v1/health/", True), ("/metrics", True), ("/metrics/", True),
    ],
)  # fmt: skip
def test_only_the_page_and_the_health_need_no_token(path: str, needs: bool) -> None:
    assert status(LOCAL, path=path, method="GET", token="secret") == (401 if needs else 200)
    assert status(LOCAL, path=f"/faces{path}", prefix="/faces", method="GET", token="secret") == (401 if needs else 200)


def test_a_path_that_is_no_longer_than_its_prefix_is_open() -> None:
    assert status(LOCAL, path="/faces", prefix="/faces", method="GET", token="secret") == 200
    assert status(LOCAL, path="/v1", prefix="/v", method="GET", token="secret") == 401


@pytest.mark.parametrize(
    ("protocols", "opens"),
    [
        (f"mien.live.1, {TOKEN_PROTOCOL}secret", True), (f"{TOKEN_PROTOCOL}s%65cret", True),
        (f"mien.live.1, {TOKEN_PROTOCOL}other", False), ("mien.live.1", False), (f"{TOKEN_PROTOCOL}", False),
        ("secret", False),
    ],
)  # fmt: skip
def test_a_session_carries_the_token_as_a_subprotocol(protocols: str, opens: bool) -> None:
    headers = [*LOCAL, ("sec-websocket-protocol", protocols)]
    sent = ask(headers, kind="websocket", path="/v1/live", token="secret")
    assert sent[0]["type"] == ("websocket.accept" if opens else "websocket.close")


def test_an_allowed_page_may_ask_first_and_read_the_answer() -> None:
    headers = [*LOCAL, ("origin", PAGE), ("access-control-request-method", "POST")]
    preflight = ask(headers, method="OPTIONS", origins=(PAGE,), token="secret")
    assert preflight[0]["status"] == 204
    assert headers_of(preflight)["access-control-allow-origin"] == PAGE
    assert "Authorization" in headers_of(preflight)["access-control-allow-headers"]
    answer = headers_of(ask([*LOCAL, ("origin", PAGE)], origins=(PAGE,)))
    assert (answer["access-control-allow-origin"], answer["vary"]) == (PAGE, "Origin")
    assert answer["cross-origin-resource-policy"] == "cross-origin"
    refused = ask([*LOCAL, ("origin", PAGE)], origins=(PAGE,), token="secret")  # it must be able to read why
    assert (refused[0]["status"], headers_of(refused)["access-control-allow-origin"]) == (401, PAGE)


def test_other_pages_may_not_ask_first() -> None:
    headers = [*LOCAL, ("origin", "https://evil.example"), ("access-control-request-method", "POST")]
    refused = ask(headers, method="OPTIONS", origins=(PAGE,))
    assert refused[0]["status"] == 403
    assert not any(name.startswith("access-control") for name in headers_of(refused))


@pytest.mark.parametrize("headers", [LOCAL, [("host", "evil.example")]])
def test_every_answer_has_the_headers_of_a_strict_page(headers: Headers) -> None:
    assert {name.lower() for name in SECURITY_HEADERS} <= set(headers_of(ask(headers)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hosts": ("http://a.example",)}, "'http://a.example' is no name of a host"),
        ({"hosts": ("a.example:80",)}, "'a.example:80' is no name of a host"),
        ({"hosts": ("*",)}, "no name of a host"),
        ({"hosts": ("",)}, "no name of a host"),
        ({"origins": ("page.example",)}, "'page.example' is no origin of a page; expected scheme and host"),
        ({"origins": ("https://page.example/x",)}, "no origin of a page"),
        ({"origins": ("null",)}, "no origin of a page"),
        ({"origins": ("*",)}, "no origin of a page"),
        ({"token": ""}, "the token is empty"),
        ({"token": " a"}, "the token is empty, or has spaces"),
        ({"token": "geheim-ß"}, "the token is empty, or has spaces"),
    ],
)
def test_names_that_are_none_are_refused_at_the_start(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServerSettings(**settings)


def test_names_outside_ascii_are_those_that_browsers_send() -> None:
    settings = ServerSettings(hosts=("Bücher.example",), origins=("https://Bücher.example:443",))
    assert settings.hosts == ("xn--bcher-kva.example",)
    assert settings.origins == ("https://xn--bcher-kva.example",)


def test_hosts_and_origins_are_parsed() -> None:
    assert parse_host("A.example.:7") == ("a.example", 7)
    assert parse_host("[0::1]") == ("::1", None)
    assert parse_origin("HTTPS://a.example:443") == ("https", "a.example", None)
