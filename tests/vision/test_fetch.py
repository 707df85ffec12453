"""YuNet's file is fetched once, checked on every load, and a failure is remembered; nothing here needs a network."""

import os
import time
from pathlib import Path

import pytest
import requests

from detectors import yunet_file
from downloads import answer
from mien.errors import FetchError, ModelError
from mien.vision import fetch
from mien.vision.fetch import YUNET_FILE, fetch_yunet, local_yunet, yunet_path


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, on a machine that may fetch."""
    monkeypatch.delenv("MIEN_YUNET", raising=False)
    monkeypatch.delenv("MIEN_OFFLINE")
    monkeypatch.setattr(fetch, "cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def test_the_file_is_fetched_once_and_announced(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = answer(monkeypatch, yunet_file().read_bytes())
    assert local_yunet() is None
    assert yunet_path() == yunet_path() == local_yunet() == cache / YUNET_FILE
    assert asked == [fetch.YUNET_URL]
    assert capsys.readouterr() == ("", "fetching YuNet (230 kB)…\n")
    assert [path.name for path in cache.iterdir()] == [YUNET_FILE]


def test_progress_reaches_the_end_and_replaces_the_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yunet_file().read_bytes()
    answer(monkeypatch, content)
    seen: list[tuple[int, int | None]] = []
    fetch_yunet(lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (len(content), len(content))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (requests.ConnectionError("HTTPSConnectionPool(…): …"), "no connection"),
        (requests.ConnectTimeout(), "no answer in time"),
        (requests.exceptions.ProxyError(), "no answer of the proxy"),
        (requests.HTTPError("404 Client Error: Not Found for url: https://…"), "404 Client Error: Not Found"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_a_failure_is_one_line_and_remembered_for_hours(
    cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    asked = answer(monkeypatch, error)
    for n_asked, retry in ((1, False), (1, False), (2, True)):
        with pytest.raises(ModelError) as caught:
            yunet_path(retry=retry)
        assert str(caught.value).startswith(f"YuNet could not be fetched ({reason}); run `mien doctor --fetch`")
        assert isinstance(caught.value, FetchError)
        assert caught.value.reason == reason
        assert len(asked) == n_asked
    [mark] = cache.glob("*.failed")
    old = time.time() - 3600 * (fetch.RETRY_HOURS + 1)
    os.utime(mark, (old, old))
    with pytest.raises(ModelError, match="could not be fetched"):
        yunet_path(retry=False)
    assert len(asked) == 3


def test_a_fetch_after_a_failure_forgets_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, requests.ConnectionError())
    with pytest.raises(ModelError):
        fetch_yunet()
    answer(monkeypatch, yunet_file().read_bytes())
    assert fetch_yunet() == yunet_path(retry=False)
    assert not list(cache.glob("*.failed"))


def test_another_content_is_refused_and_not_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, b"<html>please log in</html>")
    with pytest.raises(ModelError, match="its hash differs from the expected one"):
        fetch_yunet()
    assert local_yunet() is None
    assert [path.suffix for path in cache.iterdir()] == [".failed"]


def test_a_damaged_file_in_the_cache_is_replaced(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = yunet_file().read_bytes()
    cache.mkdir()
    (cache / YUNET_FILE).write_bytes(content[:-1] + b"x")
    assert local_yunet() is None
    answer(monkeypatch, content)
    assert yunet_path().read_bytes() == content


def test_parts_of_a_fetch_that_was_killed_are_deleted_by_a_later_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir()
    killed, running = cache / "tmpabcdefgh", cache / "tmpijklmnop"
    for part in (killed, running):
        part.write_bytes(b"half")
    os.utime(killed, (time.time() - 3600, time.time() - 3600))
    answer(monkeypatch, yunet_file().read_bytes())
    fetch_yunet()
    assert sorted(path.name for path in cache.iterdir()) == [YUNET_FILE, running.name]


def test_a_silent_name_server_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "FETCH_SECONDS", 0.05)
    monkeypatch.setattr(fetch, "_download", lambda *_: time.sleep(1))
    with pytest.raises(ModelError, match="no answer in time"):
        fetch_yunet()


def test_a_cache_that_cannot_be_made_is_no_crash(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, b"")
    cache.write_text("a file")
    with pytest.raises(ModelError, match="cannot make folder"):
        yunet_path(retry=False)
    assert asked == []


def test_offline_nothing_is_fetched_unless_asked_for(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, yunet_file().read_bytes())
    monkeypatch.setenv("MIEN_OFFLINE", "1")
    with pytest.raises(ModelError, match="MIEN_OFFLINE is set"):
        yunet_path()
    assert asked == []
    fetch_yunet()
    assert yunet_path() == cache / YUNET_FILE


def test_the_environment_names_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIEN_YUNET", str(yunet_file()))
    assert local_yunet() == yunet_path() == yunet_file()
    monkeypatch.setenv("MIEN_YUNET", str(tmp_path / "no.onnx"))
    with pytest.raises(ModelError, match=r"no\.onnx', which is not a file"):
        yunet_path()
    (tmp_path / "no.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"no\.onnx', which is damaged or another file; expected face_detection_yunet"):
        local_yunet()
