"""Splits and subsets, stratified: every class keeps its share."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np

from mien.data.dataset import SPLITS, Dataset, Split
from mien.errors import ConfigError, DatasetError

HELD_OUT = 0.1  # share of train that replaces a missing valid or test split
SMALL_CLASS = 100  # images, of which a draw by hash holds out 10 ± 3: docs/decisions/0035


def hold_out(names: Sequence[str], classes: Sequence[str], missing: Sequence[Split]) -> list[Split]:
    """Assign files of train to the missing splits, 10 % of each class per split.

    The draw depends on names alone, never on their order. A class of 100 files or more is drawn file by file, by the
    hash of class folder and file name, so a file keeps its split when others are added. A smaller class is ordered by
    the same hash and cut at exact counts, at least one per split; train keeps at least one.

    Args:
        names: Paths of the files, with "/"; none occurs twice.
        classes: Class of each file.
        missing: Splits to fill, of "valid" and "test".

    Returns:
        A split per file.
    """
    members = defaultdict(list)
    for name, label in zip(names, classes, strict=True):
        members[label].append(name)
    splits: dict[str, Split] = {}
    for files in members.values():
        splits |= _hold_out_of_large(files, missing) if len(files) >= SMALL_CLASS else _hold_out(files, missing)
    return [splits[name] for name in names]


def name_hash(name: str) -> float:
    """Return a reproducible pseudorandom number in [0, 1) from a file's name and its folder's."""
    own = "/".join(PurePosixPath(name).parts[-2:])
    return int.from_bytes(hashlib.blake2b(os.fsencode(own), digest_size=8).digest(), "big") / 2**64


def draw_splits(dataset: Dataset, shares: Sequence[float], *, seed: int = 0) -> Dataset:
    """Draw train, valid and test at random, with the same shares of every class.

    Args:
        dataset: Without a valid or test split of its own; splits that its reader held out are replaced.
        shares: Of train, valid and test; they sum to 1. A class has at least one image in each split whose share
            is not 0, as far as it has images; train comes first.
        seed: Of the draw.

    Raises:
        ConfigError: The shares are not three, one is negative, that of train is 0, or they don't sum to 1.
        DatasetError: The dataset has a valid or test split of its own.
    """
    own = {SPLITS[i] for i in np.unique(dataset.splits)} - {"train", *dataset.held_out}
    if own:
        raise DatasetError(
            f"'{dataset.name}' has its own {' and '.join(sorted(own))} split; expected data without, such as plain "
            "class folders; keep its splits, or hold characters out with --hold-out"
        )
    if len(shares) != 3 or shares[0] <= 0 or min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        given = ",".join(f"{share:g}" for share in shares)
        raise ConfigError(f"the shares of train, valid and test are {given}; expected three that sum to 1: 0.8,0.1,0.1")
    splits = np.zeros(len(dataset), np.int8)
    for class_id in range(len(dataset.labels)):
        members = np.random.default_rng((seed, class_id)).permutation(np.flatnonzero(dataset.targets == class_id))
        n_valid, n_test = _counts(len(members), shares[1:])
        splits[members[:n_valid]] = SPLITS.index("valid")
        splits[members[n_valid : n_valid + n_test]] = SPLITS.index("test")
    return replace(dataset, splits=splits, held_out=())


def draw_subset(dataset: Dataset, n: int, *, seed: int = 0) -> Dataset:
    """Draw n images at random; each class keeps its share of each split.

    A subset contains every smaller one of the same seed. If n is at least the number of classes times splits, every
    class keeps an image in each of its splits.

    Raises:
        DatasetError: The dataset has fewer than n images, or n is below 1.
    """
    if not 1 <= n <= len(dataset):
        raise DatasetError(f"cannot draw {n:,} images of '{dataset.name}'; expected 1 to {len(dataset):,}")
    strata = dataset.splits.astype(np.int64) * len(dataset.labels) + dataset.targets
    quantile, size = np.zeros(len(dataset)), np.bincount(strata)[strata]
    rng = np.random.default_rng(seed)
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero(strata == stratum))
        quantile[members] = (np.arange(len(members)) + 0.5) / len(members)
        quantile[members[0]] = 0  # so that every stratum is represented
    return dataset.select(np.sort(np.lexsort((-size, quantile))[:n]))


def _hold_out_of_large(files: Sequence[str], missing: Sequence[Split]) -> dict[str, Split]:
    places = {name: int(name_hash(name) / HELD_OUT) for name in files}
    return {name: missing[place] if place < len(missing) else "train" for name, place in places.items()}


def _hold_out(files: Sequence[str], missing: Sequence[Split]) -> dict[str, Split]:
    ordered = sorted(files, key=lambda name: (name_hash(name), name))
    splits: dict[str, Split] = dict.fromkeys(ordered, "train")
    start = 0
    for split, count in zip(missing, _counts(len(files), [HELD_OUT] * len(missing)), strict=True):
        splits.update(dict.fromkeys(ordered[start : start + count], split))
        start += count
    return splits


def _counts(n: int, shares: Sequence[float]) -> list[int]:
    """Return how many of n images each share is: at least one if it is not 0, as long as one is left for train."""
    available, counts = max(n - 1, 0), []
    for share in shares:
        counts.append(min(max(round(share * n), 1), available) if share else 0)
        available -= counts[-1]
    return counts
