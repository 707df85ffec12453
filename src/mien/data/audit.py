"""Audit of a dataset: exact and near duplicates, leaks between splits, conflicting labels, non-faces, and folds."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from mien.data.arrays import Field, read_npz
from mien.data.dataset import SPLITS, Dataset, Split, SplitArray
from mien.data.near import Pairs, near_pairs
from mien.data.votes import VOTE_COLUMNS
from mien.errors import ConfigError, DatasetError
from mien.files import as_path, atomic_path
from mien.settings import Range, shown
from mien.structures import BoolArray, FloatArray, ImageArray, IntArray, Progress

AUDIT, WAY_OUT = "an audit", "write one with mien data audit"  # for messages

THRESHOLD = 0.9  # of the correlation, at the minimum between the two modes of FER2013: docs/guides/auditing.md
FOLD_SEED = 0  # of the folds, independent of the training seed, so that models of several seeds share them
FORMAT = 1
KINDS = ("single", "exact", "near")
SCHEMA = {
    "exact": Field(np.int64, 1), "clusters": Field(np.int64, 1), "blank": Field(np.bool_, 1),
    "not_a_face": Field(np.bool_, 1), "unclear": Field(np.bool_, 1), "first": Field(np.int64, 1),
    "second": Field(np.int64, 1), "scores": Field(np.float32, 1), "mirrored": Field(np.bool_, 1),
}  # fmt: skip


class About(TypedDict):
    """JSON text in a saved audit."""

    format: Literal[1]
    dataset: str
    fingerprint: str  # 64 hexadecimal digits
    threshold: Annotated[float, Range(0, 1, above=True)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audit:
    """Duplicates and non-faces of a dataset of n images.

    A cluster holds all images of one photo: the connected components of exact and near duplicates. The index of its
    first image identifies it.

    Args:
        dataset: Name of the dataset.
        fingerprint: `Dataset.fingerprint`.
        labels: Names of the classes.
        targets: Class ids, int64 (n,).
        splits: Index into `SPLITS`, int8 (n,).
        threshold: Least correlation of near duplicates, in [-1, 1]; see `mien.data.near`.
        exact: Index of the first image with the same pixels, int64 (n,).
        clusters: Index of the first image of the cluster, int64 (n,); a single image has its own.
        pairs: Near duplicates; exact duplicates are represented by the first of them.
        blank: Whether all pixels are equal, bool (n,).
        not_a_face: Whether "not a face" has the most votes or ties for them, bool (n,); all False without votes.
        unclear: Likewise for "unknown", bool (n,).
    """

    dataset: str
    fingerprint: str
    labels: tuple[str, ...]
    targets: IntArray = field(repr=False)
    splits: SplitArray = field(repr=False)
    threshold: float
    exact: IntArray = field(repr=False)
    clusters: IntArray = field(repr=False)
    pairs: Pairs = field(repr=False)
    blank: BoolArray = field(repr=False)
    not_a_face: BoolArray = field(repr=False)
    unclear: BoolArray = field(repr=False)

    def __len__(self) -> int:
        return len(self.clusters)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Selection:
    """The training images that a model is fitted on.

    Args:
        rows: bool (n,), over all images of the dataset; True only in train.
        dropped: Number of leaks dropped; None if leaks are kept.
        fold: The fold left out, and the number of folds: "2 of 5"; empty if none is left out.
    """

    rows: BoolArray = field(repr=False)
    dropped: int | None = None
    fold: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """Description for a model's spec, beside the name and fingerprint of the data."""
        dropped = {} if self.dropped is None else {"dropped": f"{self.dropped:,} leaks"}
        return dropped | ({"fold": f"{self.fold} left out"} if self.fold else {})


def audit(dataset: Dataset, *, threshold: float = THRESHOLD, progress: Progress | None = None) -> Audit:
    """Find duplicates within and across splits, blank images, and images without a face.

    Args:
        dataset: All splits; images of any size are compared at 48×48 in grey.
        threshold: Least correlation of near duplicates; a lower one finds more pairs, and more false ones.
        progress: Called with (done, all) in thousandths.

    Raises:
        ConfigError: The threshold is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold {threshold} is out of range; expected above 0 and at most 1, such as {THRESHOLD}")
    exact = first_identical(dataset.images)
    blank = np.ptp(dataset.images, axis=(1, 2, 3)) == 0
    different = np.flatnonzero((exact == np.arange(len(dataset))) & ~blank)
    near = near_pairs(dataset.images[different], threshold=threshold, progress=progress)
    pairs = near._replace(first=different[near.first], second=different[near.second])
    return Audit(
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        labels=dataset.labels.labels,
        targets=dataset.targets,
        splits=dataset.splits,
        threshold=threshold,
        exact=exact,
        clusters=_connected_components(exact, pairs),
        pairs=pairs,
        blank=blank,
        not_a_face=_wins_votes(dataset.votes, "nf", len(dataset)),
        unclear=_wins_votes(dataset.votes, "unknown", len(dataset)),
    )


def first_identical(images: ImageArray) -> IntArray:
    """Return for each of the images, uint8 (n, H, W, C), the index of the first with the same pixels, int64 (n,)."""
    seen: dict[bytes, int] = {}
    digests = (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images)
    return np.fromiter((seen.setdefault(digest, i) for i, digest in enumerate(digests)), np.int64, len(images))


def group_sizes(groups: IntArray) -> IntArray:
    """Return the size of each image's group, int64 (n,); groups are `Audit.exact` or `Audit.clusters`."""
    return np.bincount(groups, minlength=len(groups))[groups]


def duplicate_kinds(audit: Audit) -> npt.NDArray[np.int8]:
    """Return an index into `KINDS` per image, int8 (n,), by its cluster: single, equal pixels, or near duplicates."""
    together = group_sizes(audit.clusters)
    return np.where(together == 1, 0, np.where(group_sizes(audit.exact) == together, 1, 2)).astype(np.int8)


def conflicts(audit: Audit, groups: IntArray) -> BoolArray:
    """Return a mask of the images in groups with more than one label, bool (n,).

    Args:
        audit: Of the dataset.
        groups: `audit.exact` or `audit.clusters`.
    """
    lowest, highest = np.full(len(audit), len(audit.labels)), np.full(len(audit), -1)
    np.minimum.at(lowest, groups, audit.targets)
    np.maximum.at(highest, groups, audit.targets)
    return np.asarray((lowest < highest)[groups], np.bool_)


def leaked(audit: Audit, split: Split, against: Sequence[Split] = ("train",), *, exact: bool = False) -> BoolArray:
    """Return a mask of the images of a split whose photo occurs in other splits too.

    Args:
        audit: Of the dataset.
        split: Images outside it are False.
        against: The other splits.
        exact: Consider only exact duplicates, not near ones.

    Returns:
        bool (n,), over all images of the dataset; `[audit.splits == SPLITS.index(split)]` selects the split's.
    """
    groups = audit.exact if exact else audit.clusters
    there = np.isin(audit.splits, [SPLITS.index(name) for name in against])
    shown = np.zeros(len(audit), np.bool_)
    shown[groups[there]] = True
    return np.asarray((audit.splits == SPLITS.index(split)) & shown[groups], np.bool_)


def drop_leaks(dataset: Dataset, audit: Audit) -> Dataset:
    """Return the dataset without the training images whose photo occurs in valid or test.

    Raises:
        DatasetError: The audit is of another dataset.
    """
    check_same_data(audit, dataset)
    return dataset.select(~leaked(audit, "train", ("valid", "test")))


def folds(audit: Audit, n: int, *, seed: int, split: Split | None = None) -> npt.NDArray[np.int8]:
    """Assign images to folds for cross-fitting, grouped by cluster and stratified by class.

    Greedy: clusters are placed in decreasing order of size, each in the fold with the fewest images of its classes;
    ties are broken at random.

    Args:
        audit: Of the dataset.
        n: Number of folds, 2 to 127.
        seed: Of the random choices.
        split: The split to divide; None divides all images.

    Returns:
        Fold of each image in [0, n), int8, over all images of the dataset; -1 outside the split.

    Raises:
        ConfigError: n is out of range.
    """
    if not 2 <= n <= 127:
        raise ConfigError(f"cannot make {n} folds; choose 2 to 127")
    chosen = np.ones(len(audit), np.bool_) if split is None else audit.splits == SPLITS.index(split)
    clusters, cluster = np.unique(audit.clusters[chosen], return_inverse=True)
    counts = np.zeros((len(clusters), len(audit.labels)))
    np.add.at(counts, (cluster, audit.targets[chosen]), 1)
    folds = np.full(len(audit), -1, np.int8)
    folds[chosen] = _assign_folds(counts, n, np.random.default_rng(seed))[cluster]
    return folds


def _assign_folds(counts: npt.NDArray[np.float64], n: int, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """Return the fold of each cluster, int8 (m,), from its images per class, (m, k)."""
    fold, filled = np.empty(len(counts), np.int8), np.zeros((n, counts.shape[1]))
    order = rng.permutation(len(counts))
    for i in order[np.argsort(-counts[order].sum(axis=1), kind="stable")]:
        overlap = filled @ counts[i]
        fold[i] = min(rng.permutation(n), key=lambda f: (overlap[f], filled[f].sum()))
        filled[fold[i]] += counts[i]
    return fold


def select_training(
    audit: Audit, *, without_leaks: bool = False, n_folds: int | None = None, fold: int | None = None
) -> Selection:
    """Select the training images to fit a model on; valid and test are not changed.

    Args:
        audit: Of the dataset.
        without_leaks: Drop the images whose photo occurs in valid or test.
        n_folds: Number of folds of train, always divided by `folds(audit, n_folds, seed=FOLD_SEED, split="train")`.
        fold: The fold to leave out, from 0.

    Raises:
        ConfigError: Only one of n_folds and fold is given, or one is out of range.
    """
    rows = np.asarray(audit.splits == SPLITS.index("train"), np.bool_)
    left_out = ""
    if n_folds is not None or fold is not None:
        if n_folds is None or fold is None:
            raise ConfigError("the number of folds and the fold to leave out go together; pass both, such as 5 and 0")
        assigned = folds(audit, n_folds, seed=FOLD_SEED, split="train")
        if not 0 <= fold < n_folds:
            raise ConfigError(f"no fold {fold} of {n_folds}; choose 0 to {n_folds - 1}")
        rows &= assigned != fold
        left_out = f"{fold} of {n_folds}"
    if not without_leaks:
        return Selection(rows=rows, fold=left_out)
    leaks = rows & leaked(audit, "train", ("valid", "test"))
    return Selection(rows=rows & ~leaks, dropped=int(leaks.sum()), fold=left_out)


def save_audit(audit: Audit, path: str | Path) -> None:
    """Write an audit to an .npz of plain arrays, atomically; `read_audit` reads it back.

    Raises:
        OutputError: The file cannot be written.
    """
    about = {
        "format": FORMAT,
        "dataset": audit.dataset,
        "fingerprint": audit.fingerprint,
        "threshold": audit.threshold,
    }
    arrays = {name: getattr(audit, name) for name in SCHEMA if name not in Pairs._fields} | audit.pairs._asdict()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)


def audit_file(path: str | Path) -> Path:
    """Return the file of an audit, which may be named by its folder.

    Raises:
        DatasetError: The file cannot be read, or is no audit.
    """
    path = as_path(path)
    path = path / "audit.npz" if os.path.isdir(path) else path
    read_npz(path, SCHEMA, About, kind=AUDIT, way_out=WAY_OUT)
    return path


def read_audit(path: str | Path, dataset: Dataset) -> Audit:
    """Read an audit written by `save_audit` or `mien data audit`.

    Args:
        path: An audit.npz, or its folder.
        dataset: The audited dataset, all of it.

    Raises:
        DatasetError: The file cannot be read, or is an audit of another dataset.
    """
    path = audit_file(path)
    about, arrays = read_npz(path, SCHEMA, About, kind=AUDIT, way_out=WAY_OUT)
    audit = Audit(
        dataset=about["dataset"],
        fingerprint=about["fingerprint"],
        labels=dataset.labels.labels,
        targets=dataset.targets,
        splits=dataset.splits,
        threshold=about["threshold"],
        pairs=Pairs(*(arrays.pop(name) for name in Pairs._fields)),
        **arrays,
    )
    if not re.fullmatch(r"[0-9a-f]{64}", audit.fingerprint):
        raise DatasetError(f"'{path}' is not {AUDIT} (its fingerprint is {shown(audit.fingerprint)}); {WAY_OUT}")
    check_same_data(audit, dataset)
    if problem := _inconsistency(audit, len(dataset)):
        raise DatasetError(f"'{path}' is not {AUDIT} ({problem}); {WAY_OUT}")
    return audit


def _inconsistency(audit: Audit, n: int) -> str:
    """Return the problem of indices of a file; "" if there is none."""
    for name in ("exact", "clusters", "blank", "not_a_face", "unclear"):
        if len(getattr(audit, name)) != n:
            return f"'{name}' has {len(getattr(audit, name)):,} values for {n:,} images"
    if len({len(part) for part in audit.pairs}) != 1:
        return "the parts of its pairs have different lengths"
    positions = np.arange(n)
    for name, firsts in (("exact", audit.exact), ("clusters", audit.clusters)):
        if ((firsts < 0) | (firsts > positions)).any() or (firsts[firsts] != firsts).any():
            return f"'{name}' is not the index of a first image"
    first, second = audit.pairs.first, audit.pairs.second
    if ((first < 0) | (first >= second) | (second >= n)).any() or not np.isfinite(audit.pairs.scores).all():
        return "its pairs are no pairs of images"
    return ""


def check_same_data(audit: Audit, dataset: Dataset) -> None:
    """Check that an audit is of this dataset.

    Raises:
        DatasetError: The fingerprints differ.
    """
    if audit.fingerprint != dataset.fingerprint:
        way_out = "audit the same dataset, with the same votes and size: mien data audit"
        if dataset.found is not None:
            way_out = (
                "crops of photographs depend on their size, so prepare them once, then audit the same dataset and use "
                f"it: mien data prepare PHOTOGRAPHS FILE.npz --detector {dataset.found.detector} --size "
                f"{dataset.images.shape[1]}; mien data audit FILE.npz"
            )
        raise DatasetError(
            f"the audit is of {shown(audit.dataset)} with fingerprint {audit.fingerprint[:12]}, but "
            f"'{dataset.name}' has {dataset.fingerprint[:12]}; {way_out}"
        )


def _connected_components(exact: IntArray, pairs: Pairs) -> IntArray:
    """Return the smallest index in each image's component, int64 (n,)."""
    parents = exact.tolist()

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = parents[parents[i]]  # path halving
            i = parents[i]
        return i

    for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        low, high = sorted((root(first), root(second)))
        parents[high] = low
    return np.fromiter((root(i) for i in range(len(parents))), np.int64, len(parents))


def _wins_votes(votes: FloatArray | None, answer: str, n: int) -> BoolArray:
    """Return a mask of the images where an answer has the most votes or ties for them, bool (n,)."""
    if votes is None:
        return np.zeros(n, np.bool_)
    given = votes[:, VOTE_COLUMNS.index(answer)]
    return np.asarray((given > 0) & (given == votes.max(axis=1)), np.bool_)
