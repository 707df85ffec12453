"""Running commands as a user does."""

from __future__ import annotations

import pytest

from mien.cli import main


def run(*arguments: object) -> int:
    """Run a command, return its exit code."""
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    return int(done.value.code or 0)
