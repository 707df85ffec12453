"""Code shared by the benchmarks: tables, targets and results."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mien.vision.detect import FaceDetector
from mien.vision.fetch import local_yunet
from mien.vision.haar import HaarDetector
from mien.vision.yunet import YuNetDetector

ROOT = Path(__file__).parent.parent
PHOTO = ROOT / "docs" / "images" / "astronaut.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A measured value beside the one it should have.

    Args:
        what: Name of the measured quantity.
        value: The measured value.
        limit: The value it should have at most, or at least.
        unit: Unit of both; empty for a ratio.
        at_least: The limit is a lower one.
    """

    what: str
    value: float
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def row(self) -> list[str]:
        sign, unit = "≥" if self.at_least else "≤", f" {self.unit}" if self.unit else ""
        return [self.what, f"{self.value:.3g}{unit}", f"{sign} {self.limit:g}{unit}", "met" if self.met else "not met"]


def available_detectors() -> tuple[dict[str, FaceDetector], list[str]]:
    """Return the detectors at hand, and why others are not."""
    file = local_yunet()
    if file is None:
        return {"haar": HaarDetector()}, ["YuNet was skipped: run `mien doctor --fetch`"]
    return {"haar": HaarDetector(), "yunet": YuNetDetector(file)}, []


def arguments(doc: str) -> argparse.ArgumentParser:
    """Return a parser that explains itself by the script's docstring and knows --out."""
    summary, _, rest = doc.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON too")
    return parser


def report(
    title: str, tables: Sequence[str], results: Mapping[str, object], *, out: Path | None, **extra: object
) -> None:
    """Print the tables and where they were measured as Markdown; write the results as JSON.

    Args:
        title: Heading.
        tables: Markdown.
        results: The same figures as plain data.
        out: The JSON file; None for none.
        extra: Further facts, e.g. thread counts.
    """
    from mien.machine.facts import git_commit, machine_facts  # not before the children of startup.py ran: see there

    where = {**machine_facts(), **extra, "commit": git_commit()}
    print(f"## {title}\n")
    for table in tables:
        print(f"{table}\n")
    print(", ".join(f"{name} {value}" for name, value in where.items()))
    if out is not None:
        out.write_text(json.dumps({"machine": where, **results}, indent=2) + "\n", encoding="utf-8")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are right-aligned figures."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def target_table(targets: Sequence[Target]) -> str:
    """Return a Markdown table of targets, met or not."""
    return markdown(["target", "measured", "limit", "result"], [target.row() for target in targets])


def target_data(targets: Sequence[Target]) -> list[dict[str, object]]:
    """Return targets as plain data."""
    return [asdict(target) | {"met": target.met} for target in targets]


def existing(path: Path, *, flag: str) -> Path:
    """Return a path to a file, or exit with a line that names the expected argument."""
    if not path.is_file():
        sys.exit(f"no file '{path}'; give one with {flag}")
    return path
