import errno
from pathlib import Path

import pytest

from mien.errors import OutputError
from mien.files import atomic_path


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


def test_others_may_read_a_file_as_far_as_the_umask_allows(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    with atomic_path(tmp_path / "atomic") as temporary:
        temporary.touch()
    assert (tmp_path / "atomic").stat().st_mode == plain.stat().st_mode
