import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from mien.data.dataset import Dataset
from mien.data.info import describe_held_out, info, sample_sheet
from mien.drawing.sheets import CELL
from mien.labels import LabelSet


@pytest.fixture
def dataset() -> Dataset:
    images = np.arange(5 * 16, dtype=np.uint8).reshape(5, 4, 4, 1)
    images[1] = 0
    return Dataset(
        name="drawn",
        images=images,
        targets=np.array([0, 0, 0, 1, 1]),
        labels=LabelSet("moods", ("calm", "wild", "unseen")),
        splits=np.array([0, 0, 2, 2, 2], np.int8),
    )


def test_info_counts_images_by_split_and_class(dataset: Dataset) -> None:
    found = info(dataset)
    assert found.counts == {
        "train": {"calm": 2, "wild": 0, "unseen": 0},
        "valid": {"calm": 0, "wild": 0, "unseen": 0},
        "test": {"calm": 1, "wild": 2, "unseen": 0},
    }
    assert (found.n_pictures, found.height, found.width, found.channels) == (5, 4, 4, 1)
    assert found.n_blank == 1
    assert not found.has_votes
    assert found.fingerprint == dataset.fingerprint


def test_info_is_serialisable_as_json(dataset: Dataset) -> None:
    assert json.loads(json.dumps(asdict(info(dataset))))["counts"]["train"]["calm"] == 2


def test_held_out_splits_are_described_with_their_counts_per_class(dataset: Dataset) -> None:
    assert describe_held_out(dataset) == ""
    assert describe_held_out(replace(dataset, held_out=("valid", "test"))) == (
        "'drawn' has no valid and no test split; held out of train: "
        "valid 0 (calm 0, wild 0, unseen 0); test 3 (calm 1, wild 2, unseen 0)"
    )


def test_held_out_splits_of_many_classes_are_summarised(dataset: Dataset) -> None:
    many = replace(dataset, labels=LabelSet("many", tuple("abcdefghijklm")), held_out=("test",))
    assert describe_held_out(many) == "'drawn' has no test split; held out of train: test 3 (0 to 2 per class)"


def test_the_sheet_has_a_row_per_class_and_a_cell_per_image(dataset: Dataset) -> None:
    flat = Dataset(
        name="flat",
        images=np.full((5, 4, 4, 1), 200, np.uint8),
        targets=dataset.targets,
        labels=dataset.labels,
        splits=dataset.splits,
    )
    sheet = sample_sheet(flat, per_class=4)
    assert sheet.dtype == np.uint8
    assert sheet.shape[2] == 3
    cells = (sheet == 200).all(axis=2).sum() / CELL**2
    assert 5 <= cells < 5.1  # a little of the lettering has this grey too


def test_the_same_seed_draws_the_same_sheet(dataset: Dataset) -> None:
    first = sample_sheet(dataset, per_class=1, seed=1)
    assert np.array_equal(first, sample_sheet(dataset, per_class=1, seed=1))
    others = [sample_sheet(dataset, per_class=1, seed=seed) for seed in range(2, 10)]
    assert not all(np.array_equal(first, other) for other in others)


def test_an_empty_dataset_gives_a_sheet_and_zeros(dataset: Dataset) -> None:
    empty = dataset.select(np.zeros(5, np.bool_))
    assert info(empty).n_blank == 0
    assert sample_sheet(empty).shape[2] == 3
