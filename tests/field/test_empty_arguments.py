"""Kind of report: "`mien predict "$PHOTO"` without such a variable read all of my home folder"."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import error_of


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["predict", ""], "an argument is empty after 'predict'"),
        (["live", "", "--no-window"], "an argument is empty after 'live'"),
        (["predict", "a.png", "--out", ""], "an argument is empty after '--out'"),
        (["predict", "a.png", "--csv="], "an argument is empty in '--csv='"),
    ],
)
def test_an_empty_argument_is_an_error_not_the_current_folder(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in error_of(capsys, *words)


@pytest.mark.parametrize("words", [["models"], ["predict", "a.png"], ["evaluate", "base"], ["doctor"]])
def test_a_missing_directory_of_models_is_an_error(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no directory" in error_of(capsys, *words, "--models", tmp_path / "missing")
