"""A network that answers all requests alike."""

from __future__ import annotations

import pytest


def answer(monkeypatch: pytest.MonkeyPatch, content: bytes | Exception) -> list[str]:
    """Answer all requests with a content or an error; return the list of addresses asked for."""
    asked: list[str] = []

    class Response:
        def __init__(self) -> None:
            self.headers = {"content-length": str(len(content)) if isinstance(content, bytes) else "0"}

        def raise_for_status(self) -> None:
            pass

        def iter_content(self, chunk_size: int) -> list[bytes]:
            assert isinstance(content, bytes)
            return [content[i : i + chunk_size] for i in range(0, len(content), chunk_size)]

    def get(url: str, **_: object) -> Response:
        asked.append(url)
        if isinstance(content, Exception):
            raise content
        return Response()

    monkeypatch.setattr("requests.get", get)
    return asked
