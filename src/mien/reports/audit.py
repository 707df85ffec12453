"""What an audit found, as a folder: figures for programs, text and examples for people, an index to read back."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import TypedDict

import numpy as np

from mien.data.audit import (
    KINDS,
    Audit,
    BoolArray,
    check_same_data,
    conflicts,
    duplicate_kinds,
    group_sizes,
    leaked,
    save_audit,
)
from mien.data.dataset import SPLITS, Dataset, Split
from mien.drawing.sheets import CELL, FAINT, GAP, INK, MARGIN, NAME_LETTER, PAPER, draw_caption
from mien.drawing.text import draw_text
from mien.files import atomic_path, make_folder
from mien.pixels import resize, to_rgb, write_picture
from mien.structures import ImageArray, IntArray

FIGURES_VERSION = 1
COMMAND = "mien data audit"
ROWS, CELLS = 3, 8  # of examples for each kind, of pictures in a row
CAPTION = 18  # height of the line under a picture
WORST = 6  # pairs of labels that are named


class GroupFigures(TypedDict):
    """Groups of more than one picture."""

    groups: int
    pictures: int
    spare: int  # without which each photo would occur once
    largest: int
    conflicting_groups: int
    conflicting_pictures: int


class SplitFigures(TypedDict):
    """What one split holds."""

    pictures: int
    classes: dict[str, int]
    blank: int
    not_a_face: int
    unclear: int
    same_pixels: dict[str, int]  # split -> pictures that occur there too
    same_photo: dict[str, int]


class Figures(TypedDict):
    """What audit.json holds; all counts are of pictures unless they say otherwise."""

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


def write_audit(audit: Audit, dataset: Dataset, folder: str | Path) -> Path:
    """Write audit.npz (to read back), audit.csv (one row per image), audit.json, examples.png and audit.md.

    Args:
        audit: What was found.
        dataset: The data it is of; a few of its pictures are drawn, so mind its terms when you pass the folder on.
        folder: Made if need be; files of an earlier audit are replaced.

    Returns:
        The path of audit.md.

    Raises:
        DatasetError: The audit is of other data.
        OutputError: A file cannot be written.
    """
    check_same_data(audit, dataset)
    folder = Path(folder)
    make_folder(folder)
    found = audit_figures(audit, has_votes=dataset.votes is not None)
    save_audit(audit, folder / "audit.npz")
    _write_csv(audit, folder / "audit.csv")
    _write_text(folder / "audit.json", json.dumps(found, indent=2) + "\n")
    write_picture(folder / "examples.png", example_sheet(audit, dataset))
    _write_text(folder / "audit.md", audit_markdown(found))
    return folder / "audit.md"


def audit_figures(audit: Audit, *, has_votes: bool) -> Figures:
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
        "splits": {split: _split_figures(audit, split) for split in _present(audit)},
    }


def findings(found: Figures) -> str:
    """Return the contents of an audit.json as Markdown tables."""
    return "\n\n".join([_duplicates(found), _across(found), _labels(found), _classes(found)])


def audit_markdown(found: Figures) -> str:
    """Return audit.md for the contents of an audit.json; examples.png is linked as beside it."""
    return "\n\n".join([
        f"# Audit of {found['dataset']}",
        f"- {found['pictures']:,} images\n- Fingerprint: `{found['fingerprint']}`\n"
        f"- Near duplicates: correlation of the fine structure at least {found['threshold']:g}",
        "## Found",
        findings(found),
        "## Examples",
        "![Examples](examples.png)",
        "Chosen at random. The images belong to the dataset: mind its terms before you pass them on.",
        "## Files",
        "- `audit.csv`: one row per image: index, split, label, cluster, kind, flags\n"
        "- `audit.npz`: the same and the measured pairs, for `mien.data.audit.read_audit`\n"
        "- `audit.json`: the figures above",
    ]) + "\n"  # fmt: skip


def example_sheet(audit: Audit, dataset: Dataset, *, seed: int = 0) -> ImageArray:
    """Draw clusters of each kind, a row each, with split and label under every picture.

    Args:
        audit: What was found.
        dataset: The data it is of.
        seed: Of the draw.

    Returns:
        RGB uint8 (H, W, 3).
    """
    sections = {title: rows for title, rows in _examples(audit, np.random.default_rng(seed)) if rows}
    lines = len(sections) + sum(len(rows) for rows in sections.values())
    pitch = CELL + CAPTION + GAP
    height = 2 * MARGIN + 30 * len(sections) + pitch * (lines - len(sections)) + (0 if sections else 30)
    sheet = np.full((height, 2 * MARGIN + CELLS * (CELL + GAP) - GAP, 3), PAPER, np.uint8)
    y = MARGIN
    for title, rows in sections.items():
        draw_text(sheet, title, NAME_LETTER, x=MARGIN, base=y + 18, ink=INK)
        y += 30
        for row in rows:
            for column, picture in enumerate(row[:CELLS]):
                x = MARGIN + column * (CELL + GAP)
                sheet[y : y + CELL, x : x + CELL] = to_rgb(resize(dataset.images[picture], CELL))
                name = f"{SPLITS[audit.splits[picture]]} {audit.labels[audit.targets[picture]]}"
                draw_caption(sheet, name, x, y, ink=FAINT)
            y += pitch
    if not sections:
        draw_text(sheet, "nothing found", NAME_LETTER, x=MARGIN, base=y + 18, ink=INK)
    return sheet


def _examples(audit: Audit, generator: np.random.Generator) -> Iterator[tuple[str, list[IntArray]]]:
    """Yield a title and rows of pictures for each kind of finding."""
    kind, differ = duplicate_kinds(audit), conflicts(audit, audit.clusters)
    mirrored = np.isin(audit.clusters, audit.clusters[audit.pairs.first[audit.pairs.mirrored]])
    known = ~(audit.blank | audit.not_a_face)
    yield "the same pixels", _rows(audit, (kind == 1) & ~differ & known, generator)
    yield "the same pixels, labelled differently", _rows(audit, (kind == 1) & differ & known, generator)
    yield "near duplicates", _rows(audit, (kind == 2) & ~differ & ~mirrored, generator)
    yield "near duplicates, mirrored", _rows(audit, (kind == 2) & mirrored, generator)
    yield "near duplicates, labelled differently", _rows(audit, (kind == 2) & differ & ~mirrored, generator)
    for title, flagged in (("raters: not a face", audit.not_a_face), ("raters: unclear", audit.unclear)):
        pictures = generator.permutation(np.flatnonzero(flagged & ~audit.blank))[:CELLS]
        yield title, [pictures] if len(pictures) else []


def _rows(audit: Audit, mask: BoolArray, generator: np.random.Generator) -> list[IntArray]:
    """Draw a few of the clusters that a mask touches."""
    drawn = generator.permutation(np.unique(audit.clusters[mask]))[:ROWS]
    return [np.flatnonzero(audit.clusters == cluster) for cluster in drawn]


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
    others = [other for other in _present(audit) if other != split]
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
    """Return the pairs of labels that most clusters hold both of, and the number of these clusters."""
    held: dict[int, set[int]] = {}
    for picture in np.flatnonzero(conflicts(audit, audit.clusters)):
        held.setdefault(int(audit.clusters[picture]), set()).add(int(audit.targets[picture]))
    counts = Counter(pair for targets in held.values() for pair in combinations(sorted(targets), 2))
    return [(audit.labels[a], audit.labels[b], n) for (a, b), n in counts.most_common(WORST)]


def _present(audit: Audit) -> list[Split]:
    return [split for i, split in enumerate(SPLITS) if (audit.splits == i).any()]


def _duplicates(found: Figures) -> str:
    rows = [
        [name, f"{g['groups']:,}", _share(g["pictures"], found["pictures"]), f"{g['spare']:,}", f"{g['largest']:,}",
         f"{g['conflicting_groups']:,}", f"{g['conflicting_pictures']:,}"]
        for name, g in (("same pixels", found["exact"]), ("same photo", found["clusters"]))
    ]  # fmt: skip
    header = ["duplicates", "groups", "images in them", "redundant", "largest", "groups with several labels"]
    return (
        _table([*header, "images in those"], rows) + f"\n\n{found['near_pairs']:,} pairs of near duplicates were "
        f"found, {found['mirrored_pairs']:,} of them mirrored. *Same photo* counts exact and near duplicates."
    )


def _across(found: Figures) -> str:
    rows = [
        [f"{split} in {other}", f"{s['pictures']:,}", _share(s["same_pixels"][other], s["pictures"]),
         _share(s["same_photo"][other], s["pictures"])]
        for split, s in found["splits"].items()
        for other in s["same_photo"]
    ]  # fmt: skip
    return _table(["images of … that occur in …", "images", "same pixels", "same photo"], rows)


def _labels(found: Figures) -> str:
    if not found["conflicting_labels"]:
        return "No cluster has more than one label."
    rows = [[f"{a}, {b}", f"{n:,}"] for a, b, n in found["conflicting_labels"]]
    return _table(["labels of the same photo", "clusters"], rows)


def _classes(found: Figures) -> str:
    splits, total = found["splits"], found["pictures"]
    names = list(next(iter(splits.values()))["classes"]) if splits else []
    rows = [[name, *(_share(s["classes"][name], s["pictures"]) for s in splits.values())] for name in names]
    rows.append(["all", *(_share(s["pictures"], total) for s in splits.values())])
    rows.append(["blank", *(f"{s['blank']:,}" for s in splits.values())])
    if found["has_votes"]:
        rows.append(["raters: not a face", *(f"{s['not_a_face']:,}" for s in splits.values())])
        rows.append(["raters: unclear", *(f"{s['unclear']:,}" for s in splits.values())])
    return _table(["images", *splits], rows)


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / max(whole, 1):.1f} %)"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column to the left, numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _write_csv(audit: Audit, path: Path) -> None:
    flags = {"blank": audit.blank, "not a face": audit.not_a_face, "unclear": audit.unclear}
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["picture", "split", "label", "cluster", "first of the same pixels", "kind", "flags"])
        for i, kind in enumerate(duplicate_kinds(audit)):
            named = "; ".join(name for name, flag in flags.items() if flag[i])
            place = [i, SPLITS[audit.splits[i]], audit.labels[audit.targets[i]]]
            writer.writerow([*place, audit.clusters[i], audit.exact[i], KINDS[kind], named])


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
