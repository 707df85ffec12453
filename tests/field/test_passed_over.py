"""Kind of report: "a third of my photos was not in the table, and nothing said so"."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from commands import run

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
COMMANDS = [
    "predict album --model MODEL --detector whole",
    "live album --no-window --csv faces.csv --model MODEL --detector whole",
    "data info album",
    "data prepare album album.npz --size 48",
]


@pytest.mark.filterwarnings("always")
@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_counts_the_files_of_a_folder_that_it_passes_over(
    command: str, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("happy/1.jpg", "sad/2.jfif", "happy/.3.png"):
        Path("album", name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ASTRONAUT, Path("album", name))
    for name in ("happy/4.cr2", "sad/notes.txt", "sad/more.txt"):
        Path("album", name).write_text("x")
    assert run(*(str(tiny_model) if word == "MODEL" else word for word in command.split())) == 0
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "passed over" in line)
    assert "passed over 4 files in 'album': 2 .txt, 1 .cr2, 1 hidden" in line
