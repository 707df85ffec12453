"""Files in place of data are named for what they are, with the way out."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from mien.data.readers import read_dataset
from mien.data.votes import read_votes
from mien.data.wrong_kind import DATA, WAYS_OUT
from mien.errors import DatasetError
from mien.sources.content import KINDS, TEXT_FILE

CSV = "emotion,pixels,Usage\n0,1 2 3 4,Training\n"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 301072766\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (POINTER, "is a Git LFS pointer, which `git lfs pull` replaces by the file"),
        (b"\n<!DOCTYPE html>\n<html lang=en><title>Sign in</title>", "is a web page; .*with a browser"),
        (b"\xef\xbb\xbf<HTML><body>Quota exceeded", "is a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is XML, often an error message"),
        (CSV.encode("utf-16"), "is text in UTF-16; save it as UTF-8"),
        (CSV.encode("utf-16-le"), "is text in UTF-16; save it as UTF-8"),
        (CSV.encode("utf-16-be"), "is text in UTF-16; save it as UTF-8"),
        (b"Rar!\x1a\x07\x01\x00", "is a RAR archive; unpack it"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "is a 7z archive; unpack it"),
        (b"PAR1\x15\x04", "is a Parquet table"),
        (b"\x80\x04\x95\x00", "is a pickle, which could run any program"),
        (b"8BPS\0\1", "is a Photoshop document; pass the data itself"),
    ],
)
@pytest.mark.parametrize("name", ["fer2013.csv", "labels.tsv", "fer2013.zip", "data.npz", "data", "fer2013.csv.gz"])
def test_a_file_in_place_of_data_is_named(tmp_path: Path, content: bytes, reason: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(DatasetError, match=reason) as caught:
        read_dataset(path)
    assert "\n" not in str(caught.value)


def test_so_is_one_in_a_folder_or_in_place_of_votes(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").write_bytes(POINTER)
    for reading in (lambda: read_dataset(tmp_path), lambda: read_votes(tmp_path / "fer2013.csv")):
        with pytest.raises(DatasetError, match=r"fer2013\.csv' is a Git LFS pointer"):
            reading()


def test_pictures_that_are_pointers_are_named(tmp_path: Path) -> None:
    for name in ("happy/1.png", "sad/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(DatasetError, match=r"cannot be decoded: happy/1\.png.*is a Git LFS pointer.*git lfs pull"):
        read_dataset(tmp_path)


def test_ways_out_are_of_known_kinds() -> None:
    assert WAYS_OUT.keys() <= {kind for _, kind in KINDS} - DATA
    assert {kind for _, kind in KINDS} | {TEXT_FILE} > DATA


def test_columns_that_begin_like_a_kind_of_file_are_data(tmp_path: Path) -> None:
    for name in ("PAR1", "BZh", "Rar!", "ID3"):
        path = tmp_path / f"{name}.csv"
        path.write_text(f"{name},emotion,pixels,Usage\n" + "".join(f"x,{i},1 2 3 4,Training\n" for i in range(7)))
        assert len(read_dataset(path)) == 7
