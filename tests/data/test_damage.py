"""Damage of files and folders is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.data.damage import damage_reported
from mien.errors import DatasetError


@pytest.mark.parametrize(
    ("name", "words"),
    [("data.zip", r"cannot unpack '.*data\.zip'.*; unpack it yourself"), ("", "cannot read folder '.*'.*; check its")],
)
def test_only_a_packed_file_is_to_be_unpacked(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words), damage_reported(tmp_path / name):
        raise NotImplementedError("odd")
