"""Label tables beside pictures: columns found or chosen, pictures found, and every kind of bad row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.data.dataset import SPLITS, Dataset
from mien.data.readers import read_dataset
from mien.errors import DatasetError
from mien.structures import ImageArray
from photographs import names_of, write_pictures


def picture(i: int) -> ImageArray:
    return np.full((8, 8), i, np.uint8)


def write_table(
    root: Path, text: str, *, name: str = "labels.csv", pictures: tuple[str, ...] = ("1", "2", "3")
) -> Path:
    write_pictures(root, {f"images/{p}.png": picture(i) for i, p in enumerate(pictures, start=1)})
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def labels_of(dataset: Dataset) -> dict[int, str]:
    """Return the label of each image by its brightness."""
    return {
        int(image[0, 0, 0]): dataset.labels.labels[t] for image, t in zip(dataset.images, dataset.targets, strict=True)
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "image,label\n1.png,happy\n2.png,SAD\n3.png,Happiness\n"),
        ("legend.csv", "user.id,image,emotion\nx,1.png,happiness\nx,2.png,sadness\ny,3.png,joy\n"),
        ("any.tsv", "Expression\tFile Name\nhappy\timages/1.png\nsad\timages\\2.png\nhappy\t./images/3.png\n"),
        ("data/legend.csv", "\ufeffimage;emotion\n1;happy\n2;sad\n\n3;happy\n"),
    ],
)
def test_columns_and_pictures_are_found_by_their_names(tmp_path: Path, name: str, text: str) -> None:
    path = write_table(tmp_path / "d", text, name=name)
    dataset = read_dataset(tmp_path / "d")
    assert dataset.name == "d"
    assert labels_of(dataset) == {1: "happy", 2: "sad", 3: "happy"}
    assert names_of(dataset.names) == ["images/1.png", "images/2.png", "images/3.png"]
    if path.parent == tmp_path / "d":
        assert read_dataset(path).fingerprint == dataset.fingerprint


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "d", "image,seen,said,part\n-,1.png,happy,train\n-,2.png,sad,PublicTest\n-,3.png,sad,test\n"
    )
    chosen = {"image_column": "seen", "label_column": "said", "split_column": "part"}
    for place in (path, tmp_path / "d"):
        dataset = read_dataset(place, **chosen)  # type: ignore[arg-type]
        assert labels_of(dataset) == {1: "happy", 2: "sad", 3: "sad"}
        assert [SPLITS[i] for i in dataset.splits] == ["train", "valid", "test"]
    with pytest.raises(
        DatasetError, match=r"has no column 'face' for the pictures; its columns are image, seen, said, part"
    ):
        read_dataset(path, image_column="face", label_column="said")


def test_numbered_labels_get_names(tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", "image,label\n1.png,1\n2.png,2\n3.png,2\n")
    with pytest.raises(DatasetError, match="numbers without a name: 1, 2; name them all: --classes"):
        read_dataset(path)
    assert labels_of(read_dataset(path, classes={"1": "Happy", "2": "sad"})) == {1: "happy", 2: "sad", 3: "sad"}


def test_a_column_of_persons_keeps_them_in_one_split(tmp_path: Path) -> None:
    rows = [(f"{i}", ("happy", "sad")[i % 2], f"p{i // 3}") for i in range(1, 61)]
    text = "image,label,who\n" + "".join(f"{name},{label},{who}\n" for name, label, who in rows)
    path = write_table(tmp_path / "d", text, pictures=tuple(name for name, _, _ in rows))
    dataset = read_dataset(path, group_by="who")
    splits: dict[str, set[int]] = {}
    for group, split in zip(names_of(dataset.groups), dataset.splits.tolist(), strict=True):
        splits.setdefault(group, set()).add(split)
    assert all(len(found) == 1 for found in splits.values())
    assert len(set.union(*splits.values())) == 3
    with pytest.raises(DatasetError, match="has no column 'person' for the persons"):
        read_dataset(path, group_by="person")


def test_tables_named_by_splits_are_read_together(tmp_path: Path) -> None:
    write_table(tmp_path, "image,label\n1.png,happy\n2.png,sad\n", name="train_labels.csv")
    write_table(tmp_path, "image,label\n3.png,sad\n", name="test_labels.csv")
    dataset = read_dataset(tmp_path)
    assert labels_of(dataset) == {1: "happy", 2: "sad", 3: "sad"}
    assert dataset.splits[2] == SPLITS.index("test")
    write_table(tmp_path, "image,label\n3.png,sad\n1.png,happy\n", name="test_labels.csv")
    with pytest.raises(DatasetError, match=r"'images/1\.png' is in several tables"):
        read_dataset(tmp_path)


def test_of_several_other_tables_one_must_be_named(tmp_path: Path) -> None:
    path = write_table(tmp_path, "image,label\n1.png,happy\n2.png,sad\n", name="a.csv")
    write_table(tmp_path, "image,label\n3.png,sad\n", name="b.csv")
    with pytest.raises(DatasetError, match=r"holds 2 tables: a\.csv, b\.csv; pass the one to read"):
        read_dataset(tmp_path)
    with pytest.warns(UserWarning, match=r"passed over 2 files in '.*': 1 \.csv, 1 \.png"):
        assert len(read_dataset(path)) == 2


def test_class_folders_with_another_table_stay_class_folders(tmp_path: Path) -> None:
    write_pictures(tmp_path, {"happy/1.png": picture(1), "sad/2.png": picture(2)})
    (tmp_path / "sizes.csv").write_text("image,width\n1.png,8\n")
    with pytest.warns(UserWarning, match=r"passed over 1 file in '.*': 1 \.csv"):
        assert labels_of(read_dataset(tmp_path)) == {1: "happy", 2: "sad"}


@pytest.mark.filterwarnings("ignore:passed over 1 file")
def test_a_picture_listed_twice_with_one_label_counts_once(tmp_path: Path) -> None:
    path = write_table(tmp_path, "image,label\n1.png,happy\n2.png,sad\n1.png,joy\n")
    assert len(read_dataset(path)) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "image,label\n1.png,happy\n9.png,sad\n8.png,sad\n",
            r"2 of 3 pictures in .* are missing .*'9\.png' in line 3; add them",
        ),
        (
            "image,label\n1.png,happy\nempty.png,sad\n",
            r"1 of 2 pictures in .* are missing or empty .*'empty\.png' in line 3",
        ),
        ("image,label\n1.png,happy\n1.png,sad\n", r"gives '1\.png' two labels: 'happy' in line 2 and 'sad' in line 3"),
        ("image,label\n1.png,happy\n2.png,\n", "line 3 has no label; add it, or remove the row"),
        ("image,label\n1.png,happy\n2.png\n", "line 3 has no label"),
        ("image,label\n,happy\n", "line 2 has no picture"),
        (
            "image,mood\n1.png,happy\n",
            "no column for the labels, such as 'label'; its columns are image, mood; choose one",
        ),
        ("a,label\n1.png,happy\n", r"no column for the pictures, such as 'image'; .*choose one with --image-column"),
        ("image,label\n", "has a header but no rows"),
        ("image,label,split\n1.png,happy,dev\n2.png,sad,2\n", "line 3 has split '2'; expected train, valid or test"),
        ("image,label\n1.png,1\n2.png,happi\n", "numbers without a name: 1"),
    ],
)
def test_a_bad_table_is_one_clear_line(tmp_path: Path, text: str, expected: str) -> None:
    path = write_table(tmp_path / "d", text)
    (tmp_path / "d/images/empty.png").touch()
    with pytest.raises(DatasetError, match=expected) as caught:
        read_dataset(path)
    assert "labels.csv" in str(caught.value) or "name them" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_an_unknown_label_among_numbers_is_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path, "image,label\n1.png,1\n2.png,2\n3.png,happi\n")
    with pytest.raises(DatasetError, match=r"unknown label 'happi' in .*; --classes names happy, sad"):
        read_dataset(path, classes={"1": "happy", "2": "sad"})


def test_a_name_that_several_pictures_have_is_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path, "image,label\n1.png,happy\n")
    write_pictures(tmp_path, {"more/1.png": picture(9)})
    with pytest.raises(
        DatasetError, match=r"line 2 names '1\.png', but .* 2 such pictures: images/1\.png, more/1\.png"
    ):
        read_dataset(path)


def test_a_table_without_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d/labels.csv"
    path.parent.mkdir()
    path.write_text("image,label\n1.png,happy\n")
    with pytest.raises(DatasetError, match=r"holds no pictures for 'labels.csv'; pass the folder that holds both"):
        read_dataset(path)


def test_a_folder_without_a_table_refuses_columns(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "d", {"happy/1.png": picture(1), "sad/2.png": picture(2)})
    with pytest.raises(DatasetError, match="holds no label table"):
        read_dataset(root, label_column="mood")
    with pytest.raises(DatasetError, match="--label-column is for a label table, but"):
        read_dataset(root, reader="folders", label_column="mood")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path, "")
    path.write_bytes(b"image,label\n\xff\xfe\n")
    with pytest.raises(DatasetError, match="not FER2013"):
        read_dataset(path)
    with pytest.raises(DatasetError, match="cannot take the votes"):
        read_dataset(path, reader="table", votes=Path("votes.csv"))
