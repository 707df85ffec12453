"""Disks that are full, files that may not be read, and folders in folders in folders."""

import errno
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def no_room_for(n_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size, as if the disk were full."""
    resource = pytest.importorskip("resource", reason="needs a limit on file sizes, which Unix has")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def no_permission_to_read(name: str) -> Iterator[None]:
    """Refuse to open files of a name, to root too, who may read everything."""
    access, opening = os.access, Path.open

    def may(path: object, mode: int, **options: object) -> bool:
        return access(path, mode, **options) and (mode != os.R_OK or Path(path).name != name)

    def opened(path: Path, *arguments: object, **options: object) -> object:
        if path.name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opening(path, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "access", may)
        patch.setattr(Path, "open", opened)
        yield


@contextmanager
def nested_too_deep(folder: Path, name: str) -> Iterator[Path]:
    """Make folders in folders, too many for functions that call themselves; yield the path of a file in the last."""
    place = folder
    for _ in range(200):
        place /= "d"
        place.mkdir(parents=place.parent == folder)
    before, depth = sys.getrecursionlimit(), len(inspect.stack(0))
    sys.setrecursionlimit(depth + 150)
    try:
        yield place / name
    finally:
        sys.setrecursionlimit(before)
