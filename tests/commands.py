"""Running commands as a user does."""

from __future__ import annotations

import pytest

from mien.cli import main


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
