"""Layouts of datasets that are not understood are refused with the reason, never given a meaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.data.dataset import SPLITS
from mien.data.readers import read_dataset
from mien.errors import DatasetError
from photographs import names_of, write_pictures

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)


def write(root: Path, *names: str) -> Path:
    return write_pictures(root, dict.fromkeys(names, GREY))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        # Pictures directly in folders of splits became the classes "FER2013Test" and "FER2013Train".
        (("FER2013Train/1.png", "FER2013Test/2.png"), "is not in a class folder"),
        (("train_set/1.png", "val_set/2.png"), "is not in a class folder"),
        (("PublicTest/1.png", "PrivateTest/2.png"), "is not in a class folder"),
        (("train_happy/1.png", "train_sad/2.png"), "has the name of a split, not of a class"),
        (("happy/1.png", "sad_test/2.png"), "is not in a class folder"),
        (("happy/train/1.png", "sad/test/2.png"), "is not in a class folder"),
        (("train/images/1.png", "valid/images/2.png"), "has the name of a folder of all images, not of a class"),
        (("images/1.png", "masks/2.png"), "has the name of a folder of all images, not of a class"),
        (("evaluation/1.png", "unlabeled/2.png"), "has the name of a folder of all images, not of a class"),
        (("1/1.png", "2.0/2.png"), r"numbers without a name: 1, 2; name them all: --classes"),
    ],
)
def test_folders_that_are_no_classes_are_refused(tmp_path: Path, names: tuple[str, ...], reason: str) -> None:
    with pytest.raises(DatasetError, match=reason) as caught:
        read_dataset(write(tmp_path / "d", *names))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        ("FER2013Train", "FER2013Valid", "FER2013Test"),
        ("train_set", "val_set", "test_set"),
        ("Training", "PublicTest", "PrivateTest"),
        ("trainset", "validation", "test-data"),
        ("train_images", "dev", "test"),
    ],
)
def test_split_folders_are_understood_with_what_their_names_share(
    tmp_path: Path, train: str, valid: str, test: str
) -> None:
    names = [f"{split}/{label}/1.png" for split in (train, valid, test) for label in ("happy", "sad")]
    dataset = read_dataset(write(tmp_path / "d", *names))
    folders = [name.split("/")[0] for name in names_of(dataset.names)]
    split_of = {train: "train", valid: "valid", test: "test"}
    assert [SPLITS[i] for i in dataset.splits] == [split_of[folder] for folder in folders]


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("list.csv", "id,mood\n1,happy\n"),
        ("annotations.json", "[]"),
        ("labels.txt", "1.png happy\n"),
        ("sheet.xlsx", "PK"),
    ],
)
def test_a_table_of_labels_beside_pictures_is_named(tmp_path: Path, table: str, text: str) -> None:
    root = write(tmp_path / "d", "part1/1.png", "part2/2.png")
    (root / table).write_text(text)
    with pytest.raises(DatasetError, match=rf"'part1', that may not be classes; {table} may hold the labels"):
        read_dataset(root)
    flat = write(tmp_path / "flat", "1.png", "2.png")
    (flat / table).write_text(text)
    with pytest.raises(DatasetError, match=rf"'1\.png' in .* is not in a class folder; .*{table} may hold the labels"):
        read_dataset(flat)


def test_class_folders_of_expressions_stay_classes_beside_other_tables(tmp_path: Path) -> None:
    root = write(tmp_path / "d", "happy/1.png", "sad/2.png")
    (root / "sizes.csv").write_text("file,width\n1.png,8\n")
    with pytest.warns(UserWarning, match=r"passed over 1 file in '.*': 1 \.csv"):
        assert read_dataset(root).labels.labels == ("happy", "sad")


def test_classes_that_look_like_characters_are_no_ferg(tmp_path: Path) -> None:
    """A folder named very_anger made the whole set FERG-DB, of which all other classes were skipped."""
    root = write(tmp_path / "d", "very_anger/very_anger_1.png", "some_joy/some_joy_1.png", "calm/1.png")
    assert read_dataset(root).labels.labels == ("calm", "some_joy", "very_anger")


def test_numbered_folders_that_are_not_rafdb_are_not_given_its_labels(tmp_path: Path) -> None:
    root = write(tmp_path / "d", *(f"train/{i}/train_{i}.jpg" for i in range(1, 8)))
    with pytest.raises(DatasetError, match="numbers without a name: 1, 2, 3"):
        read_dataset(root)
    names = {str(i): name for i, name in enumerate(("sad", "happy", "fear", "angry", "disgust", "x", "y"), start=1)}
    assert read_dataset(root, classes=names).labels.labels[-2:] == ("x", "y")


def test_a_table_without_header_is_refused_not_shortened(tmp_path: Path) -> None:
    root = write(tmp_path / "d", "1.png", "2.png", "3.png")
    (root / "labels.csv").write_text("1.png,happy\n2.png,sad\n3.png,fear\n")
    for options in ({}, {"image_column": "1.png", "label_column": "happy"}):
        with pytest.raises(DatasetError, match="has a picture in its first line; expected names of columns"):
            read_dataset(root / "labels.csv", **options)  # type: ignore[arg-type]


def test_kaggles_folder_with_train_csv_is_read(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("emotion,pixels\n3,1 2 3 4\n")
    (tmp_path / "test.csv").write_text("pixels\n1 2 3 4\n")
    assert read_dataset(tmp_path).images.ravel().tolist() == [1, 2, 3, 4]
