import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from disks import nested_too_deep
from mien.data.dataset import SPLITS
from mien.data.folders import can_read, read
from mien.data.reading import Reading
from mien.errors import DatasetError
from mien.labels import FER2013
from mien.structures import ImageArray

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
RGB = np.full((8, 8, 3), (200, 100, 0), np.uint8)
KAGGLE = {
    **{f"train/{label}/Training_{i}.jpg": GREY for i, label in enumerate(FER2013)},
    "test/happy/PublicTest_17.jpg": GREY,
    "test/sad/PrivateTest_18.jpg": GREY,
}


def encoded(image: ImageArray, suffix: str) -> bytes:
    return cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()


def write_folder(root: Path, pictures: Mapping[str, ImageArray]) -> Path:
    for name, image in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image, path.suffix))
    return root


def write_zip(path: Path, pictures: Mapping[str, ImageArray]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, image in pictures.items():
            archive.writestr(name, encoded(image, Path(name).suffix))
    return path


def split_of_each(root: Path) -> dict[str, str]:
    """Return the split of each image, which its brightness identifies."""
    dataset = read(root)
    return {f"{i:02}": SPLITS[s] for i, s in zip(dataset.images[:, 0, 0, 0], dataset.splits, strict=True)}


def test_class_folders_become_labels_and_pixels_are_kept(tmp_path: Path) -> None:
    dataset = read(write_folder(tmp_path / "mine", {"sad/1.png": RGB, "Joy/2.png": RGB[::-1]}))
    assert dataset.name == "mine"
    assert dataset.labels.labels == ("happy", "sad")
    assert dataset.targets.tolist() == [0, 1]
    assert np.array_equal(dataset.images, np.stack([RGB, RGB]))


def test_images_have_the_names_of_their_files_below_the_root(tmp_path: Path) -> None:
    pictures = {"wrapped/sad/1.png": GREY, "wrapped/happy/2.png": GREY}
    for names in (
        read(write_folder(tmp_path / "d", pictures)).names,
        read(write_zip(tmp_path / "d.zip", pictures)).names,
    ):
        assert names is not None
        assert names.tolist() == ["wrapped/happy/2.png", "wrapped/sad/1.png"]


def test_a_dataset_has_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folder(tmp_path / "faces.v2", {"a/1.png": GREY, "b/2.png": GREY})
    assert read(root).name == "faces.v2"
    monkeypatch.chdir(root)
    assert (read(Path()).name, read(Path()).labels.name) == ("faces.v2", "faces.v2")
    assert read(write_zip(tmp_path / "faces.zip", {"a/1.png": GREY, "b/2.png": GREY})).name == "faces"


def test_names_that_are_not_utf_8_are_read(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    dataset = read(write_folder(tmp_path / "mine", {f"a/{odd}": GREY, "b/2.png": GREY}))
    assert len(dataset) == 2


@pytest.mark.parametrize(
    ("folder", "split"),
    [("train", "train"), ("Training", "train"), ("val", "valid"), ("validation", "valid"), ("TEST", "test")],
)
def test_split_folders_have_several_accepted_names(tmp_path: Path, folder: str, split: str) -> None:
    others = {f"{name}/{label}/0.png": GREY for name in ("train", "valid", "test") for label in ("happy", "sad")}
    dataset = read(write_folder(tmp_path, {**others, f"{folder}/fear/1.png": GREY}))
    fear = dataset.targets == dataset.labels.index("fear")
    assert [SPLITS[i] for i in dataset.splits[fear]] == [split]


@pytest.mark.parametrize("wrapper", ["", "archive/fer2013/"])
def test_kaggles_layout_is_split_by_file_names(tmp_path: Path, wrapper: str) -> None:
    pictures = {wrapper + name: image for name, image in KAGGLE.items()}
    folder = read(write_folder(tmp_path / "folder", pictures))
    assert folder.name == "fer2013"
    assert folder.labels is FER2013
    assert folder.counts().tolist() == [[1] * 7, [0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0]]
    assert folder.images.shape == (9, 8, 8, 1)


def test_a_zip_gives_the_same_dataset_as_the_folder(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "archive.zip", KAGGLE)
    assert can_read(path)
    assert read(path).fingerprint == read(write_folder(tmp_path / "folder", KAGGLE)).fingerprint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["archive.zip", "folder"]


def test_test_images_with_names_of_their_own_are_the_test_split(tmp_path: Path) -> None:
    pictures = {f"{split}/{label}/a.png": GREY for split in ("train", "val", "test") for label in ("a", "b")}
    assert read(write_folder(tmp_path, pictures)).counts().tolist() == [[1, 1]] * 3


def test_without_split_folders_a_tenth_is_held_out_for_each_of_valid_and_test(tmp_path: Path) -> None:
    pictures = {f"{label}/{i}.png": GREY[:1, :1] for label in ("happy", "sad") for i in range(500)}
    counts = read(write_zip(tmp_path / "a.zip", pictures)).counts()
    assert counts.sum() == 1000
    assert ((counts[1:] >= 30) & (counts[1:] <= 70)).all()


def test_only_the_missing_split_is_held_out(tmp_path: Path) -> None:
    train = {f"train/{label}/{i}.png": GREY[:1, :1] for label in ("happy", "sad") for i in range(100)}
    test = {f"test/{label}/{i}.png": GREY[:1, :1] for label in ("happy", "sad") for i in range(7)}
    counts = read(write_zip(tmp_path / "a.zip", {**train, **test})).counts().sum(axis=1)
    assert counts[2] == 14
    assert 8 <= counts[1] <= 32


def test_an_image_of_a_large_class_keeps_its_split_when_others_are_added(tmp_path: Path) -> None:
    numbered = {f"{('happy', 'sad')[i % 2]}/{i:02}.png": np.full((4, 4), i % 256, np.uint8) for i in range(250)}
    few = dict(list(numbered.items())[:210])
    before = split_of_each(write_folder(tmp_path / "few", few))
    after = split_of_each(write_folder(tmp_path / "many", numbered))
    assert len(set(after.values())) == 3
    assert before == {name: after[name] for name in before}


def test_every_class_of_a_small_folder_has_its_share_of_each_split(tmp_path: Path) -> None:
    pictures = {f"{c}/{i}.png": GREY for c, n in (("happy", 20), ("sad", 15), ("fear", 4)) for i in range(n)}
    dataset = read(write_folder(tmp_path / "faces", pictures))
    assert dataset.labels.labels == ("fear", "happy", "sad")
    assert dataset.counts().tolist() == [[2, 16, 11], [1, 2, 2], [1, 2, 2]]
    assert dataset.held_out == ("valid", "test")
    assert read(write_zip(tmp_path / "faces.zip", pictures)).fingerprint == dataset.fingerprint


def test_a_broken_image_takes_no_place_in_a_split(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {f"{c}/{i}.png": GREY for c in ("happy", "sad") for i in range(4)})
    for path in sorted(root.glob("happy/*.png"))[:1]:
        path.write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 of 8 files"):
        assert read(root).counts().tolist() == [[1, 2], [1, 1], [1, 1]]


def test_pnm_images_are_read(tmp_path: Path) -> None:
    assert len(read(write_folder(tmp_path, {"a/1.pnm": RGB, "b/2.ppm": RGB}))) == 2


def test_mixed_sizes_become_112_pixels_or_the_requested_size(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"a/1.png": GREY, "b/2.png": GREY[:4], "b/3.png": GREY})
    assert read(root).images.shape == (3, 112, 112, 1)
    assert read(root, Reading(size=20)).images.shape == (3, 20, 20, 1)


def test_grey_among_colour_becomes_rgb(tmp_path: Path) -> None:
    images = read(write_folder(tmp_path, {"a/1.png": GREY, "b/2.png": RGB})).images
    assert np.array_equal(images[0], np.dstack([GREY] * 3))
    assert np.array_equal(images[1], RGB)


def test_hidden_empty_and_other_files_are_passed_over_with_a_warning(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"a/1.png": GREY, "b/2.png": GREY, ".cache/a/3.png": GREY, "a/._1.png": GREY})
    for name in ("a/.DS_Store", "README.txt", "a/film.mp4"):
        (root / name).write_text("x")
    (root / "a/empty.png").touch()
    with pytest.warns(UserWarning, match=r"passed over 4 files in '.*': 1 \.mp4, 1 \.txt, 1 empty, 1 hidden"):
        assert len(read(root)) == 2


def test_a_warning_counts_and_names_files_that_are_not_images(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"a/1.png": GREY, "b/2.png": GREY})
    for i in range(4):
        (root / f"a/broken{i}.jpg").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"4 of 6 files .* a/broken0\.jpg, a/broken1\.jpg, a/broken2\.jpg, …"):
        dataset = read(root)
    assert dataset.counts().sum(axis=0).tolist() == [1, 1]


def test_the_warning_says_why_the_first_file_was_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as without the extra
    root = write_folder(tmp_path, {"a/1.png": GREY, "b/2.png": GREY})
    (root / "a/phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    with pytest.warns(
        UserWarning, match=r"1 of 3 files .*: a/phone\.heic; they are skipped: .* needs the 'heic' extra: pip"
    ):
        assert len(read(root)) == 2


def test_a_folder_of_broken_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"1 of 1 files .* cannot be decoded: a/1\.png"):
        read(tmp_path)


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no images; expected <class>/<image>"):
        read(tmp_path)


@pytest.mark.parametrize("stray", ["cover.png", "a/b/c/1.png", "extra/happy/1.png", "train/1.png"])
def test_an_image_outside_of_the_layout_is_named(tmp_path: Path, stray: str) -> None:
    root = write_folder(tmp_path, {"train/a/1.png": GREY, "test/b/1.png": GREY, stray: GREY})
    with pytest.raises(DatasetError, match=rf"'{stray}' .* is not in a class folder"):
        read(root)


def test_a_single_class_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected two or more different names"):
        read(write_folder(tmp_path, {"happy/1.png": GREY}))


def test_images_beyond_the_memory_limit_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folder(tmp_path, {"a/1.png": GREY, "b/2.png": GREY})
    monkeypatch.setattr("mien.data.dataset.MAX_BYTES", 127)
    with pytest.raises(DatasetError, match=r"8×8 pixels.*reduce them"):
        read(root)
    assert read(root, Reading(size=7)).images.shape == (2, 7, 7, 1)
    with pytest.raises(DatasetError, match=r"9×9 pixels"):
        read(root, Reading(size=9))


def test_votes_are_matched_by_ferplus_names(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", {"happy/fer0000001.png": GREY, "sad/fer0000000.png": GREY})
    (tmp_path / "votes.csv").write_text(
        "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
        "Training,fer0000000.png,0,0,0,10,0,0,0,0,0,0\n"
        "Training,fer0000001.png,0,10,0,0,0,0,0,0,0,0\n"
    )
    votes = read(root, votes=tmp_path / "votes.csv").votes
    assert votes is not None
    assert votes.argmax(axis=1).tolist() == [1, 3]
    with pytest.raises(DatasetError, match="read FER2013 from its csv"):
        read(write_folder(tmp_path / "k", KAGGLE), votes=tmp_path / "votes.csv")


def test_a_zip_with_damaged_images_is_an_error(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", KAGGLE)
    content = bytearray(path.read_bytes())
    content[100:110] = bytes(10)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="truncated or damaged"):
        read(path)


def test_folders_nested_too_deep_for_a_class_are_refused_as_any_others(tmp_path: Path) -> None:
    write_folder(tmp_path, {"happy/a.png": GREY})
    with nested_too_deep(tmp_path / "sad", "b.png") as path:
        path.write_bytes(encoded(GREY, ".png"))
        with pytest.raises(DatasetError, match="is not in a class folder"):
            read(tmp_path)
