import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data.dataset import SPLITS, Dataset, FoundFaces, PictureLabel
from mien.data.splits import SMALL_CLASS, draw_splits, draw_subset, hold_out, name_hash
from mien.errors import ConfigError, DatasetError
from mien.labels import LabelSet


def files(*sizes: int) -> tuple[list[str], list[str]]:
    """Return names and classes of files; the sizes are those of the classes."""
    pairs = [(f"class{c}/{i}.png", f"class{c}") for c, n in enumerate(sizes) for i in range(n)]
    return [name for name, _ in pairs], [label for _, label in pairs]


def labelled(*sizes: int, splits: tuple[int, ...] | None = None) -> Dataset:
    """Return a dataset with classes of these sizes; the only pixel of each image is its index."""
    targets = np.repeat(np.arange(len(sizes)), sizes)
    return Dataset(
        name="mine",
        images=np.arange(len(targets), dtype=np.uint8).reshape(-1, 1, 1, 1),
        targets=targets,
        labels=LabelSet("mine", tuple("abcdefg"[: len(sizes)])),
        splits=np.array(splits if splits is not None else [0] * len(targets), np.int8),
    )


def counted(classes: list[str], splits: list[str]) -> list[list[int]]:
    pairs = list(zip(splits, classes, strict=True))
    return [[pairs.count((split, label)) for label in sorted(set(classes))] for split in SPLITS]


@pytest.mark.parametrize(
    ("n", "counts"),
    [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (14, (12, 1, 1)), (20, (16, 2, 2)), (99, (79, 10, 10))],
)
def test_a_small_class_has_the_exact_share_of_each_split(n: int, counts: tuple[int, int, int]) -> None:
    names, classes = files(n, n)
    found = counted(classes, list(hold_out(names, classes, ("valid", "test"))))
    assert found == [[count, count] for count in counts]


def test_a_large_class_has_about_the_share_of_each_split() -> None:
    names, classes = files(1000)
    assert counted(classes, list(hold_out(names, classes, ("valid", "test"))))[1:] == [
        [pytest.approx(100, abs=30)],
        [pytest.approx(100, abs=30)],
    ]


@pytest.mark.parametrize("name", ["happy/1.png", "train/happy/1.png", "./happy/1.png", "happy//1.png", "happy/./1.png"])
def test_the_hash_of_a_name_is_that_of_earlier_versions(name: str) -> None:
    assert name_hash(name) == 0.9699175543295028


def test_a_large_class_is_split_by_the_hash_of_each_name() -> None:
    names, classes = files(SMALL_CLASS)
    expected = {0: "valid", 1: "test"}
    assert hold_out(names, classes, ("valid", "test")) == [expected.get(int(10 * name_hash(n)), "train") for n in names]
    assert hold_out(names, classes, ("test",)) == ["test" if name_hash(n) < 0.1 else "train" for n in names]


@pytest.mark.parametrize("sizes", [(7, 30, 12), (SMALL_CLASS + 20, 15)])
def test_the_order_of_the_files_and_their_parent_folders_do_not_matter(sizes: tuple[int, ...]) -> None:
    names, classes = files(*sizes)
    expected = dict(zip(names, hold_out(names, classes, ("valid", "test")), strict=True))
    pairs = list(zip(names, classes, strict=True))
    random.Random(0).shuffle(pairs)
    moved = [f"archive/faces/{name}" for name, _ in pairs]
    found = hold_out(moved, [label for _, label in pairs], ("valid", "test"))
    assert dict(zip([name for name, _ in pairs], found, strict=True)) == expected


def test_another_class_does_not_change_the_split() -> None:
    names, classes = files(12, 25)
    alone, _ = files(12)
    assert hold_out(names, classes, ("valid", "test"))[:12] == hold_out(alone, classes[:12], ("valid", "test"))


def test_nothing_is_held_out_if_no_split_is_missing() -> None:
    names, classes = files(20, SMALL_CLASS)
    assert set(hold_out(names, classes, ())) == {"train"}


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=5),
    st.sampled_from([(0.8, 0.1, 0.1), (0.7, 0.3, 0), (0.5, 0, 0.5), (1, 0, 0), (1 / 3, 1 / 3, 1 / 3)]),
)
def test_drawn_splits_have_the_shares_of_every_class(sizes: list[int], shares: tuple[float, float, float]) -> None:
    dataset = labelled(*sizes)
    counts = draw_splits(dataset, shares).counts()
    assert counts.sum(axis=0).tolist() == sizes
    for column, n in zip(counts.T, sizes, strict=True):
        assert np.abs(column - n * np.array(shares)).max() <= 2
        if n >= 3:
            assert ((column > 0) == (np.array(shares) > 0)).all()


def test_drawn_splits_follow_from_their_seed() -> None:
    one, again, other = (draw_splits(labelled(30, 30), (0.8, 0.1, 0.1), seed=seed).splits for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()


@pytest.mark.parametrize(
    "shares", [(0.8, 0.2), (0.8, 0.1, 0.2), (1.1, 0, -0.1), (0, 0.5, 0.5), (float("nan"), 0.5, 0.5)]
)
def test_impossible_shares_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"shares .* expected three that sum to 1: 0\.8,0\.1,0\.1"):
        draw_splits(labelled(30, 30), shares)


def test_own_splits_are_kept_and_held_out_ones_replaced() -> None:
    dataset = labelled(3, 3, splits=(0, 0, 2, 0, 1, 2))
    with pytest.raises(DatasetError, match="'mine' has its own test and valid split"):
        draw_splits(dataset, (0.8, 0.1, 0.1))
    with pytest.raises(DatasetError, match="'mine' has its own test split"):
        draw_splits(replace(dataset, held_out=("valid",)), (0.8, 0.1, 0.1))
    drawn = draw_splits(replace(dataset, held_out=("valid", "test")), (1, 0, 0))
    assert (drawn.splits.tolist(), drawn.held_out) == ([0] * 6, ())


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 90), st.integers(0, 9))
def test_a_subset_keeps_the_shares_of_classes_and_splits(n: int, seed: int) -> None:
    dataset = labelled(60, 24, 6, splits=(0,) * 50 + (1,) * 10 + (0,) * 20 + (2,) * 4 + (0,) * 6)
    part = draw_subset(dataset, n, seed=seed)
    assert len(part) == n
    assert np.abs(part.counts() - dataset.counts() * n / 90).max() < 2
    if n >= 5:
        assert ((part.counts() > 0) == (dataset.counts() > 0)).all()
    pixels = part.images.ravel().tolist()
    assert pixels == sorted(set(pixels))
    assert part.targets.tolist() == dataset.targets[pixels].tolist()
    assert set(pixels) <= set(draw_subset(dataset, min(n + 7, 90), seed=seed).images.ravel().tolist())


def test_another_seed_draws_another_subset() -> None:
    one, again, other = (draw_subset(labelled(60, 60), 20, seed=seed).fingerprint for seed in (1, 1, 2))
    assert one == again != other


def photographs(n: int, n_missed: int) -> Dataset:
    """Return n found faces of each of two classes, and pictures without a face; crowded is every tenth image."""
    dataset = labelled(n, n)
    names = [f"{'ab'[target]}/{i}.jpg" for i, target in enumerate(dataset.targets.tolist())]
    missed = [PictureLabel(f"{label}/missed{i}.jpg", "train", label) for label in "ab" for i in range(n_missed)]
    crowded = [PictureLabel(name, "train", name[0]) for name in names[::10]]
    found = FoundFaces(detector="yunet", n_pictures=2 * (n + n_missed), missed=tuple(missed), crowded=tuple(crowded))
    return replace(dataset, images=np.zeros((2 * n, 1, 1, 1), np.uint8), names=np.array(names), found=found)


def test_pictures_without_a_face_are_drawn_as_the_images_are() -> None:
    drawn = draw_splits(photographs(100, 20), (0.5, 0.25, 0.25))
    assert drawn.found is not None
    for label in "ab":
        missed = [picture.split for picture in drawn.found.missed if picture.label == label]
        assert [missed.count(split) for split in SPLITS] == [10, 5, 5]
    own = dict(zip(drawn.names.tolist(), drawn.splits.tolist(), strict=True))  # type: ignore[union-attr]
    assert all(SPLITS[own[picture.name]] == picture.split for picture in drawn.found.crowded)
    assert draw_splits(photographs(100, 20), (1, 0, 0)).found == photographs(100, 20).found


def test_a_subset_has_its_share_of_the_pictures_without_a_face() -> None:
    part = draw_subset(draw_splits(photographs(100, 20), (0.5, 0.25, 0.25)), 40)
    assert part.found is not None
    splits = [picture.split for picture in part.found.missed]
    assert [splits.count(split) for split in SPLITS] == [4, 2, 2]
    assert part.found.n_pictures == 48
    whole = photographs(100, 20)
    assert draw_subset(whole, 200).found == whole.found


@pytest.mark.parametrize("n", [0, 7])
def test_a_subset_larger_than_the_data_is_refused(n: int) -> None:
    with pytest.raises(DatasetError, match=f"cannot draw {n} images of 'mine'; expected 1 to 6"):
        draw_subset(labelled(3, 3), n)
