"""What libraries print to stderr is silenced, and errors of Python are not."""

import ctypes
import os
import sys
from contextlib import ExitStack

import pytest

from mien.quiet import silent_libraries

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="each library has a stderr of its own there")


def library_prints(word: bytes) -> None:
    ctypes.CDLL(None).perror(word)


def test_a_library_is_silent_inside_blocks_alone(capfd: pytest.CaptureFixture[str]) -> None:
    if not hasattr(ctypes.CDLL(None), "gnu_get_libc_version") and sys.platform != "darwin":
        pytest.skip("stderr is a constant there")
    library_prints(b"before")
    with silent_libraries():
        with silent_libraries():
            library_prints(b"twice")
        library_prints(b"once")
        print("Python", file=sys.stderr)
        os.write(2, b"descriptor\n")
    library_prints(b"after")
    shown = capfd.readouterr().err
    assert [word for word in ("before", "twice", "once", "Python", "descriptor", "after") if word in shown] == [
        "before", "Python", "descriptor", "after",
    ]  # fmt: skip


def test_blocks_may_end_in_any_order(capfd: pytest.CaptureFixture[str]) -> None:
    first, second = ExitStack(), ExitStack()
    first.enter_context(silent_libraries())
    second.enter_context(silent_libraries())
    first.close()
    second.close()
    library_prints(b"heard again")
    assert "heard again" in capfd.readouterr().err
