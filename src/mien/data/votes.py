"""FER+: votes of ten raters on each image of FER2013 (Barsoum et al. 2016, arXiv:1608.01041)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from mien.data.dataset import SPLITS, Dataset, Split, SplitArray
from mien.data.delimited import table_rows
from mien.errors import DatasetError
from mien.files import as_path
from mien.labels import FERPLUS, LabelSet, canonical
from mien.settings import shown
from mien.structures import FloatArray, IntArray

VOTES_NAME = "fer2013new.csv"  # from https://github.com/microsoft/FERPlus
MAX_VOTES = 1000  # of one answer; FER+ has ten raters
VOTE_COLUMNS = (*FERPLUS.labels, "unknown", "nf")  # nf: not a face
USAGES: dict[str, Split] = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}


class Votes(NamedTuple):
    """Rows of a FER+ file.

    Args:
        path: Of the file, for messages.
        counts: Votes, float32 (n, 10), columns as in `VOTE_COLUMNS`.
        splits: Index into `SPLITS`, int8 (n,).
        names: Names of the images; empty where FER+ removed one.
    """

    path: Path
    counts: FloatArray
    splits: SplitArray
    names: list[str]


def read_votes(path: str | Path) -> Votes:
    """Read a FER+ file (fer2013new.csv).

    Raises:
        DatasetError: The file cannot be read, lacks a column, or has a value that is not a count.
    """
    path = as_path(path)
    rows = table_rows(path, kind=f"a FER+ votes file ({VOTES_NAME})")
    _, first = next(rows, (1, []))
    header = list(map(canonical, first))
    if missing := [name for name in ("usage", "image name", *VOTE_COLUMNS) if name not in header]:
        raise DatasetError(
            f"'{path}' is not a FER+ votes file ({VOTES_NAME}): its first line lacks {', '.join(missing)}"
        )
    usage, name, *columns = (header.index(name) for name in ("usage", "image name", *VOTE_COLUMNS))
    counts, splits, names = [], [], []
    for line, row in rows:
        try:
            splits.append(SPLITS.index(USAGES[row[usage].strip()]))
            names.append(row[name].strip())
            counts.append([vote_count(row[column]) for column in columns])
        except (ValueError, IndexError, KeyError):
            raise DatasetError(
                f"'{path}', line {line} is {shown(','.join(row))}; "
                f"expected one of {', '.join(USAGES)}, a name and ten whole numbers"
            ) from None
    return Votes(path, np.array(counts, np.float32).reshape(-1, 10), np.array(splits, np.int8), names)


def vote_count(text: str) -> int:
    """Return a number of votes; raise ValueError for other texts."""
    count = int(text)
    if not 0 <= count <= MAX_VOTES:
        raise ValueError
    return count


def votes_by_row(votes: Votes, splits: SplitArray) -> FloatArray:
    """Return the votes of images in the order of the votes file.

    Args:
        votes: From `read_votes`.
        splits: Index into `SPLITS` of each image, int8 (n,), to detect another order.

    Returns:
        float32 (n, 10).

    Raises:
        DatasetError: The rows do not correspond.
    """
    if len(votes.splits) != len(splits):
        raise DatasetError(
            f"'{votes.path}' has votes on {len(votes.splits)} images, but there are {len(splits)}; "
            "expected one row per image in the same order; pass the votes of this file"
        )
    if (differs := votes.splits != splits).any():
        row = int(differs.argmax())
        raise DatasetError(
            f"'{votes.path}', line {row + 2} is of '{SPLITS[votes.splits[row]]}', but image {row + 1} is of "
            f"'{SPLITS[splits[row]]}'; expected the same order; pass the votes of this file"
        )
    return votes.counts


def votes_by_name(votes: Votes, names: Sequence[str]) -> FloatArray:
    """Return the votes of images with FER+ names ("…/fer0032220.png"; the suffix may differ).

    Kaggle's class folders of FER2013 renumber the images, so their row in the votes file is unknown.

    Returns:
        float32 (n, 10).

    Raises:
        DatasetError: The votes file lacks some of the images.
    """
    row_of = {PurePosixPath(name).stem: row for row, name in enumerate(votes.names) if name}
    rows = [row_of.get(PurePosixPath(name).stem) for name in names]
    if None in rows:
        raise DatasetError(
            f"'{votes.path}' has no votes on {rows.count(None)} of {len(names)} images, such as "
            f"'{names[rows.index(None)]}'; expected FER+ names like fer0000012.png; "
            "read FER2013 from its csv to have votes"
        )
    return votes.counts[np.array(rows, np.int64)]


def agreed(dataset: Dataset) -> Dataset:
    """Return the images on whose expression most raters agree, with the eight labels of FER+; see `majority`.

    Raises:
        DatasetError: The dataset has no votes.
    """
    found = majority(dataset)
    return replace(found.select(found.targets < len(FERPLUS)), labels=FERPLUS)


def majority(dataset: Dataset) -> Dataset:
    """Relabel a dataset by the majority vote of its raters, as the FER+ authors do.

    Single votes are dropped as outliers. The answer with more than half of the remaining votes is the label, else
    "unknown": mode "majority" of https://github.com/microsoft/FERPlus. "unknown" and "nf" (not a face) are not
    expressions: models don't have them, and an evaluation skips and counts their images.

    Returns:
        The same images, splits and votes, named "ferplus", with the labels of `VOTE_COLUMNS`.

    Raises:
        DatasetError: The dataset has no votes.
    """
    if dataset.votes is None:
        raise DatasetError(f"dataset '{dataset.name}' has no FER+ votes; pass them with --votes {VOTES_NAME}")
    labels = LabelSet("ferplus votes", VOTE_COLUMNS)
    return replace(dataset, name=FERPLUS.name, labels=labels, targets=majority_ids(dataset.votes))


def majority_ids(votes: FloatArray) -> IntArray:
    """Return the answer of the majority, as `majority` takes it: an index into `VOTE_COLUMNS`, int64 (n,)."""
    counts = np.where(votes > 1, votes, 0)
    has_majority = counts.max(axis=1, initial=0) > counts.sum(axis=1) / 2
    return np.where(has_majority, counts.argmax(axis=1), VOTE_COLUMNS.index("unknown")).astype(np.int64)
