"""Layouts of public datasets, on drawn stand-ins: labels, splits, crops, groups, missing and malformed files."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mien.data.dataset import SPLITS, Dataset
from mien.data.photographs import FaceCropper
from mien.data.readers import READERS, read_dataset
from mien.data.synthetic import draw_faces
from mien.errors import DatasetError
from mien.labels import FER2013, FERPLUS
from mien.structures import ImageArray
from photographs import SquareDetector, names_of, square_photo, write_pictures

SQUARES = FaceCropper(SquareDetector())
FEW_GROUPS = pytest.mark.filterwarnings("ignore:2 persons or groups are too few for 3 splits")
CROP = draw_faces(1, seed=0, size=100).images[0, ..., 0]
AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)


def photo(i: int) -> ImageArray:
    """Return a photograph with a square of its own brightness."""
    return square_photo((40, 20, 60)) - np.uint8(i)


def labels_by_name(dataset: Dataset) -> dict[str, str]:
    labels = [dataset.labels.labels[target] for target in dataset.targets]
    return dict(zip(names_of(dataset.names), labels, strict=True))


def splits_by_name(dataset: Dataset) -> dict[str, str]:
    return dict(zip(names_of(dataset.names), [SPLITS[i] for i in dataset.splits], strict=True))


@pytest.fixture
def rafdb(tmp_path: Path) -> Path:
    """RAF-DB with train pictures of the labels 1 to 7 and a test picture of label 5."""
    root = tmp_path / "RAF"
    names = [*(f"train_0000{i}" for i in range(1, 8)), "test_0001"]
    write_pictures(root, {f"basic/Image/aligned/{name}_aligned.jpg": CROP for name in names})
    write_pictures(root, {f"basic/Image/original/{name}.jpg": photo(0) for name in names})
    lines = [f"train_0000{i}.jpg {i}" for i in range(1, 8)] + ["test_0001.jpg 5"]
    (root / "basic/EmoLabel").mkdir()
    (root / "basic/EmoLabel/list_patition_label.txt").write_text("\n".join(lines) + "\n")
    return root


def test_rafdb_is_read_aligned_with_its_splits_and_labels(rafdb: Path) -> None:
    for place in (rafdb, rafdb / "basic"):
        dataset = read_dataset(place)
        assert dataset.labels is FER2013
        assert dataset.images.shape == (8, 100, 100, 1)
        found = {Path(name).name: label for name, label in labels_by_name(dataset).items()}
        expected = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
        assert [found[f"train_0000{i}_aligned.jpg"] for i in range(1, 8)] == list(expected)
        assert found["test_0001_aligned.jpg"] == "sad"
        assert dataset.held_out == ("valid",)
        assert dataset.counts()[2].sum() == 1


def test_faces_are_detected_in_the_originals_of_rafdb(rafdb: Path) -> None:
    dataset = read_dataset(rafdb, cropper=SQUARES)
    assert names_of(dataset.names)[0] == "basic/Image/original/test_0001.jpg"
    assert dataset.found is not None
    assert dataset.found.n_pictures == 8


@pytest.mark.parametrize("zipped", [False, True])
def test_kaggles_folders_of_rafdb_need_no_list(tmp_path: Path, zipped: bool) -> None:
    names = [
        *(f"DATASET/train/{i}/train_0000{i}_aligned.jpg" for i in range(1, 8)),
        "DATASET/test/1/test_0001_aligned.jpg",
    ]
    root = write_pictures(tmp_path / "archive", dict.fromkeys(names, CROP))
    (root / "train_labels.csv").write_text("image,label\ntrain_00001_aligned.jpg,1\n")
    (root / "test_labels.csv").write_text("image,label\ntest_0001_aligned.jpg,1\n")
    path = root
    if zipped:
        path = tmp_path / "archive.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.write(root / name, name)
    dataset = read_dataset(path)
    assert dataset.labels is FER2013
    assert labels_by_name(dataset)["DATASET/train/4/train_00004_aligned.jpg"] == "happy"
    assert splits_by_name(dataset)["DATASET/test/1/test_0001_aligned.jpg"] == "test"


def test_names_of_rafdb_may_have_any_number_of_digits(tmp_path: Path) -> None:
    names = [*(f"train/{i}/train_0000{i}_aligned.jpg" for i in range(1, 8)), "test/1/test_00001_aligned.JPG"]
    splits = splits_by_name(read_dataset(write_pictures(tmp_path, dict.fromkeys(names, CROP))))
    assert splits["test/1/test_00001_aligned.JPG"] == "test"
    assert len(splits) == 8


@FEW_GROUPS
def test_pictures_that_a_layout_does_not_cover_are_counted(tmp_path: Path, rafdb: Path) -> None:
    ckplus = tmp_path / "CK"
    (ckplus / "Emotion/S005/001").mkdir(parents=True)
    (ckplus / "Emotion/S005/001/S005_001_00000005_emotion.txt").write_text("3.0")
    (ckplus / "Emotion/S006/001").mkdir(parents=True)
    (ckplus / "Emotion/S006/001/S006_001_00000005_emotion.txt").write_text("5.0")
    write_pictures(ckplus, {f"images/{s}/001/{s}_001_{i:08}.png": CROP for s in ("S005", "S006") for i in range(1, 6)})
    roots = {
        "RAF-DB": rafdb,
        "ExpW": write_expw(tmp_path / "ExpW", ["a b_1.jpg 0 20 10 60 70 90 3", "c_2.jpg 0 20 10 60 70 90 6"]),
        "CK+": ckplus,
    }
    for form, root in roots.items():
        with warnings.catch_warnings(record=True) as complete:
            warnings.simplefilter("always")
            n = len(read_dataset(root, cropper=SQUARES if form == "ExpW" else None))
        assert not [str(each.message) for each in complete if "passed over" in str(each.message)]
        write_pictures(root, {"more/1.jpg": CROP})
        with pytest.warns(
            UserWarning, match=rf"passed over 1 pictures in .*, read as {re.escape(form)}.*: more/1\.jpg"
        ):
            assert len(read_dataset(root, cropper=SQUARES if form == "ExpW" else None)) == n


def write_affectnet(root: Path) -> Path:
    """Write AffectNet's lists: all labels, a picture without a box, and a validation list without header."""
    rows = [f"{i % 3}/a{i}.jpg,40,20,60,60,1;2,{i},0.1,0.2" for i in range(11)]
    rows.append("0/whole.jpg,NULL,NULL,NULL,NULL,NULL,1,-2,-2")
    lists = root / "Manually_Annotated_file_lists"
    lists.mkdir(parents=True)
    (lists / "training.csv").write_text("\n".join([AFFECTNET_HEADER, *rows]))
    (lists / "validation.csv").write_text("1/v.jpg,40,20,60,60,1;2,6,0.1,0.2\n")
    names = [*(f"{i % 3}/a{i}.jpg" for i in range(8)), "0/whole.jpg", "1/v.jpg"]
    return write_pictures(root, {f"Manually_Annotated_Images/{name}": photo(0) for name in names})


def test_affectnets_lists_give_labels_boxes_and_splits(tmp_path: Path) -> None:
    root = write_affectnet(tmp_path / "AffectNet")
    with pytest.warns(UserWarning, match="without an expression, which are left out: 1 none, 1 uncertain, 1 no face"):
        dataset = read_dataset(root, size=48)
    assert dataset.labels is FERPLUS
    labels = {Path(name).name: label for name, label in labels_by_name(dataset).items()}
    expected = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"]
    assert [labels[f"a{i}.jpg"] for i in range(8)] == expected
    splits = {Path(name).name: split for name, split in splits_by_name(dataset).items()}
    assert (labels["v.jpg"], splits["v.jpg"], dataset.held_out) == ("angry", "valid", ("test",))
    brightness = {
        Path(name).name: image.mean() for name, image in zip(names_of(dataset.names), dataset.images, strict=True)
    }
    assert brightness["a1.jpg"] > 200 > 150 > brightness["whole.jpg"]  # the box is the square; without it, the photo


def test_faces_in_affectnet_are_found_near_their_boxes(tmp_path: Path) -> None:
    root = write_affectnet(tmp_path / "AffectNet")
    image = square_photo((40, 20, 50), (100, 60, 55))
    write_pictures(root, {"Manually_Annotated_Images/1/a1.jpg": image})
    with pytest.warns(UserWarning, match="without an expression"):
        dataset = read_dataset(root, cropper=SQUARES)
    assert dataset.found is not None
    assert (dataset.found.crowded, dataset.found.missed) == ((), ())


def test_faces_apart_from_the_given_boxes_are_counted_apart_from_pictures_without_a_face(tmp_path: Path) -> None:
    root = write_affectnet(tmp_path / "AffectNet")
    pictures = {"1/a1.jpg": square_photo((100, 100, 30)), "2/a2.jpg": square_photo()}
    write_pictures(root, {f"Manually_Annotated_Images/{name}": image for name, image in pictures.items()})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_dataset(root, cropper=SQUARES)
    (text,) = [str(each.message) for each in caught if "overlaps" in str(each.message)]
    assert text.startswith("in 1 of 2 pictures of")


def test_affectnets_arrays_give_labels_and_splits(tmp_path: Path) -> None:
    root = tmp_path / "AffectNet"
    for part, stem, label in (
        ("train_set", "7", "1"), ("train_set", "8", "2"), ("val_set", "7", "7"), ("train_set", "9", "8"),
    ):  # fmt: skip
        write_pictures(root, {f"{part}/images/{stem}.jpg": CROP})
        (root / part / "annotations").mkdir(exist_ok=True)
        np.save(root / part / "annotations" / f"{stem}_exp.npy", np.array(label))
        np.save(root / part / "annotations" / f"{stem}_val.npy", np.array("0.5"))
    with pytest.warns(UserWarning, match="left out: 1 none"):
        dataset = read_dataset(root)
    assert labels_by_name(dataset) == {
        "train_set/images/7.jpg": "happy", "train_set/images/8.jpg": "sad", "val_set/images/7.jpg": "contempt",
    }  # fmt: skip
    assert splits_by_name(dataset)["val_set/images/7.jpg"] == "valid"
    (root / "val_set/annotations/7_exp.npy").write_bytes(b"no array")
    with pytest.raises(DatasetError, match=r"'val_set/annotations/7_exp\.npy' in .* is not a label of AffectNet"):
        read_dataset(root)


def test_another_training_csv_is_not_affectnets(tmp_path: Path) -> None:
    write_pictures(tmp_path, {"1.png": CROP, "2.png": CROP})
    (tmp_path / "training.csv").write_text("image,label\n1.png,happy\n2.png,sad\n")
    assert labels_by_name(read_dataset(tmp_path)) == {"1.png": "happy", "2.png": "sad"}


def write_expw(root: Path, lines: list[str]) -> Path:
    write_pictures(
        root, {f"image/origin/{name}.jpg": square_photo((10, 20, 50), (80, 40, 60)) for name in ("a b_1", "c_2")}
    )
    (root / "label").mkdir()
    (root / "label/label.lst").write_text("\n".join(lines))
    return root


@FEW_GROUPS
def test_expw_gives_each_labelled_face_of_a_picture(tmp_path: Path) -> None:
    lines = ["a b_1.jpg 0 20 10 60 70 90.5 3", "a b_1.jpg 1 40 80 140 100 80 0", "c_2.jpg 0 20 10 60 70 90.5 6"]
    root = write_expw(tmp_path / "ExpW", lines)
    dataset = read_dataset(root)
    assert labels_by_name(dataset) == {
        "image/origin/a b_1.jpg#0": "happy", "image/origin/a b_1.jpg#1": "angry", "image/origin/c_2.jpg#0": "neutral",
    }  # fmt: skip
    assert names_of(dataset.groups) == ["a b_1.jpg", "a b_1.jpg", "c_2.jpg"]
    assert (dataset.images.mean(axis=(1, 2, 3)) > 200).all()
    found = read_dataset(root, cropper=SQUARES)
    assert len(found) == 3
    assert found.images.mean() > 200


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("c_2.jpg 0 x 10 60 70 90.5 3", "line 1 has a box that is not four numbers"),
        ("c_2.jpg 0 20 10 60 70 90.5 9", "line 1 has the label '9'; expected 0 angry, 1 disgust"),
        ("c_2.jpg 0", "line 1 is 'c_2.jpg 0'; expected 8 fields"),
        ("no.jpg 0 20 10 60 70 90.5 3", "none of the 1 labelled pictures is in .*, such as no.jpg; put them there"),
    ],
)
def test_a_malformed_list_is_one_clear_line(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(DatasetError, match=expected) as caught:
        read_dataset(write_expw(tmp_path / "ExpW", [line]))
    assert len(str(caught.value).splitlines()) == 1


@FEW_GROUPS
def test_listed_pictures_that_are_missing_are_counted(tmp_path: Path) -> None:
    lines = ["a b_1.jpg 0 20 10 60 70 90.5 3", "c_2.jpg 0 20 10 60 70 90.5 6", "d.jpg 0 20 10 60 70 90.5 6"]
    with pytest.warns(
        UserWarning, match=r"1 of 3 labelled pictures are missing in .*, such as d\.jpg; they are left out"
    ):
        assert len(read_dataset(write_expw(tmp_path / "ExpW", lines))) == 2


@FEW_GROUPS
def test_ckplus_gives_the_last_frames_of_labelled_sequences(tmp_path: Path) -> None:
    root = tmp_path / "CK+"
    for subject, sequence, label in (
        ("S005", "001", 3.0),
        ("S010", "002", 7.0),
        ("S010", "004", 1.0),
        ("S011", "001", None),
    ):
        frames = {
            f"cohn-kanade-images/{subject}/{sequence}/{subject}_{sequence}_{i:08}.png": photo(i) for i in range(1, 6)
        }
        write_pictures(root, frames)
        folder = root / "Emotion" / subject / sequence
        folder.mkdir(parents=True)
        if label is not None:
            (folder / f"{subject}_{sequence}_00000005_emotion.txt").write_text(f"   {label:.7e}\n")
    dataset = read_dataset(root, cropper=SQUARES)
    assert len(dataset) == 9
    assert sorted({Path(name).stem[-1] for name in names_of(dataset.names)}) == ["3", "4", "5"]
    labels = {name.split("/")[2] + name.split("/")[1]: label for name, label in labels_by_name(dataset).items()}
    assert labels == {"001S005": "disgust", "002S010": "surprise", "004S010": "angry"}
    assert set(names_of(dataset.groups)) == {"S005", "S010"}
    for subject in ("S005", "S010"):
        assert len({split for name, split in splits_by_name(dataset).items() if subject in name}) == 1
    bad = root / "Emotion/S005/001/S005_001_00000005_emotion.txt"
    bad.write_text("sad")
    with pytest.raises(
        DatasetError, match=r"S005_001_00000005_emotion\.txt' in .* has the label 'sad'; expected 0 neutral"
    ):
        read_dataset(root)


def write_ferplus(root: Path) -> Path:
    rows = {
        "Train": ["4,0,0,1,9,2,0,0,0,0", "0,10,0,0,0,0,0,0,0,0", "5,5,0,0,0,0,0,0,0,0"],
        "Valid": ["0,0,0,0,0,0,0,9,0,0", "0,0,0,0,0,0,0,0,0,10"],
        "Test": ["10,0,0,0,0,0,0,0,0,0", "0,0,10,0,0,0,0,0,0,0"],
    }
    number = 0
    for split, votes in rows.items():
        lines = []
        for row in votes:
            name = f"fer{number:07}.png"
            write_pictures(root, {f"FER2013{split}/{name}": np.full((6, 6), number, np.uint8)})
            lines.append(f'{name},"(0, 0, 48, 48)",{row}')
            number += 1
        (root / f"FER2013{split}/label.csv").write_text("\n".join(lines) + "\n")
    return root


def test_ferplus_in_its_own_folders_is_read_with_majority_labels_and_votes(tmp_path: Path) -> None:
    """The folders were taken for classes: FER2013Train, FER2013Valid, FER2013Test."""
    root = write_ferplus(tmp_path / "FERPlus/data")
    with pytest.warns(UserWarning, match="without an expression, which are left out: 1 unknown, 1 nf"):
        dataset = read_dataset(root)
    assert dataset.labels is FERPLUS
    assert list(labels_by_name(dataset).values()) == ["neutral", "surprise", "angry", "happy", "contempt"]
    assert list(splits_by_name(dataset).values()) == ["test", "test", "train", "train", "valid"]
    assert dataset.votes is not None
    assert dataset.votes[2].tolist() == [4, 0, 0, 1, 9, 2, 0, 0, 0, 0]
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for file in root.rglob("*.*"):
            archive.write(file, file.relative_to(root))
    with pytest.warns(UserWarning, match="1 unknown, 1 nf"):
        assert read_dataset(tmp_path / "data.zip").fingerprint == dataset.fingerprint


@pytest.mark.parametrize(
    "row", ["a.png", "a.png,box,1,2", "a.png,box,-1,0,0,0,0,0,0,0,0,0", "a.png,box,x,0,0,0,0,0,0,0,0,0"]
)
def test_a_malformed_line_of_ferplus_is_named(tmp_path: Path, row: str) -> None:
    root = write_ferplus(tmp_path)
    with (root / "FER2013Test/label.csv").open("a") as file:
        file.write(f"{row}\n")
    with pytest.raises(DatasetError, match=r"FER2013Test/label\.csv' in .*, line 3 is 'a\.png.*ten whole numbers"):
        read_dataset(root)


@pytest.mark.parametrize("reader", ["raf-db", "affectnet", "expw", "ck+", "ferplus"])
def test_a_layout_that_is_not_there_is_refused(tmp_path: Path, reader: str) -> None:
    root = write_pictures(tmp_path / "d", {"happy/1.png": CROP, "sad/2.png": CROP})
    assert not READERS[reader].can_read(root)
    with pytest.raises(DatasetError, match="none of the 0 labelled pictures is in"):
        read_dataset(root, reader=reader)
    with pytest.raises(DatasetError, match="takes no other votes"):
        read_dataset(root, reader=reader, votes=Path("votes.csv"))
    with pytest.raises(DatasetError, match="--classes is for class folders"):
        read_dataset(root, reader=reader, classes={"1": "happy"})
