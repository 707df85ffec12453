from pathlib import Path

import numpy as np
import pytest

from commands import run
from mien.data import draw_faces, prepare
from mien.data.dataset import SPLITS, Dataset
from mien.data.export import export_folders
from mien.data.readers import read_dataset
from mien.errors import DatasetError, OutputError
from mien.labels import LabelSet


def noise(channels: int, *, n: int = 12, votes: bool = False) -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset(
        name="noise",
        images=rng.integers(0, 256, (n, 8, 9, channels)).astype(np.uint8),
        targets=np.arange(n) % 2,
        labels=LabelSet("moods", ("wild", "calm")),
        splits=(np.arange(n) // 2 % 3).astype(np.int8),
        votes=np.ones((n, 10), np.float32) if votes else None,
    )


def contents(dataset: Dataset) -> set[tuple[bytes, str, str]]:
    """Return pixels, label and split of each image, in no order."""
    rows = zip(dataset.images, dataset.targets, dataset.splits, strict=True)
    return {(image.tobytes(), dataset.labels.labels[target], SPLITS[split]) for image, target, split in rows}


@pytest.mark.parametrize("channels", [1, 3])
def test_an_exported_dataset_is_read_back_with_the_same_images_labels_and_splits(tmp_path: Path, channels: int) -> None:
    dataset = noise(channels)
    export_folders(dataset, tmp_path / "out")
    again = read_dataset(tmp_path / "out")
    assert again.images.shape == dataset.images.shape
    assert contents(again) == contents(dataset)
    assert again.held_out == ()


def test_colour_images_stay_in_colour_even_if_all_of_them_are_grey(tmp_path: Path) -> None:
    faces = draw_faces(70, seed=0, size=8)
    colour = Dataset("drawn", np.repeat(faces.images, 3, 3), faces.targets, faces.labels, faces.splits)
    export_folders(colour, tmp_path)
    assert contents(read_dataset(tmp_path)) == contents(colour)


def test_files_are_named_by_split_class_and_index(tmp_path: Path) -> None:
    export_folders(noise(1), tmp_path)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert names[:3] == ["test/calm/05.png", "test/calm/11.png", "test/wild/04.png"]
    assert len(names) == 12


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    export_folders(noise(1), tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 12) for i in range(1, 13)]


def test_lost_votes_classes_and_splits_are_warned_about(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no FER\\+ votes; they are left out"):
        export_folders(noise(1, votes=True), tmp_path / "votes")
    with pytest.warns(UserWarning, match="'noise' has no test split; reading the folder will hold 10 % of train out"):
        export_folders(noise(1, n=4), tmp_path / "train")
    faces = draw_faces(70, seed=0, size=8)
    with pytest.warns(UserWarning, match="classes without an image have no folder and are lost: angry, neutral"):
        export_folders(faces.select((faces.targets > 0) & (faces.targets < 6)), tmp_path / "classes")


def test_a_folder_with_files_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds 'thesis\.txt' already; choose a new or an empty folder"):
        export_folders(noise(1), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("label", ["a/b", "../up", ".hidden", "a\\b"])
def test_a_label_that_cannot_name_a_folder_is_refused(tmp_path: Path, label: str) -> None:
    dataset = noise(1)
    odd = Dataset("odd", dataset.images, dataset.targets, LabelSet("odd", ("calm", label)), dataset.splits)
    with pytest.raises(DatasetError, match="cannot be a folder's name"):
        export_folders(odd, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_commands_split_draw_a_subset_and_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(draw_faces(210, seed=0, size=8), "all.npz")
    assert run("data", "prepare", "all.npz", "few.npz", "--subset", 70, "--seed", 3) == 0
    assert "70 images (train 56, valid 7, test 7): few.npz" in capsys.readouterr().out
    assert run("data", "export", "few.npz", "few") == 0
    assert "70 images (train 56, valid 7, test 7): few" in capsys.readouterr().out
    assert contents(read_dataset("few")) == contents(read_dataset("few.npz"))
    for split in ("valid", "test"):  # leaves plain class folders
        for file in Path("few", split).rglob("*.png"):
            file.unlink()
    assert run("data", "info", "few/train") == 0
    assert (
        "note: 'train' has no valid and no test split; held out of train: valid 7 (angry 1," in capsys.readouterr().err
    )
    assert run("data", "prepare", "few/train", "split.npz", "--split", "0.5,0.25,0.25") == 0
    assert "note" not in capsys.readouterr().err
    assert read_dataset("split.npz").counts().tolist() == [[4] * 7, [2] * 7, [2] * 7]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "0.8,0.1,0.1"), "has its own test and valid split"),
        (("--split", "0.8,x"), "--split is '0.8,x'; expected three shares that sum to 1"),
        (("--subset", 71), "cannot draw 71 images of 'drawn'; expected 1 to 70"),
    ],
)
def test_impossible_parts_are_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    prepare(draw_faces(70, seed=0, size=8), tmp_path / "all.npz")
    assert run("data", "prepare", tmp_path / "all.npz", tmp_path / "out.npz", *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "out.npz").exists()
