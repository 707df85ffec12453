"""Disks that are full."""

from collections.abc import Iterator
from contextlib import contextmanager

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
