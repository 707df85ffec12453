"""Targets are compared with the sources and with each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mien.errors import ConfigError, InputError, MienError, OutputError
from mien.targets import check_targets

JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"


@pytest.fixture(autouse=True)
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with two pictures, a text, a folder, and links to the first picture."""
    monkeypatch.chdir(tmp_path)
    Path("day1").mkdir()
    for name in ("a.jpg", "day1/b.jpg"):
        Path(name).write_bytes(JPEG)
    Path("old.csv").write_text("source,index\n")
    Path("hard.csv").hardlink_to("a.jpg")
    Path("soft.csv").symlink_to("a.jpg")
    Path("again").symlink_to("day1")


@pytest.mark.parametrize("target", ["a.jpg", "day1/../a.jpg", "hard.csv", "soft.csv", "day1/b.jpg", "again/b.jpg"])
def test_a_target_is_no_source_by_any_of_its_names(target: str) -> None:
    with pytest.raises(OutputError, match=f"'{target}' would overwrite one of the sources".replace(".", r"\.")):
        check_targets(["missing.jpg", "a.jpg", "day1", None], files=[Path(target)])


def test_new_files_old_results_and_devices_are_targets() -> None:
    null = Path(os.devnull)
    check_targets(["."], texts=[Path("old.csv"), Path("-"), null, None], files=[null, Path("new.mp4")])
    check_targets(["."], texts=[Path("-")], pictures=[Path("new.PNG")], folders=[Path("day1"), Path("report")])


@pytest.mark.parametrize(
    "targets",
    [("x.csv", "day1/../x.csv"), ("x.csv", "X.csv"), ("day1/x", "again/x"), ("hard.csv", "a.jpg"), ("x", "x")],
)
def test_two_results_never_share_a_file(targets: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="two results for one file"):
        check_targets([], files=list(map(Path, targets)))


@pytest.mark.parametrize(
    ("kind", "target", "expected"),
    [
        ("texts", "new.jpg", "does not have the suffix of a table or text file"),
        ("texts", "new.MP4", "does not have the suffix of a table or text file"),
        ("texts", "model.onnx", "does not have the suffix of a table or text file"),
        ("texts", "hard.csv", "is not a text"),
        ("texts", "day1", "is a folder"),
        ("pictures", "sheet.csv", "unknown suffix"),
        ("folders", "old.csv", "is a file"),
    ],
)
def test_a_target_of_another_kind_is_refused(kind: str, target: str, expected: str) -> None:
    with pytest.raises(MienError, match=expected):
        check_targets([], **{kind: [Path(target)]})


def test_a_folder_that_is_read_gets_no_report() -> None:
    with pytest.raises(OutputError, match="choose another folder"):
        check_targets(["day1"], folders=[Path("again")])


def test_a_pattern_decides_which_files_of_a_folder_are_sources() -> None:
    check_targets(["."], files=[Path("a.jpg")], glob="*.png")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_named_before_the_work() -> None:
    Path("day1").chmod(0o500)
    Path("old.csv").chmod(0o400)
    for target in ("old.csv", "day1/new.csv", "day1/new/deeper/new.csv", "a.jpg/new.csv"):
        with pytest.raises(OutputError, match="is read-only"):
            check_targets([], texts=[Path(target)])


def test_a_drive_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.targets.os.path.exists", lambda _: False)  # as for all parents of Z:\x on Windows
    with pytest.raises(OutputError, match="there is no '/'; choose another place"):
        check_targets([], texts=[Path("faces.csv")])


def test_a_target_with_a_null_byte_is_refused() -> None:
    with pytest.raises(InputError, match="has a null byte"):
        check_targets([], files=[Path("a\0b")])
