import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.dataset import Dataset
from mien.data.prepared import prepare
from mien.data.readers import read_dataset
from mien.data.splits import draw_splits
from mien.errors import DatasetError, OutputError
from mien.labels import LabelSet

MOODS = LabelSet("moods", ("calm", "wild"))


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset(
        name="drawn",
        images=rng.integers(0, 256, (3, 6, 6, 3)).astype(np.uint8),
        targets=np.array([0, 1, 1]),
        labels=MOODS,
        splits=np.array([0, 1, 2], np.int8),
        votes=rng.integers(0, 10, (3, 10)).astype(np.float32),
    )


def test_a_prepared_dataset_is_read_back(tmp_path: Path, dataset: Dataset) -> None:
    prepare(dataset, tmp_path / "drawn.npz")
    again = read_dataset(tmp_path / "drawn.npz")
    assert (again.name, again.labels, again.fingerprint) == ("drawn", MOODS, dataset.fingerprint)
    assert list(tmp_path.iterdir()) == [tmp_path / "drawn.npz"]


def test_a_file_prepared_by_an_earlier_version_is_read_with_its_splits(tmp_path: Path, dataset: Dataset) -> None:
    about = '{"format": 1, "name": "old", "label_set": "moods", "labels": ["calm", "wild"]}'
    with (tmp_path / "old.npz").open("wb") as file:
        np.savez(
            file, about=np.array(about), images=dataset.images, targets=dataset.targets, splits=dataset.splits,
            votes=dataset.votes,
        )  # fmt: skip
    again = read_dataset(tmp_path / "old.npz")
    assert (again.name, again.labels, again.held_out) == ("old", MOODS, ())
    assert again.fingerprint == dataset.fingerprint


def test_a_dataset_without_votes_is_read_back_without(tmp_path: Path, dataset: Dataset) -> None:
    without = Dataset("drawn", dataset.images, dataset.targets, MOODS, dataset.splits)
    prepare(without, tmp_path / "drawn.npz")
    assert read_dataset(tmp_path / "drawn.npz").votes is None


def test_splits_that_were_drawn_can_be_drawn_anew(tmp_path: Path, dataset: Dataset) -> None:
    prepare(replace(dataset, held_out=("valid", "test")), tmp_path / "drawn.npz")
    drawn = read_dataset(tmp_path / "drawn.npz")
    assert drawn.held_out == ("valid", "test")
    assert draw_splits(drawn, (1, 0, 0)).counts()[1:].sum() == 0


def test_a_prepared_dataset_is_resized_on_demand(tmp_path: Path, dataset: Dataset) -> None:
    prepare(dataset, tmp_path / "drawn.npz")
    assert read_dataset(tmp_path / "drawn.npz", size=4).images.shape == (3, 4, 4, 3)


def test_votes_cannot_be_added_to_a_prepared_dataset(tmp_path: Path, dataset: Dataset) -> None:
    prepare(dataset, tmp_path / "drawn.npz")
    with pytest.raises(DatasetError, match="pass them when preparing it"):
        read_dataset(tmp_path / "drawn.npz", votes=tmp_path / "votes.csv")


def test_another_suffix_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(OutputError, match=r"expected a name that ends in \.npz"):
        prepare(dataset, tmp_path / "drawn.bin")


def test_a_missing_folder_is_an_error(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(OutputError, match="No such file or directory"):
        prepare(dataset, tmp_path / "none" / "drawn.npz")


def test_a_failed_write_leaves_no_file(tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_the_disk(file: object, **arrays: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fill_the_disk)
    with pytest.raises(OutputError, match="No space left on device"):
        prepare(dataset, tmp_path / "drawn.npz")
    assert not list(tmp_path.iterdir())


def test_damaged_files_are_errors(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "drawn.npz"
    prepare(dataset, path)
    whole = path.read_bytes()
    for damaged in (b"", b"no archive", whole[: len(whole) // 2], whole[:300] + b"?" * 50 + whole[350:]):
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"is not a prepared dataset .*prepare it again"):
            read_dataset(path)


def test_npz_files_of_other_programs_are_errors(tmp_path: Path, dataset: Dataset) -> None:
    path = tmp_path / "other.npz"
    arrays = {"images": dataset.images, "targets": dataset.targets, "splits": dataset.splits}
    about = '{"format": 1, "name": "a", "label_set": "moods", "labels": ["calm", "wild"]}'
    others: list[dict[str, object]] = [
        arrays,
        {"about": "no json", **arrays},
        {"about": "[]", **arrays},
        {"about": about.replace("1", "2"), **arrays},
        {"about": about},
        {"about": about, **arrays, "images": dataset.images.astype(np.float32)},
        {"about": about, **arrays, "targets": dataset.targets + 1},
        {"about": about, **arrays, "splits": dataset.splits + np.int8(1)},
    ]
    for other in others:
        with path.open("wb") as file:
            np.savez(file, **other)  # type: ignore[arg-type]
        with pytest.raises(DatasetError, match="is not a prepared dataset"):
            read_dataset(path)


def test_names_are_kept_in_a_file_and_in_parts_of_a_dataset(tmp_path: Path, dataset: Dataset) -> None:
    named = replace(dataset, names=np.array(["calm/a.png", "wild/b.png", os.fsdecode(b"wild/caf\xe9.png")], np.str_))
    assert named.fingerprint == dataset.fingerprint
    prepare(named, tmp_path / "drawn.npz")
    again = read_dataset(tmp_path / "drawn.npz", size=4)
    assert again.names is not None
    assert named.names is not None
    assert again.names.tolist() == named.names.tolist()
    part = again.split("valid").names
    assert part is not None
    assert part.tolist() == ["wild/b.png"]


def test_names_belong_to_the_images(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="parts of different lengths"):
        replace(dataset, names=np.array(["a.png"], np.str_))
