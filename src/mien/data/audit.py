"""What a dataset holds twice, and what it holds that is no face: clusters of duplicates, leaks, conflicts, folds."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from mien.data.dataset import SPLITS, Dataset, Split, SplitArray
from mien.data.near import Pairs, near_pairs
from mien.data.votes import VOTE_COLUMNS
from mien.errors import ConfigError, DatasetError
from mien.files import atomic_path
from mien.structures import FloatArray, ImageArray, IntArray, Progress

BoolArray: TypeAlias = npt.NDArray[np.bool_]

THRESHOLD = 0.9  # of the correlation; between those of FER2013's pairs lies a valley: docs/guides/auditing.md
FOLD_SEED = 0  # of the parting, not of a training: models of several seeds share their folds
FORMAT = 1
KINDS = ("single", "exact", "near")
DTYPES = {
    "exact": np.int64, "clusters": np.int64, "blank": np.bool_, "not_a_face": np.bool_, "unclear": np.bool_,
    "first": np.int64, "second": np.int64, "scores": np.float32, "mirrored": np.bool_,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audit:
    """What was found in a dataset of n pictures.

    A cluster holds pictures that are the same photo: those with the same pixels, those that are near duplicates of
    each other, and those that are so through others. It is called by the index of its first picture.

    Args:
        dataset: Name of the data.
        fingerprint: `Dataset.fingerprint`.
        labels: Names of the classes.
        targets: Class ids, int64 (n,).
        splits: Index into `SPLITS`, int8 (n,).
        threshold: Least correlation of near duplicates, in [-1, 1]; see `mien.data.near`.
        exact: Index of the first picture with the same pixels, int64 (n,).
        clusters: Index of the first picture of the cluster, int64 (n,); a picture alone has its own.
        pairs: Near duplicates that were measured; of pictures with the same pixels the first stands for all.
        blank: Whether all pixels are equal, bool (n,).
        not_a_face: Whether "not a face" got as many votes as any answer, bool (n,); all False without votes.
        unclear: Likewise "unknown", bool (n,).
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
    """Which training pictures a model is fitted on.

    Args:
        rows: bool (n,), over all pictures of the dataset; True in train alone.
        dropped: Number of pictures left out since valid or test show their photo; None if such were not looked for.
        fold: The fold that is left out, and of how many: "2 of 5"; empty if none is.
    """

    rows: BoolArray = field(repr=False)
    dropped: int | None = None
    fold: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """What a spec tells of it, beside the data's name and fingerprint."""
        dropped = {} if self.dropped is None else {"dropped": f"{self.dropped:,} leaks"}
        return dropped | ({"fold": f"{self.fold} left out"} if self.fold else {})


def audit(dataset: Dataset, *, threshold: float = THRESHOLD, progress: Progress | None = None) -> Audit:
    """Look for duplicates within and across the splits, for blank pictures and for what is no face.

    Args:
        dataset: All splits; pictures of any size, compared at 48×48 in grey.
        threshold: Least correlation of near duplicates; a lower one finds more and errs more.
        progress: Called with (done, all) in no particular unit.

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
        clusters=_connected(exact, pairs),
        pairs=pairs,
        blank=blank,
        not_a_face=_leads(dataset.votes, "nf", len(dataset)),
        unclear=_leads(dataset.votes, "unknown", len(dataset)),
    )


def first_identical(images: ImageArray) -> IntArray:
    """Return the index of the first picture with the same pixels, int64 (n,), for each of uint8 (n, H, W, C)."""
    seen: dict[bytes, int] = {}
    digests = (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images)
    return np.fromiter((seen.setdefault(digest, i) for i, digest in enumerate(digests)), np.int64, len(images))


def group_sizes(groups: IntArray) -> IntArray:
    """Return how many pictures share each picture's group, int64 (n,), for `Audit.exact` or `Audit.clusters`."""
    return np.bincount(groups, minlength=len(groups))[groups]


def duplicate_kinds(audit: Audit) -> npt.NDArray[np.int8]:
    """Return an index into `KINDS` for each picture, int8 (n,): alone, all of its cluster the same pixels, or not."""
    together = group_sizes(audit.clusters)
    return np.where(together == 1, 0, np.where(group_sizes(audit.exact) == together, 1, 2)).astype(np.int8)


def conflicts(audit: Audit, groups: IntArray) -> BoolArray:
    """Return which pictures are in a group that has more than one label, bool (n,).

    Args:
        audit: What was found.
        groups: `audit.exact` or `audit.clusters`.
    """
    lowest, highest = np.full(len(audit), len(audit.labels)), np.full(len(audit), -1)
    np.minimum.at(lowest, groups, audit.targets)
    np.maximum.at(highest, groups, audit.targets)
    return np.asarray((lowest < highest)[groups], np.bool_)


def leaked(audit: Audit, split: Split, against: Sequence[Split] = ("train",), *, exact: bool = False) -> BoolArray:
    """Return which pictures of a split show a photo that other splits show too.

    Args:
        audit: What was found.
        split: Pictures outside it are False.
        against: The other splits.
        exact: Count the same pixels alone, not near duplicates.

    Returns:
        bool (n,), over all pictures of the dataset; `[audit.splits == SPLITS.index(split)]` brings it to the split.
    """
    groups = audit.exact if exact else audit.clusters
    there = np.isin(audit.splits, [SPLITS.index(name) for name in against])
    shown = np.zeros(len(audit), np.bool_)
    shown[groups[there]] = True
    return np.asarray((audit.splits == SPLITS.index(split)) & shown[groups], np.bool_)


def drop_leaks(dataset: Dataset, audit: Audit) -> Dataset:
    """Return the dataset without the training pictures that valid or test show too.

    Raises:
        DatasetError: The audit is of other data.
    """
    check_same_data(audit, dataset)
    return dataset.select(~leaked(audit, "train", ("valid", "test")))


def folds(audit: Audit, n: int, *, seed: int, split: Split | None = None) -> npt.NDArray[np.int8]:
    """Part pictures into folds for cross-fitting; a cluster is never split, and the classes are spread evenly.

    The largest clusters come first, each into the fold that has least of its classes; in other respects by lot.

    Args:
        audit: What was found.
        n: Number of folds, 2 to 127.
        seed: Another seed gives other folds.
        split: Part this split alone; None parts all pictures.

    Returns:
        Fold of each picture in [0, n), int8, over all pictures of the dataset; -1 outside of the split.

    Raises:
        ConfigError: n is out of range.
    """
    if not 2 <= n <= 127:
        raise ConfigError(f"cannot part pictures into {n} folds; choose 2 to 127")
    chosen = np.ones(len(audit), np.bool_) if split is None else audit.splits == SPLITS.index(split)
    names, cluster = np.unique(audit.clusters[chosen], return_inverse=True)
    counts = np.zeros((len(names), len(audit.labels)))
    np.add.at(counts, (cluster, audit.targets[chosen]), 1)
    generator = np.random.default_rng(seed)
    lot = generator.permutation(len(names))
    fold = np.empty(len(names), np.int8)
    held = np.zeros((n, len(audit.labels)))
    for i in lot[np.argsort(-counts[lot].sum(axis=1), kind="stable")]:
        filled = held @ counts[i]
        fold[i] = min(generator.permutation(n), key=lambda f: (filled[f], held[f].sum()))
        held[fold[i]] += counts[i]
    folds = np.full(len(audit), -1, np.int8)
    folds[chosen] = fold[cluster]
    return folds


def select_training(
    audit: Audit, *, without_leaks: bool = False, n_folds: int | None = None, fold: int | None = None
) -> Selection:
    """Choose the training pictures to fit a model on; valid and test stay as they are.

    Args:
        audit: Of the data.
        without_leaks: Leave out the pictures that valid or test show too.
        n_folds: Part train into so many folds by cluster, always the same ones: `folds(audit, n_folds,
            seed=FOLD_SEED, split="train")`.
        fold: The fold to leave out, from 0.

    Raises:
        ConfigError: A number of folds without a fold, a fold without their number, or one of them is out of range.
    """
    rows = np.asarray(audit.splits == SPLITS.index("train"), np.bool_)
    left_out = ""
    if n_folds is not None or fold is not None:
        if n_folds is None or fold is None:
            raise ConfigError("the number of folds and the fold to leave out go together, such as 5 and 0")
        parts = folds(audit, n_folds, seed=FOLD_SEED, split="train")
        if not 0 <= fold < n_folds:
            raise ConfigError(f"there is no fold {fold} of {n_folds}; they are counted from 0 to {n_folds - 1}")
        rows &= parts != fold
        left_out = f"{fold} of {n_folds}"
    if not without_leaks:
        return Selection(rows=rows, fold=left_out)
    leaks = rows & leaked(audit, "train", ("valid", "test"))
    return Selection(rows=rows & ~leaks, dropped=int(leaks.sum()), fold=left_out)


def save_audit(audit: Audit, path: str | Path) -> None:
    """Write an audit to an .npz of plain arrays, whole or not at all; `read_audit` reads it back.

    Raises:
        OutputError: The file cannot be written.
    """
    about = {
        "format": FORMAT,
        "dataset": audit.dataset,
        "fingerprint": audit.fingerprint,
        "threshold": audit.threshold,
    }
    arrays = {name: getattr(audit, name) for name in DTYPES if name not in Pairs._fields} | audit.pairs._asdict()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)


def read_audit(path: str | Path, dataset: Dataset) -> Audit:
    """Read what `save_audit` or `mien data audit` wrote.

    Args:
        path: An audit.npz, or the folder that holds it.
        dataset: The data it is of, all of it.

    Raises:
        DatasetError: It cannot be read, or is an audit of other data.
    """
    path = Path(path)
    path = path / "audit.npz" if path.is_dir() else path
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("missing, not an .npz archive, or a truncated one")
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            found = {name: arrays[name] for name in DTYPES}
        if about["format"] != FORMAT or any(array.dtype != DTYPES[name] for name, array in found.items()):
            raise ValueError("written by another version of mien")
        audit = Audit(
            dataset=about["dataset"],
            fingerprint=about["fingerprint"],
            labels=dataset.labels.labels,
            targets=dataset.targets,
            splits=dataset.splits,
            threshold=float(about["threshold"]),
            pairs=Pairs(*(found.pop(name) for name in Pairs._fields)),
            **found,
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, RecursionError, zipfile.BadZipFile) as error:
        raise DatasetError(f"'{path}' is no audit ({error}); write one with mien data audit") from error
    check_same_data(audit, dataset)
    return audit


def check_same_data(audit: Audit, dataset: Dataset) -> None:
    """Make sure that an audit is of this very data.

    Raises:
        DatasetError: The fingerprints differ.
    """
    if audit.fingerprint != dataset.fingerprint:
        raise DatasetError(
            f"the audit is of '{audit.dataset}' with fingerprint {audit.fingerprint[:12]}, but '{dataset.name}' has "
            f"{dataset.fingerprint[:12]}; audit this very data, with the same votes and size: mien data audit"
        )


def _connected(exact: IntArray, pairs: Pairs) -> IntArray:
    """Return the smallest index that each picture is connected with, int64 (n,)."""
    parents = exact.tolist()

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = parents[parents[i]]  # halves the way for those who come later
            i = parents[i]
        return i

    for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        low, high = sorted((root(first), root(second)))
        parents[high] = low
    return np.fromiter((root(i) for i in range(len(parents))), np.int64, len(parents))


def _leads(votes: FloatArray | None, answer: str, n: int) -> BoolArray:
    """Return where an answer got votes, and as many as any other."""
    if votes is None:
        return np.zeros(n, np.bool_)
    given = votes[:, VOTE_COLUMNS.index(answer)]
    return np.asarray((given > 0) & (given == votes.max(axis=1)), np.bool_)
