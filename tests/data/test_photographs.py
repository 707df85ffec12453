"""Photographs as data: faces found, cropped, counted; photographs noticed; persons kept in one split."""

from __future__ import annotations

import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from mien.cartoons.characters import write_cartoons
from mien.data.dataset import Dataset, FoundFaces, PictureLabel
from mien.data.photographs import FaceCropper
from mien.data.prepared import prepare
from mien.data.readers import read_dataset
from mien.data.splits import draw_splits
from mien.data.synthetic import draw_faces
from mien.errors import ConfigError, DatasetError
from mien.recognizer import Recognizer
from mien.sources.pictures import read_picture
from mien.structures import Box, ImageArray
from mien.vision.crop import crop_faces
from photographs import SquareDetector, names_of, scene, square_photo, write_pictures

SQUARES = FaceCropper(SquareDetector())


def faces_found(dataset: Dataset) -> FoundFaces:
    assert dataset.found is not None
    return dataset.found


def crop_of(image: ImageArray, cropper: FaceCropper = SQUARES) -> ImageArray:
    crop, _ = cropper.crop(image)
    assert crop is not None
    return crop


def test_a_dataset_of_photographs_holds_what_the_recognizer_sees(tmp_path: Path, tiny_model: Path) -> None:
    root = write_pictures(tmp_path / "d", {f"{('happy', 'sad')[i % 2]}/{i}.png": scene(i) for i in (0, 1, 2, 3)})
    dataset = read_dataset(root, cropper=FaceCropper("haar"), size=48)
    recognizer = Recognizer("haar", tiny_model)
    expected = []
    for name in names_of(dataset.names):
        (expression,) = recognizer.recognize(read_picture(root / name))
        expected.append(expression.prediction.probabilities)
    assert len(expected) == 4
    seen = recognizer.classifier.predict_proba(list(dataset.images))
    np.testing.assert_array_equal(seen, expected)


def test_grey_photographs_give_grey_crops_and_colour_ones_rgb() -> None:
    grey, colour = square_photo((30, 20, 60)), square_photo((30, 20, 60), colour=True)
    assert crop_of(grey).ndim == 2
    (expected,) = crop_faces(colour, SquareDetector().detect(colour))
    np.testing.assert_array_equal(crop_of(colour), expected)


def test_pictures_without_a_face_are_left_out_and_listed_with_split_and_label(tmp_path: Path) -> None:
    pictures = {
        f"{split}/{label}/1.png": square_photo((30, 20, 60)) for split in ("train", "val", "test") for label in "ab"
    }
    dataset = read_dataset(write_pictures(tmp_path / "d", pictures | {"val/b/2.png": square_photo()}), cropper=SQUARES)
    assert len(dataset) == 6
    found = faces_found(dataset)
    assert (found.detector, found.n_pictures, found.crowded) == ("square", 7, ())
    assert found.missed == (PictureLabel("val/b/2.png", "valid", "b"),)
    assert faces_found(dataset.split("valid")).missed == found.missed
    assert faces_found(dataset.split("test")).missed == ()


def test_pictures_have_the_same_splits_whatever_the_detector_misses(tmp_path: Path) -> None:
    faces = {f"{label}/{i}.png": square_photo((30, 20, 60)) for label in "ab" for i in range(20)}
    missed = {name: square_photo() if int(Path(name).stem) % 3 == 0 else image for name, image in faces.items()}
    splits = []
    for number, pictures in enumerate((faces, missed)):
        dataset = read_dataset(write_pictures(tmp_path / str(number), pictures), cropper=SQUARES)
        splits.append(dict(zip(names_of(dataset.names), dataset.splits.tolist(), strict=True)))
    assert len(splits[1]) < len(splits[0])
    assert splits[1] == {name: splits[0][name] for name in splits[1]}


def test_of_several_faces_the_largest_is_taken_or_the_picture_skipped(tmp_path: Path) -> None:
    one, two = square_photo((30, 20, 60)), square_photo((10, 10, 30), (60, 20, 70))
    root = write_pictures(
        tmp_path / "d", {"a/1.png": one, "a/2.png": one, "a/3.png": one, "b/1.png": one, "b/2.png": two}
    )
    largest = read_dataset(root, cropper=SQUARES, size=48)
    assert len(largest) == 5
    assert [picture.name for picture in faces_found(largest).crowded] == ["b/2.png"]
    (expected,) = crop_faces(np.dstack([two] * 3), [max(SquareDetector().detect(two), key=lambda f: f.box.area)])
    np.testing.assert_array_equal(crop_of(two), expected[..., 0])
    skipped = read_dataset(root, cropper=FaceCropper(SquareDetector(), several="skip"), size=48)
    assert names_of(skipped.names) == ["a/1.png", "a/2.png", "a/3.png", "b/1.png"]
    assert (faces_found(skipped).n_pictures, faces_found(skipped).missed) == (5, ())


def test_the_face_that_the_data_names_is_taken_though_a_larger_one_is_there() -> None:
    photo = square_photo((10, 10, 30), (60, 20, 70))
    crop, n = SQUARES.crop(photo, near=Box(12, 11, 44, 38))
    assert crop is not None
    assert (n, crop.shape) == (1, (48, 48))
    assert SQUARES.crop(photo, near=Box(0, 90, 30, 120)) == (None, 0)


def test_photographs_without_any_face_are_one_clear_error(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "d", {"a/1.png": square_photo(), "b/1.png": square_photo()})
    with pytest.raises(
        DatasetError, match=r"detector 'square' found no face in any of 2 pictures of .*; choose another"
    ):
        read_dataset(root, cropper=SQUARES)


def test_an_unknown_choice_for_several_faces_is_refused() -> None:
    with pytest.raises(ConfigError, match="several is 'best'; choose from largest, skip"):
        FaceCropper(SquareDetector(), several="best")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("suffix", "options", "flag"),
    [
        (".npz", {"cropper": SQUARES}, "--detector"),
        (".csv", {"cropper": SQUARES}, "--detector"),
        (".npz", {"group_by": "name"}, "--group-by"),
        (".csv", {"group_by": "name"}, "--group-by"),
        (".npz", {"classes": {"1": "a"}}, "--classes"),
    ],
)
def test_data_without_picture_files_refuses_options_of_pictures(
    tmp_path: Path, suffix: str, options: dict[str, object], flag: str
) -> None:
    path = tmp_path / f"d{suffix}"
    prepare(draw_faces(20, seed=0), tmp_path / "d.npz")
    (tmp_path / "d.csv").write_text("emotion,pixels,Usage\n3,1 2 3 4,Training\n")
    with pytest.raises(DatasetError, match=rf"{flag} is for .*leave it out"):
        read_dataset(path, **options)  # type: ignore[arg-type]


def test_a_prepared_file_keeps_the_record_of_faces_and_persons(tmp_path: Path) -> None:
    pictures = {f"{label}/{p}_{i}.png": square_photo((30, 20, 60)) for label, p in ("ax", "by") for i in range(4)}
    pictures["b/z_1.png"] = square_photo()
    dataset = read_dataset(write_pictures(tmp_path / "d", pictures), cropper=SQUARES, group_by="name")
    prepare(dataset, tmp_path / "d.npz")
    again = read_dataset(tmp_path / "d.npz")
    assert again.found == dataset.found
    assert names_of(again.groups) == names_of(dataset.groups)
    assert again.fingerprint == dataset.fingerprint


def test_photographs_read_as_crops_are_noticed(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "d", {f"{'ab'[i % 2]}/{i}.png": scene(i, size=(260, 260)) for i in range(8)})
    noticed = (
        r"'.*d' seems to hold photographs, not crops: of 8 images looked at, [5-8] with a face below.*--detector auto"
    )
    with pytest.warns(UserWarning, match=noticed):
        read_dataset(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_dataset(root, cropper=FaceCropper("haar"))


@pytest.mark.parametrize(
    ("shape", "seen"),
    [((96, 128), "8 not square"), ((130, 100), "8 not square"), ((100, 115), ""), ((300, 400), "8 not square")],
)
def test_images_that_would_be_squeezed_are_noticed_however_large_the_face(
    tmp_path: Path, shape: tuple[int, int], seen: str
) -> None:
    faces = draw_faces(8, seed=3, size=min(shape)).images[..., 0]
    pad = [(0, side - min(shape)) for side in shape]
    root = write_pictures(
        tmp_path, {f"{'ab'[i % 2]}/{i}.png": np.pad(face, pad, mode="edge") for i, face in enumerate(faces)}
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_dataset(root)
    assert [f"of 8 images looked at, {seen}" in str(each.message) for each in caught] == ([True] if seen else [])


def test_a_class_that_loses_all_pictures_to_the_detector_is_named(tmp_path: Path) -> None:
    pictures = {f"{label}/{i}.png": square_photo((30, 20, 60)) for label in "ab" for i in range(3)}
    pictures |= {f"c/{i}.png": square_photo() for i in range(3)} | {"b/9.png": square_photo()}
    with pytest.warns(UserWarning, match=r"'square' leaves no picture of c \(of 3 pictures\); try another --detector"):
        read_dataset(write_pictures(tmp_path, pictures), cropper=SQUARES)


def test_crops_and_cartoons_are_no_photographs(tmp_path: Path) -> None:
    crops = draw_faces(24, seed=0, size=112)
    pictures = {f"{'ab'[i % 2]}/{i}.png": image[..., 0] for i, image in enumerate(crops.images)}
    assert len(read_dataset(write_pictures(tmp_path / "crops", pictures))) == 24
    write_cartoons(tmp_path / "cartoons", 40, seed=0, size=100)
    assert len(read_dataset(tmp_path / "cartoons", reader="ferg")) == 40
    assert len(read_dataset(tmp_path / "crops", size=48)) == 24


def test_crops_of_fer2013_are_no_photographs(tmp_path: Path, fer2013_path: Path) -> None:
    images = read_dataset(fer2013_path).images[::1500, ..., 0]
    pictures = {f"{'ab'[i % 2]}/{i}.png": np.kron(image, np.ones((2, 2), np.uint8)) for i, image in enumerate(images)}
    read_dataset(write_pictures(tmp_path / "d", pictures))


def persons_by_split(dataset: Dataset) -> dict[int, set[str]]:
    persons = defaultdict(set)
    for name, split in zip(names_of(dataset.names), dataset.splits.tolist(), strict=True):
        persons[split].add(Path(name).stem.rsplit("_", 1)[0])
    return persons


def persons(n: int, images: int) -> dict[str, ImageArray]:
    """Return pictures of n persons, some in two classes, as Ada_Lovelace_0001.png."""
    return {
        f"{('happy', 'sad', 'fear')[(person + i // 3) % 3]}/Person_{person:02}_{i:04}.png": square_photo((30, 20, 60))
        for person in range(n)
        for i in range(1 + person % images)
    }


def test_a_person_is_in_one_split_and_every_class_in_all(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "d", persons(40, 6))
    dataset = read_dataset(root, group_by="name")
    found = persons_by_split(dataset)
    assert sum(map(len, found.values())) == len(set.union(*found.values()))
    assert names_of(dataset.groups)[0].startswith("Person_")
    counts = dataset.counts()
    assert (counts > 0).all()
    share = counts / counts.sum(axis=0)
    assert (abs(share[1:] - 0.1) < 0.06).all()
    mixed = persons_by_split(read_dataset(root))
    assert mixed[0] & mixed[1]


def test_splits_drawn_anew_keep_persons_together_too(tmp_path: Path) -> None:
    dataset = read_dataset(write_pictures(tmp_path / "d", persons(40, 6)), group_by="name")
    drawn = [draw_splits(dataset, (0.6, 0.2, 0.2), seed=seed) for seed in (0, 0, 1)]
    found = persons_by_split(drawn[0])
    assert sum(map(len, found.values())) == len(set.union(*found.values()))
    share = drawn[0].counts().sum(axis=1) / len(dataset)
    assert abs(share - [0.6, 0.2, 0.2]).max() < 0.03
    assert drawn[0].splits.tolist() == drawn[1].splits.tolist() != drawn[2].splits.tolist()


def test_a_rare_class_has_a_person_in_each_split(tmp_path: Path) -> None:
    pictures = persons(30, 4) | {f"disgust/Rare_{who}_1.png": square_photo((30, 20, 60)) for who in "abcd"}
    counts = read_dataset(write_pictures(tmp_path / "d", pictures), group_by="name").counts()
    assert counts[:, 0].tolist() == [2, 1, 1]


@pytest.mark.parametrize(("n", "expected"), [(12, [1, 1, 1]), (3, [1, 1, 1]), (2, [1, 1, 0]), (1, [1, 0, 0])])
def test_every_split_has_a_person_where_there_are_enough(tmp_path: Path, n: int, expected: list[int]) -> None:
    """Twelve subjects of CK+, with three frames of each of two expressions, were all in train."""
    pictures = {
        f"{label}/S{person}_{i}.png": square_photo((30, 20, 60))
        for person in range(n) for label in ("happy", "sad") for i in range(3)
    }  # fmt: skip
    root = write_pictures(tmp_path, pictures)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = read_dataset(root, group_by="name")
        drawn = draw_splits(dataset, (0.5, 0.25, 0.25))
    for split in (dataset, drawn):
        assert [min(len(persons_by_split(split)[i]), 1) for i in range(3)] == expected
        assert len(persons_by_split(split)[0]) >= n // 3
    texts = [str(each.message) for each in caught]
    assert len(texts) == (0 if n > 2 else 2)
    assert all(text.startswith(f"{n} persons or groups are too few for 3 splits") for text in texts)


def test_persons_in_several_splits_of_the_data_are_counted(tmp_path: Path) -> None:
    names = (
        "train/a/Ada_1",
        "train/b/Bob_1",
        "train/b/Eve_1",
        "test/a/Ada_2",
        "test/b/Bob_2",
        "val/a/Dan_1",
        "val/b/Dan_2",
    )
    root = write_pictures(tmp_path / "d", {f"{name}.png": square_photo((30, 20, 60)) for name in names})
    with pytest.warns(
        UserWarning, match=r"2 of 4 persons or groups in .* several splits, such as 'Ada' in train and test"
    ):
        dataset = read_dataset(root, group_by="name")
    assert dataset.counts().sum(axis=1).tolist() == [3, 2, 2]


def test_names_without_a_person_are_refused(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "d", {"a/Ada_1.png": square_photo(), "b/photo.png": square_photo()})
    with pytest.raises(
        DatasetError, match=r"1 of 2 file names in .* hold no person: b/photo\.png; expected names like Ada"
    ):
        read_dataset(root, group_by="name")
    with pytest.raises(DatasetError, match=r"--group-by is 'person', but .* has no label table"):
        read_dataset(root, group_by="person")


def test_numbered_classes_need_names(tmp_path: Path) -> None:
    root = write_pictures(tmp_path / "d", {f"{i}/1.png": square_photo((30, 20, 60)) for i in (1, 2, 10)})
    with pytest.raises(DatasetError, match=r"numbers without a name: 1, 2, 10; name them all: --classes 1=surprise"):
        read_dataset(root)
    with pytest.raises(DatasetError, match="numbers without a name: 10"):
        read_dataset(root, classes={"1": "surprise", "2": "fear"})
    dataset = read_dataset(root, classes={"1": "Surprised", "2": "fear", "10": "neutral"})
    assert dataset.labels.labels == ("fear", "neutral", "surprise")
    with pytest.warns(UserWarning, match="has no class 7, to which a name was given"):
        read_dataset(root, classes={"1": "surprise", "2": "fear", "10": "neutral", "7": "sad"})
