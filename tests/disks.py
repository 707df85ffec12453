"""Disks that are full, and files that may not be read."""

import errno
import os
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
