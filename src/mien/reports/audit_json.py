"""audit.json: the counts of an audit as plain data."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TypedDict

import numpy as np

from mien.data.audit import Audit, conflicts, group_sizes, leaked
from mien.data.dataset import SPLITS, Split
from mien.structures import IntArray

FIGURES_VERSION = 1
COMMAND = "mien data audit"
MAX_PAIRS = 6  # of conflicting labels


class GroupFigures(TypedDict):
    """Groups of two or more images."""

    groups: int
    pictures: int
    spare: int  # redundant images: without them each photo would occur once
    largest: int
    conflicting_groups: int
    conflicting_pictures: int


class SplitFigures(TypedDict):
    """Counts of one split."""

    pictures: int
    classes: dict[str, int]
    blank: int
    not_a_face: int
    unclear: int
    same_pixels: dict[str, int]  # other split -> images that occur there too
    same_photo: dict[str, int]


class AuditFigures(TypedDict):
    """Contents of audit.json; all counts are of images unless named otherwise."""

    version: int
    command: str
    dataset: str
    fingerprint: str
    pictures: int
    threshold: float
    has_votes: bool
    exact: GroupFigures
    clusters: GroupFigures
    near_pairs: int
    mirrored_pairs: int
    conflicting_labels: list[tuple[str, str, int]]
    splits: dict[str, SplitFigures]


def audit_figures(audit: Audit, *, has_votes: bool) -> AuditFigures:
    """Return all counts of an audit as plain data."""
    return {
        "version": FIGURES_VERSION,
        "command": f"{COMMAND} {audit.dataset}",
        "dataset": audit.dataset,
        "fingerprint": audit.fingerprint,
        "pictures": len(audit),
        "threshold": audit.threshold,
        "has_votes": has_votes,
        "exact": _group_figures(audit, audit.exact),
        "clusters": _group_figures(audit, audit.clusters),
        "near_pairs": len(audit.pairs.first),
        "mirrored_pairs": int(audit.pairs.mirrored.sum()),
        "conflicting_labels": _conflicting_labels(audit),
        "splits": {split: _split_figures(audit, split) for split in present_splits(audit)},
    }


def _group_figures(audit: Audit, groups: IntArray) -> GroupFigures:
    together, differ = group_sizes(groups), conflicts(audit, groups)
    shared = together > 1
    return {
        "groups": len(np.unique(groups[shared])),
        "pictures": int(shared.sum()),
        "spare": len(groups) - len(np.unique(groups)),
        "largest": int(together.max(initial=0)),
        "conflicting_groups": len(np.unique(groups[differ])),
        "conflicting_pictures": int(differ.sum()),
    }


def _split_figures(audit: Audit, split: Split) -> SplitFigures:
    inside = audit.splits == SPLITS.index(split)
    counts = np.bincount(audit.targets[inside], minlength=len(audit.labels)).tolist()
    others = [other for other in present_splits(audit) if other != split]
    return {
        "pictures": int(inside.sum()),
        "classes": dict(zip(audit.labels, counts, strict=True)),
        "blank": int(audit.blank[inside].sum()),
        "not_a_face": int(audit.not_a_face[inside].sum()),
        "unclear": int(audit.unclear[inside].sum()),
        "same_pixels": {other: int(leaked(audit, split, (other,), exact=True).sum()) for other in others},
        "same_photo": {other: int(leaked(audit, split, (other,)).sum()) for other in others},
    }


def _conflicting_labels(audit: Audit) -> list[tuple[str, str, int]]:
    """Return the pairs of labels that share the most clusters, with the number of these clusters."""
    held: dict[int, set[int]] = {}
    for image in np.flatnonzero(conflicts(audit, audit.clusters)):
        held.setdefault(int(audit.clusters[image]), set()).add(int(audit.targets[image]))
    counts = Counter(pair for targets in held.values() for pair in combinations(sorted(targets), 2))
    return [(audit.labels[a], audit.labels[b], n) for (a, b), n in counts.most_common(MAX_PAIRS)]


def present_splits(audit: Audit) -> list[Split]:
    """Return the splits that hold images."""
    return [split for i, split in enumerate(SPLITS) if (audit.splits == i).any()]
