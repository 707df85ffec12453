"""Running commands as a user does."""

from __future__ import annotations

import sys

import pytest

from mien.cli import main

# In a process of its own; Ctrl+C must reach it also where these tests run in the background, with the signal ignored.
MIEN = "import signal, mien.cli; signal.signal(signal.SIGINT, signal.default_int_handler); mien.cli.main()"


def mien(*arguments: object, first: str = "") -> list[str]:
    """Return the command line of a process that executes a line of Python first, and answers Ctrl+C."""
    return [sys.executable, "-c", f"{first}\n{MIEN}", *map(str, arguments)]


def run(*arguments: object) -> int:
    """Run a command, return its exit code."""
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    return int(done.value.code or 0)


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must fail with exit code 2 and one line on stderr; return the line."""
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1, captured.err
    assert captured.err.startswith("error: ")
    return captured.err
