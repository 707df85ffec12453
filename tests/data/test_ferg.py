"""FERG-DB is not freely available: the tests write small trees in its layout."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from commands import run
from mien.data import ferg, folders
from mien.data.dataset import SPLITS, Dataset
from mien.data.prepared import prepare
from mien.data.readers import read_dataset
from mien.data.reading import Reading
from mien.data.synthetic import draw_faces
from mien.errors import DatasetError
from mien.labels import FER2013
from mien.structures import ImageArray

EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
NAMES = ("aia", "bonnie", "jules", "malcolm", "mery", "ray")


def picture(character: str, size: int = 8) -> ImageArray:
    """Return an image whose first channel is the number of the character."""
    return np.full((size, size, 3), (NAMES.index(character), 100, 200), np.uint8)


def names_of(characters: Iterable[str], n: int) -> list[str]:
    return [f"{c}/{c}_{e}/{c}_{e}_{i}.png" for c in characters for e in EMOTIONS for i in range(1, n + 1)]


def encoded(image: ImageArray) -> bytes:
    codes = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    return cv2.imencode(".png", cv2.cvtColor(image, codes[image.shape[2]]))[1].tobytes()


def write(root: Path, characters: Iterable[str] = NAMES, *, n: int = 2) -> Path:
    for name in names_of(characters, n):
        put(root / name, picture(name.split("/")[0]))
    return root


def put(path: Path, image: ImageArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(image))


def characters_by_split(dataset: Dataset) -> dict[str, set[str]]:
    who = dataset.images[:, 0, 0, 0]
    return {split: {NAMES[i] for i in who[dataset.splits == k]} for k, split in enumerate(SPLITS)}


def test_ferg_is_recognised_and_has_the_labels_of_fer2013(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path / "FERG_DB_256"))
    assert dataset.name == "ferg"
    assert dataset.labels is FER2013
    assert dataset.counts().sum(axis=0).tolist() == [12] * 7
    assert np.bincount(dataset.images[:, 0, 0, 0]).tolist() == [14] * 6
    assert dataset.images[0, 0, 0].tolist() == [0, 100, 200]


def test_every_emotion_gets_its_label(tmp_path: Path) -> None:
    labels = {"anger": "angry", "joy": "happy", "sadness": "sad"}
    for i, emotion in enumerate(EMOTIONS):
        put(tmp_path / f"aia/aia_{emotion}/aia_{emotion}_1.png", np.full((4, 4, 3), i, np.uint8))
    dataset = ferg.read(tmp_path)
    found = {
        EMOTIONS[i]: dataset.labels.labels[t] for i, t in zip(dataset.images[:, 0, 0, 0], dataset.targets, strict=True)
    }
    assert found == {emotion: labels.get(emotion, emotion) for emotion in EMOTIONS}


@pytest.mark.parametrize("below", ["", "FERG_DB_256", "data/FERG_DB_256"])
def test_ferg_may_be_inside_further_folders(tmp_path: Path, below: str) -> None:
    write(tmp_path / below, ["aia"])
    assert ferg.can_read(tmp_path) == (below.count("/") == 0)
    assert len(ferg.read(tmp_path)) == 14


def test_a_zip_gives_the_same_dataset_as_the_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "folder")
    with zipfile.ZipFile(tmp_path / "FERG_DB_256.zip", "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, Path("FERG_DB_256") / file.relative_to(folder))
    from_zip = read_dataset(tmp_path / "FERG_DB_256.zip")
    assert from_zip.name == "ferg"
    assert from_zip.fingerprint == read_dataset(folder).fingerprint


def test_hidden_empty_and_other_files_are_ignored(tmp_path: Path) -> None:
    root = write(tmp_path, ["aia"])
    for name in (".DS_Store", "aia/.DS_Store", "aia/aia_joy/.DS_Store", "aia/aia_joy/aia_joy_77.png", "aia/aia.psd"):
        (root / name).touch()
    (root / "aia/aia_joy/aia_joy.psd").write_bytes(b"8BPS")
    put(root / "__MACOSX/aia/aia_joy/aia_joy_1.png", picture("ray"))
    put(root / "aia/aia_joy/._aia_joy_1.png", picture("ray"))
    assert len(read_dataset(root)) == 14


def test_images_outside_the_layout_are_skipped_with_a_warning(tmp_path: Path) -> None:
    root = write(tmp_path, ["aia"])
    put(root / "overview.png", picture("ray"))
    put(root / "aia/aia_joy/ray_joy_1.png", picture("ray"))
    with pytest.warns(
        UserWarning, match=r"2 of 16 images .* no character's folder: aia/aia_joy/ray_joy_1\.png; they are skipped"
    ):
        dataset = ferg.read(root)
    assert len(dataset) == 14


def test_broken_images_are_skipped_with_a_warning(tmp_path: Path) -> None:
    root = write(tmp_path, ["aia"])
    (root / "aia/aia_joy/aia_joy_1.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"1 of 14 files .* cannot be decoded: aia/aia_joy/aia_joy_1\.png"):
        dataset = ferg.read(root)
    assert dataset.counts().sum(axis=0)[FER2013.index("happy")] == 1


def test_transparency_is_dropped_and_sizes_are_made_equal(tmp_path: Path) -> None:
    root = write(tmp_path, ["aia"])
    put(root / "aia/aia_joy/aia_joy_3.png", np.full((10, 10, 4), (9, 8, 7, 50), np.uint8))
    images = ferg.read(root).images
    assert images.shape == (15, 112, 112, 3)
    assert [9, 8, 7] in images[:, 0, 0].tolist()
    assert ferg.read(root, Reading(size=20)).images.shape == (15, 20, 20, 3)


def test_images_beyond_the_memory_limit_are_reduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path, ["aia"])
    assert ferg.read(root).images.shape == (14, 8, 8, 3)
    monkeypatch.setattr(ferg, "MAX_BYTES", 14 * 8 * 8 * 3 - 1)
    assert ferg.read(root).images.shape == (14, 100, 100, 3)


def test_a_quarter_is_drawn_for_test_and_a_tenth_of_the_rest_for_valid(tmp_path: Path) -> None:
    counts = ferg.read(write(tmp_path, n=30)).counts().sum(axis=1)
    assert counts.sum() == 1260
    assert (counts / 1260).tolist() == pytest.approx([0.675, 0.075, 0.25], abs=0.04)


def test_an_image_keeps_its_split_when_others_are_added(tmp_path: Path) -> None:
    before = ferg.read(write(tmp_path, ["malcolm", "ray"], n=9))
    after = ferg.read(write(tmp_path, n=9))
    old = np.isin(after.images[:, 0, 0, 0], [NAMES.index("malcolm"), NAMES.index("ray")])
    assert len(set(before.splits.tolist())) == 3
    assert after.splits[old].tolist() == before.splits.tolist()


@pytest.mark.parametrize("character", NAMES)
def test_a_held_out_character_is_only_in_the_test_split(tmp_path: Path, character: str) -> None:
    dataset = ferg.read(write(tmp_path, n=9), hold_out=[character])
    found = characters_by_split(dataset)
    assert dataset.name == f"ferg-{character}"
    assert found["test"] == {character}
    assert found["train"] == found["valid"] == set(NAMES) - {character}
    assert dataset.counts()[2].tolist() == [9] * 7


def test_characters_can_be_held_out_for_valid_too(tmp_path: Path) -> None:
    dataset = ferg.read(write(tmp_path, n=9), hold_out=["aia", "ray"], valid=["mery"])
    found = characters_by_split(dataset)
    assert found == {"train": {"bonnie", "jules", "malcolm"}, "valid": {"mery"}, "test": {"aia", "ray"}}


@pytest.mark.parametrize(
    ("hold_out", "valid", "message"),
    [
        (["bob"], [], "unknown character 'bob'; choose from aia, ray"),
        (["aia"], ["bob"], "unknown character 'bob'; choose from aia, ray"),
        (["aia"], ["aia"], "occurs twice in aia, aia"),
        (["aia"], ["ray"], "no character is left for training"),
    ],
)
def test_impossible_splits_are_errors(tmp_path: Path, hold_out: list[str], valid: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        ferg.read(write(tmp_path, ["aia", "ray"]), hold_out=hold_out, valid=valid)


def test_votes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot take the votes 'v\.csv'"):
        ferg.read(write(tmp_path, ["aia"]), votes=Path("v.csv"))


@pytest.mark.parametrize(
    "name", ["happy/1.png", "train/happy/Training_3.png", "very_happy/1.png", "aia/joy/aia_joy_1.png"]
)
def test_other_layouts_are_left_to_other_readers(tmp_path: Path, name: str) -> None:
    put(tmp_path / name, picture("aia"))
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n")
    assert not ferg.can_read(tmp_path)
    assert not ferg.can_read(tmp_path / "fer2013.csv")
    assert folders.can_read(tmp_path)
    with pytest.raises(
        DatasetError, match=r"holds no images of characters; expected a folder, zip or tar with <character>/"
    ):
        ferg.read(tmp_path)


def test_commands_read_the_layout_and_hold_characters_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIEN_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "FERG_DB_256", n=9)
    assert run("data", "info", "FERG_DB_256", "--json") == 0
    assert json.loads(capsys.readouterr().out)["n_pictures"] == 6 * 7 * 9
    assert (
        run("data", "prepare", "FERG_DB_256", "out.npz", "--hold-out", "malcolm,ray", "--valid", "mery", "--size", "6")
        == 0
    )
    dataset = read_dataset(tmp_path / "out.npz")
    assert dataset.name == "ferg-malcolm-ray"
    assert dataset.images.shape[1:] == (6, 6, 3)
    assert characters_by_split(dataset)["test"] == {"malcolm", "ray"}
    assert characters_by_split(dataset)["valid"] == {"mery"}
    capsys.readouterr()
    assert run("data", "prepare", "FERG_DB_256", "other.npz", "--hold-out", "bob") == 2
    assert "unknown character 'bob'" in capsys.readouterr().err
    prepare(draw_faces(20, seed=0), "faces.npz")
    assert run("data", "prepare", "faces.npz", "other.npz", "--hold-out", "bob") == 2
    assert "'faces.npz' has no characters; --hold-out and --valid are for" in capsys.readouterr().err
    assert not (tmp_path / "other.npz").exists()
