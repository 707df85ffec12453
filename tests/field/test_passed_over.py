"""Kind of report: "a third of my photos was not in the table, and nothing said so"."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from commands import run
from mien.data.readers import read_dataset
from mien.errors import DatasetError

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


def class_folders(*names: str) -> Path:
    for name in names:
        Path(name).mkdir(parents=True)
        shutil.copy(ASTRONAUT, name)
    return Path(names[0]).parents[-2]


@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize("link", ["faces/happy", "faces/test"])
def test_a_dataset_whose_class_or_split_is_a_linked_folder_is_refused(link: str) -> None:
    folder = class_folders("faces/sad", "faces/angry", "elsewhere/happy")
    Path(link).symlink_to(Path("elsewhere").absolute(), target_is_directory=True)
    with pytest.raises(DatasetError, match=rf"holds 1 linked folder, which is not searched: {Path(link).name}"):
        read_dataset(folder)


@pytest.mark.usefixtures("own_folder")
def test_a_dataset_with_a_folder_that_cannot_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    folder, scan = class_folders("faces/sad", "faces/angry", "faces/happy"), os.scandir

    def forbidding(path: str) -> object:
        if str(path).endswith("happy"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", forbidding)
    with pytest.raises(DatasetError, match="holds 1 unreadable folder, which is not searched: happy"):
        read_dataset(folder, reader="folders")


@pytest.mark.filterwarnings("ignore:.*photographs")
@pytest.mark.usefixtures("own_folder")
def test_a_dataset_counts_dead_links_pipes_loops_and_empty_folders() -> None:
    folder = class_folders("faces/sad", "faces/happy")
    (folder / "contempt").mkdir()
    (folder / "sad" / "gone.png").symlink_to("nowhere.png")
    (folder / "sad" / "around").symlink_to("..", target_is_directory=True)
    os.mkfifo(folder / "sad" / "pipe.png")
    with pytest.warns(UserWarning, match="2 broken link or device, 1 empty folder, 1 linked folder"):
        assert len(read_dataset(folder)) == 2
