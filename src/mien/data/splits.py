"""Splits and subsets, stratified: every class keeps its share."""

from __future__ import annotations

import hashlib
import math
import os
import random
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mien.data.dataset import SPLITS, Dataset, NameArray, PictureLabel, Split
from mien.errors import ConfigError, DatasetError
from mien.labels import LabelSet
from mien.structures import IntArray

SPLIT_NAMES: dict[str, Split] = {  # without case and punctuation
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation", "validate", "dev", "publictest"), "valid"),
    **dict.fromkeys(("test", "testing", "privatetest"), "test"),
}
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
SPLIT_WORD = re.compile(rf"({'|'.join(SPLIT_NAMES)})(?:set|data|images|imgs|faces|split)?")
HELD_OUT = 0.1  # share of train that replaces a missing valid or test split
SMALL_CLASS = 100  # images, of which a draw by hash holds out 10 ± 3: docs/decisions/0035


def split_named(text: str) -> Split | None:
    """Return the split of a name: "train", "Public Test"; None for other texts."""
    return SPLIT_NAMES.get(re.sub(r"[\W_]", "", text.lower()))


def split_within(name: str) -> tuple[Split, str] | None:
    """Find a split in the name of a file or folder: "FER2013Train" is ("train", "fer2013"), "val_set" ("valid", "set").

    Returns:
        The split and the rest of the name in lower case, without punctuation; None for names without a split.
    """
    words = [word.lower() for word in WORDS.findall(name)]
    for length in (2, 1):  # PublicTest goes before Test
        for start in range(len(words) - length + 1):
            if found := SPLIT_WORD.fullmatch("".join(words[start : start + length])):
                return SPLIT_NAMES[found[1]], "".join([*words[:start], *words[start + length :]])
    return None


def hold_out(
    names: Sequence[str], classes: Sequence[str], missing: Sequence[Split], groups: Sequence[str] | None = None
) -> list[Split]:
    """Assign files of train to the missing splits, 10 % of each class per split.

    The draw depends on names alone, never on their order. A class of 100 files or more is drawn file by file, by the
    hash of class folder and file name, so a file keeps its split when others are added. A smaller class is ordered by
    the same hash and cut at exact counts, at least one per split; train keeps at least one.

    With groups, whole groups are drawn, by the hash of their names: see `draw_groups`.

    Args:
        names: Paths of the files, with "/"; none occurs twice.
        classes: Class of each file.
        missing: Splits to fill, of "valid" and "test".
        groups: Person, or other group that belongs in one split, of each file.

    Returns:
        A split per file.
    """
    if groups is not None and names and missing:
        _, targets = np.unique(np.asarray(classes, np.str_), return_inverse=True)
        drawn = draw_groups(np.asarray(groups, np.str_), targets, [HELD_OUT] * len(missing), key=name_hash)
        return [("train", *missing)[place] for place in drawn]
    members = defaultdict(list)
    for name, label in zip(names, classes, strict=True):
        members[label].append(name)
    splits: dict[str, Split] = {}
    for files in members.values():
        splits |= _hold_out_of_large(files, missing) if len(files) >= SMALL_CLASS else _hold_out(files, missing)
    return [splits[name] for name in names]


def name_hash(name: str) -> float:
    """Return a reproducible pseudorandom number in [0, 1) from a file's name and its folder's."""
    parts = [part for part in name.split("/") if part not in ("", ".")]  # as in PurePosixPath, in a tenth of its time
    own = "/".join(parts[-2:])
    return int.from_bytes(hashlib.blake2b(os.fsencode(own), digest_size=8).digest(), "big") / 2**64


def draw_groups(
    groups: NameArray, targets: IntArray, shares: Sequence[float], *, key: Callable[[str], float]
) -> IntArray:
    """Draw splits of whole groups, so that every class comes close to its share of each split.

    Greedy: groups are placed in decreasing order of size, each where it overfills its classes least; ties go to train.
    A split that is left empty then gets the smallest group of the split with the most groups; a warning says if there
    are too few groups for that.

    Args:
        groups: Group of each image, str (n,).
        targets: Class id of each image, int64 (n,).
        shares: Of the images to hold out for each further split.
        key: Number by which groups of one size are ordered.

    Returns:
        int64 (n,): 0 for train, i + 1 for the split of share i.
    """
    names, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), targets.max() + 1))
    np.add.at(counts, (group, targets), 1)
    totals = counts.sum(axis=0)
    held = np.array([_counts(int(total), shares) for total in totals]).T.reshape(len(shares), -1)
    wanted = np.maximum(np.vstack([totals - held.sum(axis=0), held]), 1e-3)  # images per split and class
    filled, places = np.zeros_like(wanted), np.zeros(len(names), np.int64)
    keys = np.array([key(name) for name in names])
    for i in np.lexsort((keys, -counts.sum(axis=1))):
        own = np.flatnonzero(counts[i])
        fill = (filled[:, own] + counts[i, own]) / wanted[:, own]
        places[i] = (fill @ (counts[i, own] / totals[own])).argmin()
        filled[places[i]] += counts[i]
    _fill_empty(places, counts.sum(axis=1) + keys, [place for place, share in enumerate([1, *shares]) if share])
    return places[group]


def _fill_empty(places: IntArray, sizes: npt.NDArray[np.float64], wanted: Sequence[int]) -> None:
    """Give each wanted split that has no group one of the others', in place.

    Args:
        places: Split of each group, int64 (m,).
        sizes: By which the smallest group is found, (m,).
        wanted: Splits, train first.
    """
    for place in wanted:
        if (places == place).any():
            continue
        n_groups = np.bincount(places)
        donors = np.flatnonzero(places == n_groups.argmax())
        if len(donors) > 1:
            places[donors[sizes[donors].argmin()]] = place
        else:
            warnings.warn(
                f"{len(places)} persons or groups are too few for {len(wanted)} splits, of which each person is in "
                "one, so a split stays empty; expected a person per split: add persons, or split without persons",
                stacklevel=4,
            )
            return


def draw_splits(dataset: Dataset, shares: Sequence[float], *, seed: int = 0) -> Dataset:
    """Draw train, valid and test at random, with the same shares of every class; a group stays in one split.

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
    if dataset.groups is not None:
        drawn = draw_groups(dataset.groups, dataset.targets, shares[1:], key=_seeded(seed))
        return _with_drawn_pictures(replace(dataset, splits=drawn.astype(np.int8), held_out=()), shares, seed)
    splits = np.zeros(len(dataset), np.int8)
    for class_id in range(len(dataset.labels)):
        members = np.random.default_rng((seed, class_id)).permutation(np.flatnonzero(dataset.targets == class_id))
        n_valid, n_test = _counts(len(members), shares[1:])
        splits[members[:n_valid]] = SPLITS.index("valid")
        splits[members[n_valid : n_valid + n_test]] = SPLITS.index("test")
    return _with_drawn_pictures(replace(dataset, splits=splits, held_out=()), shares, seed)


def _with_drawn_pictures(dataset: Dataset, shares: Sequence[float], seed: int) -> Dataset:
    """Draw the splits of the pictures in the record of face detection, too: an image's own, or else by the shares."""
    if dataset.found is None:
        return dataset
    names = () if dataset.names is None else dataset.names.tolist()
    splits = {name.split("#")[0]: SPLITS[place] for name, place in zip(names, dataset.splits.tolist(), strict=False)}
    missed, crowded = dataset.found.missed, dataset.found.crowded
    members = defaultdict(list)
    for picture in (*missed, *crowded):
        if picture.name not in splits:
            members[picture.label].append(picture.name)
    rng = random.Random(seed)
    for label in sorted(members):
        rng.shuffle(members[label])
        n = len(members[label])
        for place, name in enumerate(members[label]):
            splits[name] = SPLITS[min(int(np.searchsorted(np.cumsum(shares) * n, place + 0.5)), 2)]
    missed, crowded = (tuple(each._replace(split=splits[each.name]) for each in part) for part in (missed, crowded))
    return replace(dataset, found=replace(dataset.found, missed=missed, crowded=crowded))


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
    part = dataset.select(np.sort(np.lexsort((-size, quantile))[:n]))
    if dataset.found is None:
        return part
    kept = part.counts() / np.maximum(dataset.counts(), 1)  # by split and class
    missed, crowded = (
        _subset_of_pictures(pictures, dataset.labels, kept, seed)
        for pictures in (dataset.found.missed, dataset.found.crowded)
    )
    n_pictures = round(dataset.found.n_pictures * n / len(dataset))
    return replace(part, found=replace(dataset.found, n_pictures=n_pictures, missed=missed, crowded=crowded))


def _subset_of_pictures(
    pictures: Sequence[PictureLabel], labels: LabelSet, kept: npt.NDArray[np.float64], seed: int
) -> tuple[PictureLabel, ...]:
    """Return the same share of pictures as of images, (splits, classes), drawn at random."""
    strata = defaultdict(list)
    for picture in pictures:
        strata[picture.split, picture.label].append(picture)
    rng, chosen = random.Random(seed), set[PictureLabel]()
    for (split, label), members in sorted(strata.items()):
        share = kept[SPLITS.index(split), labels.index(label)] if label in labels else 0
        chosen |= set(rng.sample(members, round(len(members) * float(share))))
    return tuple(picture for picture in pictures if picture in chosen)


def shared_groups(groups: Sequence[str], splits: Sequence[Split]) -> dict[str, list[Split]]:
    """Return the groups that occur in several splits, with these."""
    found = defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        found[group].add(split)
    return {group: [s for s in SPLITS if s in places] for group, places in sorted(found.items()) if len(places) > 1}


def _seeded(seed: int) -> Callable[[str], float]:
    rng = np.random.default_rng(seed)
    return lambda _: float(rng.random())


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
