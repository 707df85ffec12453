"""The report of an audit: a folder with counts for programs, text and examples for people, and the audit itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mien.data.audit import KINDS, Audit, check_same_data, duplicate_kinds, save_audit
from mien.data.dataset import SPLITS, Dataset
from mien.escape import code, literal
from mien.files import atomic_folder, write_text
from mien.pixels import write_picture
from mien.reports.audit_json import AuditFigures, audit_figures
from mien.reports.report import write_csv
from mien.reports.sheets import example_sheet
from mien.reports.tables import table

COLUMNS = ("picture", "split", "label", "cluster", "first of the same pixels", "kind", "flags")  # of audit.csv
FILES = ("audit.npz", "audit.csv", "audit.json", "audit.md", "examples.png")


def write_audit(audit: Audit, dataset: Dataset, folder: str | Path) -> Path:
    """Write audit.npz (to read back), audit.csv (one row per image), audit.json, examples.png and audit.md.

    Args:
        audit: The audit.
        dataset: Its data; some of its images are drawn, so mind its terms before you pass the folder on.
        folder: Created if missing; files of an earlier audit are replaced, all at once.

    Returns:
        The path of audit.md.

    Raises:
        DatasetError: The audit is of other data.
        OutputError: A file cannot be written.
    """
    check_same_data(audit, dataset)
    found = audit_figures(audit, has_votes=dataset.votes is not None)
    with atomic_folder(folder) as temporary:
        save_audit(audit, temporary / "audit.npz")
        write_csv(temporary / "audit.csv", COLUMNS, _rows(audit))
        write_text(temporary / "audit.json", json.dumps(found, indent=2) + "\n")
        write_picture(temporary / "examples.png", example_sheet(audit, dataset))
        write_text(temporary / "audit.md", audit_markdown(found))
    return Path(folder) / "audit.md"


def findings(found: AuditFigures) -> str:
    """Return the contents of an audit.json as Markdown tables."""
    return "\n\n".join([_duplicates(found), _across(found), _labels(found), _classes(found)])


def audit_markdown(found: AuditFigures) -> str:
    """Return audit.md for the contents of an audit.json; examples.png is linked in the same folder."""
    return "\n\n".join([
        f"# Audit of {literal(found['dataset'])}",
        f"- {found['pictures']:,} images\n- Fingerprint: {code(found['fingerprint'])}\n"
        f"- Near duplicates: correlation of the fine structure at least {found['threshold']:g}",
        "## Found",
        findings(found),
        "## Examples",
        "![Examples](examples.png)",
        "Chosen at random. The images belong to the dataset: mind its terms before you pass them on.",
        "## Files",
        "- `audit.csv`: one row per image: index, split, label, cluster, kind, flags\n"
        "- `audit.npz`: the same and the measured pairs, for `mien.data.read_audit`\n"
        "- `audit.json`: the figures above",
    ]) + "\n"  # fmt: skip


def _duplicates(found: AuditFigures) -> str:
    rows = [
        [name, f"{g['groups']:,}", _share(g["pictures"], found["pictures"]), f"{g['spare']:,}", f"{g['largest']:,}",
         f"{g['conflicting_groups']:,}", f"{g['conflicting_pictures']:,}"]
        for name, g in (("same pixels", found["exact"]), ("same photo", found["clusters"]))
    ]  # fmt: skip
    header = ["duplicates", "groups", "images in them", "redundant", "largest", "groups with several labels"]
    return (
        table([*header, "images in those"], rows) + f"\n\n{found['near_pairs']:,} pairs of near duplicates were "
        f"found, {found['mirrored_pairs']:,} of them mirrored. *Same photo* counts exact and near duplicates."
    )


def _across(found: AuditFigures) -> str:
    rows = [
        [f"{split} in {other}", f"{s['pictures']:,}", _share(s["same_pixels"][other], s["pictures"]),
         _share(s["same_photo"][other], s["pictures"])]
        for split, s in found["splits"].items()
        for other in s["same_photo"]
    ]  # fmt: skip
    return table(["images of … that occur in …", "images", "same pixels", "same photo"], rows)


def _labels(found: AuditFigures) -> str:
    if not found["conflicting_labels"]:
        return "No cluster has more than one label."
    rows = [[literal(f"{a}, {b}"), f"{n:,}"] for a, b, n in found["conflicting_labels"]]
    return table(["labels of the same photo", "clusters"], rows)


def _classes(found: AuditFigures) -> str:
    splits, total = found["splits"], found["pictures"]
    names = list(next(iter(splits.values()))["classes"]) if splits else []
    rows = [[literal(name), *(_share(s["classes"][name], s["pictures"]) for s in splits.values())] for name in names]
    rows.append(["all", *(_share(s["pictures"], total) for s in splits.values())])
    rows.append(["blank", *(f"{s['blank']:,}" for s in splits.values())])
    if found["has_votes"]:
        rows.append(["raters: not a face", *(f"{s['not_a_face']:,}" for s in splits.values())])
        rows.append(["raters: unclear", *(f"{s['unclear']:,}" for s in splits.values())])
    return table(["images", *splits], rows)


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({100 * part / max(whole, 1):.1f} %)"


def _rows(audit: Audit) -> Iterator[list[object]]:
    flags = {"blank": audit.blank, "not a face": audit.not_a_face, "unclear": audit.unclear}
    for i, kind in enumerate(duplicate_kinds(audit)):
        named = "; ".join(name for name, flag in flags.items() if flag[i])
        place = [i, SPLITS[audit.splits[i]], audit.labels[audit.targets[i]]]
        yield [*place, audit.clusters[i], audit.exact[i], KINDS[kind], named]
