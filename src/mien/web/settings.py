"""Settings of the service."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from mien.errors import ConfigError
from mien.models.spec import DEFAULT_MODEL
from mien.settings import Range, check_fields, shown

MEGABYTE = 1_000_000
DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_FOREIGN_LABEL = re.compile(r"[^./:]*[^\x00-\x7f./:][^./:]*")
_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\[\]:]+)(:(?P<port>\d{0,5}))?")

# YuNet has thousands of candidates below 0.05, and takes 17 s for them; a hundred at 0.1 in a photo of 29 people.
MIN_SCORE = 0.1
MinScore: TypeAlias = Annotated[float, Range(MIN_SCORE, 1)]
TOKEN = re.compile(r"[!-~]+")  # ASCII without spaces, which every client can send in a header


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Settings of the service.

    Args:
        model: Model of requests that name none.
        detector: Detector of requests that name none.
        models_dir: Directory of user models; the default directory when None.
        hosts: Names that the service may be called by, besides those of this machine: values of the Host header
            without the port.
        origins: Origins of other pages that may call it: "https://example.org".
        token: Secret that every request must carry, except for the page's own files; None for no token.
        page: Whether the page is served too.
        workers: Threads that compute; 0 for one per core.
        sessions: Live sessions at once.
        waiting: Requests that wait for a thread; further ones are answered 503.
        max_upload: Largest body of a request in bytes, except for videos.
        max_video: Largest video in bytes.
        read_seconds: Longest time to receive the body of a request.
        batch_ms: Longest time that a face waits for others to be classified with, in milliseconds; 0 for no batches.
        max_batch: Most faces classified together.

    Raises:
        ConfigError: A value of the wrong type or out of range, an invalid host name, or an empty token.
    """

    model: str = DEFAULT_MODEL
    detector: str = "auto"
    models_dir: Path | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    token: str | None = None
    page: bool = True
    workers: Annotated[int, Range(0, 256)] = 0
    sessions: Annotated[int, Range(0, 1000)] = 8
    waiting: Annotated[int, Range(1, 10_000)] = 64
    max_upload: Annotated[int, Range(1)] = 32 * MEGABYTE
    max_video: Annotated[int, Range(1)] = 1000 * MEGABYTE
    read_seconds: Annotated[float, Range(0, 86_400, above=True)] = 60.0
    batch_ms: Annotated[float, Range(0, 1000)] = 2.0
    max_batch: Annotated[int, Range(1, 1024)] = 32

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "hosts", tuple(map(_checked_host, self.hosts)))
        object.__setattr__(self, "origins", tuple(map(_checked_origin, self.origins)))
        if self.token is not None and not TOKEN.fullmatch(self.token):
            raise ConfigError(
                "the token is empty, or has spaces or letters outside ASCII; expected one as of `openssl rand -hex 16`"
            )


def parse_host(text: str) -> tuple[str, int | None] | None:
    """Return name and port of a Host header or of an origin's authority; None where it is malformed.

    The name is in lower case without a trailing dot or brackets, an address in its shortest form.
    """
    match = _AUTHORITY.fullmatch(text.lower())
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else None
    if port is not None and port > 65535:
        return None
    name = match["name"]
    try:
        if name.startswith("["):
            return ipaddress.IPv6Address(name[1:-1]).compressed, port
    except ValueError:
        return None
    name = name[:-1] if name.endswith(".") else name
    return (name, port) if _NAME.fullmatch(name) else None


def parse_origin(text: str) -> tuple[str, str, int | None] | None:
    """Return scheme, name and port of an Origin header, the scheme's own port as None; None where it is no such page.

    "null", the origin of a file or a sandboxed frame, is none.
    """
    scheme, separator, authority = text.lower().partition("://")
    host = parse_host(authority)
    if not separator or scheme not in DEFAULT_PORTS or host is None:
        return None
    name, port = host
    return scheme, name, None if port == DEFAULT_PORTS[scheme] else port


def _checked_host(text: str) -> str:
    """Return a host's name as `parse_host` does; IPv6 addresses may lack brackets."""
    name = _punycode(text)
    host = parse_host(f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name)
    if host is None or host[1] is not None:
        raise ConfigError(f"{shown(text)} is no name of a host; expected it without scheme and port: faces.example.org")
    return host[0]


def _checked_origin(text: str) -> str:
    """Return an origin as browsers write it; a slash at its end is dropped."""
    origin = parse_origin(_punycode(text).removesuffix("/"))
    if origin is None:
        raise ConfigError(f"{shown(text)} is no origin of a page; expected scheme and host: https://example.org")
    scheme, name, port = origin
    return f"{scheme}://{f'[{name}]' if ':' in name else name}{'' if port is None else f':{port}'}"


def _punycode(text: str) -> str:
    """Return a name with its parts outside ASCII as browsers send them."""
    try:
        return _FOREIGN_LABEL.sub(lambda label: label[0].encode("idna").decode(), text)
    except UnicodeError:
        return text
