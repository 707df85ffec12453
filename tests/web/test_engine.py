"""Models and detectors that requests share are loaded once, and no load holds up the requests for others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")

from mien.vision import fetch
from mien.web.engine import Choice, LruCache
from mien.web.problems import Problem
from services import loaded

PATIENCE = 20  # seconds


def test_a_thing_is_loaded_once_while_others_are_had() -> None:
    kept: LruCache[str] = LruCache(8)
    began, goes_on = threading.Event(), threading.Event()
    loads: list[str] = []

    def slow() -> str:
        loads.append("slow")
        began.set()
        assert goes_on.wait(PATIENCE)
        return "slow thing"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.get, "slow", slow)
        assert began.wait(PATIENCE)
        second = pool.submit(kept.get, "slow", slow)
        assert kept.get("quick", lambda: "quick thing") == "quick thing"
        goes_on.set()
        assert [first.result(PATIENCE), second.result(PATIENCE)] == ["slow thing"] * 2
    assert loads == ["slow"]


def test_a_load_that_failed_is_tried_again() -> None:
    kept: LruCache[int] = LruCache(8)
    with pytest.raises(ZeroDivisionError):
        kept.get("thing", lambda: 1 // 0)
    assert kept.get("thing", lambda: 1) == 1


def test_the_least_recently_used_thing_makes_room() -> None:
    kept: LruCache[int] = LruCache(2)
    for key in ("a", "b", "a", "c"):
        kept.get(key, lambda: 1)
    assert (kept.get("a", lambda: 2), kept.get("b", lambda: 2)) == (1, 2)


def test_a_fetch_that_failed_is_not_repeated_for_each_request(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MIEN_OFFLINE", raising=False)
    monkeypatch.delenv("MIEN_YUNET", raising=False)
    monkeypatch.setattr(fetch, "cache_dir", lambda: tmp_path)
    fetches: list[int] = []

    def download(*_: object) -> Path:
        fetches.append(1)
        raise ConnectionError

    monkeypatch.setattr(fetch, "_download", download)
    engine = loaded()
    assert "yunet" in engine.names()["detector"]
    for _ in range(2):
        with pytest.raises(Problem, match="the detector 'yunet' is not installed here"):
            engine.recognizer(Choice(detector="yunet"))
    assert len(fetches) == 1
    assert "yunet" not in engine.names()["detector"]
