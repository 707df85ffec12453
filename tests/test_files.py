import ast
import errno
import os
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

import mien
from disks import nested_too_deep
from mien import files
from mien.errors import OutputError
from mien.files import (
    atomic_folder,
    atomic_path,
    locked,
    make_empty_folder,
    make_folder,
    matching,
    obstacle,
    write_text,
)  # fmt: skip

PACKAGE = Path(mien.__file__).parent
RAISING = ("exists", "is_file", "is_dir", "is_symlink", "glob")  # of Path, for a name too long or without permission


def write_half(path: Path) -> None:
    path.write_text("half")
    raise ZeroDivisionError


def test_a_finished_file_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.suffix == ".md"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes are those of Unix")
def test_a_link_stays_and_a_pipe_gets_the_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (tmp_path / "link.txt").symlink_to(folder / "file.txt")
    for text in ("new", "newer"):
        write_text(tmp_path / "link.txt", text)
        assert (folder / "file.txt").read_text() == text
    assert (tmp_path / "link.txt").is_symlink()
    assert [path.name for path in folder.iterdir()] == ["file.txt"]

    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()), daemon=True)
    reader.start()
    write_text(tmp_path / "pipe", "whole")
    reader.join(20)
    assert read == ["whole"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        write_half(temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_error_of_a_full_disk_names_the_path(tmp_path: Path) -> None:
    path = tmp_path / "big.npz"
    with pytest.raises(OutputError, match=r"big\.npz.*No space left"), atomic_path(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_the_error_of_a_missing_folder_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere.*No such file"), atomic_path(tmp_path / "nowhere" / "a.md"):
        pass


def test_a_folder_in_the_way_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.mkdir()
    with pytest.raises(OutputError, match=r"report\.md"), atomic_path(path) as temporary:
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("replaced", [False, True], ids=["written", "replaced by a library"])
def test_others_may_read_a_file_as_far_as_the_umask_allows(replaced: bool, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    with atomic_path(tmp_path / "atomic") as temporary:
        temporary.touch()
        if replaced:
            temporary.unlink()
            temporary.touch(0o600)
    assert (tmp_path / "atomic").stat().st_mode == plain.stat().st_mode


@pytest.mark.skipif(sys.platform == "win32", reason="is about its stand-in")
def test_a_result_on_windows_has_the_rights_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr("tempfile.mkdtemp", None)  # restricts a folder, and what is made in it, to its owner there
    with atomic_path(tmp_path / "a.csv") as path:
        path.write_text("x")
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_a_folder_is_filled_at_once_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "report"
    (target / "kept").mkdir(parents=True)
    (target / "kept" / "other.txt").write_text("other")
    (target / "a.md").write_text("old")

    def write(*, well: bool) -> None:
        with atomic_folder(target) as temporary:
            write_text(temporary / "a.md", "new")
            (temporary / "kept").mkdir()
            write_text(temporary / "kept" / "b.md", "new")
            if not well:
                write_text(temporary / "nowhere" / "c.md", "new")

    with pytest.raises(OutputError, match=re.escape(str(target / "nowhere" / "c.md"))):
        write(well=False)
    assert texts_in(target) == {"kept/other.txt": "other", "a.md": "old"}
    write(well=True)
    assert texts_in(target) == {"kept/other.txt": "other", "a.md": "new", "kept/b.md": "new"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot lock folders")
def test_temporary_folders_of_killed_processes_are_removed_and_those_in_use_are_not(tmp_path: Path) -> None:
    abandoned, used = tmp_path / ".mien-abandoned", tmp_path / ".mien-used"
    for folder in (abandoned, used):
        folder.mkdir()
        (folder / "half.npz").write_text("half")
    with locked(used):
        write_text(tmp_path / "a.md", "new")
    assert sorted(tmp_path.iterdir()) == [used, tmp_path / "a.md"]
    assert texts_in(used) == {"half.npz": "half"}


def test_a_folder_into_which_another_process_writes_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with atomic_folder(tmp_path), pytest.raises(OutputError, match="another process is writing"):
        make_empty_folder(tmp_path)


def texts_in(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_made_at_any_depth(tmp_path: Path) -> None:
    with nested_too_deep(tmp_path, "a") as deep:
        pass
    with nested_too_deep(tmp_path / "other", "a"):
        assert make_folder(tmp_path / "new" / deep.relative_to(tmp_path)).is_dir()


def test_no_module_asks_a_path_whether_it_is_there() -> None:
    """`os.path.exists` and its kin answer False where those of Path raise; `matching` replaces `Path.glob`."""
    found = [
        f"{path.relative_to(PACKAGE).as_posix()}: {ast.unparse(node)}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in RAISING
        if not (isinstance(node.value, ast.Attribute) and ast.unparse(node.value) == "os.path")
    ]
    entries = 2 * ["sources/paths.py: entry.is_dir"]  # which catches it
    assert found == ["data/pictures.py: entry.is_dir", "files.py: folder.glob", *entries]  # a zip's; `matching` itself


def test_a_path_that_cannot_be_looked_at_has_a_reason(locked_folder: Path, tmp_path: Path) -> None:
    assert obstacle(locked_folder / "x.onnx") == " (Permission denied)"
    assert obstacle("n" * 300) == f" ({os.strerror(errno.ENAMETOOLONG)})"
    for path in (tmp_path, tmp_path / "missing", Path(__file__) / "below", "a\0b"):
        assert obstacle(path) == ""


def test_nothing_matches_in_a_folder_that_cannot_be_entered(locked_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert list(matching(tmp_path, "*.txt")) == [tmp_path / "a.txt"]
    assert list(matching(locked_folder / "below", "*")) == []
