"""Containers whose user has neither a name nor a home folder.

The kind of public issues titled "KeyError: getpwuid(): uid not found" and "PermissionError: '/nonexistent'"; a folder
named "~" in the working directory is the silent form of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.errors import ModelError, OutputError
from mien.files import make_folder, user_folder
from mien.models.store import list_models, user_dir
from mien.vision import fetch
from mien.vision.detect import _warn_once, load_detector

pwd = pytest.importorskip("pwd")


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Work in an empty folder as a user without a home, where fetching is allowed."""

    def unknown(uid: int) -> object:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "MIEN_MODELS", "MIEN_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(fetch, "cache_dir", lambda: user_folder("cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_is_written_to_a_folder_named_tilde(homeless: Path) -> None:
    with pytest.raises(ModelError, match="the home folder is unknown; set HOME") as caught:
        fetch.fetch_yunet()
    assert "\n" not in str(caught.value)
    with pytest.raises(OutputError, match="the home folder is unknown"):
        make_folder(user_dir())
    _warn_once.cache_clear()
    with pytest.warns(UserWarning, match="using the Haar detector: .* home folder is unknown"):
        load_detector("auto")
    assert any(model.name == "base" for model in list_models())
    assert list(homeless.iterdir()) == []
