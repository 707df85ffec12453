"""Downloads by hash; nothing here needs a network."""

import hashlib
from pathlib import Path

import pytest

from downloads import answer
from mien.download import download, failure_reason

LIMITS = {"connect_seconds": 1.0, "silent_seconds": 1.0}


def test_any_file_is_fetched_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"some runtime"
    asked = answer(monkeypatch, content)
    digest, seen = hashlib.sha256(content).hexdigest(), []
    path = download(
        "https://files.example/a.wasm",
        sha256=digest,
        path=tmp_path / "a.wasm",
        progress=lambda *n: seen.append(n),
        **LIMITS,
    )
    assert (path.read_bytes(), asked, seen[-1]) == (content, ["https://files.example/a.wasm"], (12, 12))
    with pytest.raises(ValueError, match="hash") as failed:
        download("https://files.example/b.wasm", sha256="0" * 64, path=tmp_path / "b.wasm", **LIMITS)
    assert failure_reason(failed.value) == "its hash differs from the expected one"
    assert [file.name for file in tmp_path.iterdir()] == ["a.wasm"]
