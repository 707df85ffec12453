"""`mien predict`: expressions in pictures, videos and folders."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.arguments import (
    Csv,
    Detector,
    Json,
    Jsonl,
    Labels,
    MinConfidence,
    MinScore,
    Model,
    ModelsDir,
    Top,
    model_file,
    open_recognizer,
)  # fmt: skip
from mien.cli.console import bar, cell, fail, new_table, print_table, say
from mien.errors import ConfigError
from mien.files import printable
from mien.models.spec import DEFAULT_MODEL

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from mien.collection import Seen
    from mien.sinks.sink import Sink
    from mien.structures import Expression, Provenance


def predict(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, videos, or folders of them.")],
    to: Annotated[
        Path | None, typer.Option("--out", help="Write annotated pictures and videos to this folder.", metavar="DIR")
    ] = None,
    csv: Csv = None,
    jsonl: Jsonl = None,
    as_json: Json = False,
    model: Model = DEFAULT_MODEL,
    labels: Labels = None,
    detector: Detector = "auto",
    min_score: MinScore = None,
    min_confidence: MinConfidence = 0.0,
    top: Top = 1,
    summary: Annotated[
        bool, typer.Option("--summary", help="Count the expressions in a strip below each annotated image.")
    ] = False,
    glob: Annotated[
        str | None, typer.Option(help="Read only these files of a folder.", metavar="PATTERN", show_default=False)
    ] = None,
    models_dir: ModelsDir = None,
) -> None:
    """Recognise the expressions of faces in pictures, videos and folders.

    Examples: `mien predict party.jpg holiday/ clip.mp4 --out annotated --csv faces.csv`, `mien predict holiday/ --glob
    '*.jpg'`, `mien predict photo.jpg --json`
    """
    from mien.collection import Failure, Summary, see
    from mien.sinks.records import record
    from mien.sinks.sink import many
    from mien.targets import check_targets

    _check_outputs(csv, jsonl, as_json)
    check_targets([*paths, model_file(model)], texts=[csv, jsonl], glob=glob)
    recognizer = open_recognizer(model, detector, min_score, labels, min_confidence, models_dir)
    table, counts, records, failed = _Table(top), Summary(), [], False
    with many(_sinks(csv, jsonl, recognizer.provenance)) as sink, bar("recognising", shown=_is_long(paths)) as progress:
        for result in see(
            paths, recognizer, glob=glob, sinks=[sink], out=to, top=top, summary=summary, progress=progress
        ):
            if isinstance(result, Failure):
                failed = True
                fail(result.error)
                continue
            table.add(result)
            counts.add(result)
            if as_json:
                records.append(record(result.frame, result.expressions, recognizer.provenance))
    if as_json:
        print(json.dumps(records, indent=2))
    elif Path("-") not in (csv, jsonl):
        _print(table, counts, to)
    if failed:
        raise typer.Exit(2)


class _Table:
    """Collects one row per face of a picture, and one per video.

    Args:
        top: Number of labels per face.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self._pictures: dict[Path, list[Expression]] = {}
        self._videos: dict[Path, tuple[int, Counter[str]]] = {}  # frames, faces by label
        self.paths: list[Path] = []

    def add(self, seen: Seen) -> None:
        if seen.frame.index == 0:
            self.paths.append(seen.path)
        if seen.media.kind == "picture":
            self._pictures[seen.path] = seen.expressions
        else:
            _, labels = self._videos.get(seen.path, (0, Counter[str]()))
            labels.update(expression.label for expression in seen.expressions)
            self._videos[seen.path] = seen.frame.index + 1, labels

    def drawn(self) -> Table:
        table = new_table("picture", "face", "expression", "probability", "box")
        for path in self.paths:
            rows = self._picture_rows(self._pictures[path]) if path in self._pictures else self._video_row(path)
            for row in rows:
                table.add_row(printable(path), *row)
        return table

    def _picture_rows(self, expressions: list[Expression]) -> Sequence[tuple[str | Text, ...]]:
        if not expressions:
            return [("–", "no face found", "", "")]
        return [(str(number), *_columns(e, self._top)) for number, e in enumerate(expressions, start=1)]

    def _video_row(self, path: Path) -> Sequence[tuple[str | Text, ...]]:
        n_frames, labels = self._videos[path]
        total = labels.total()
        shares = ", ".join(f"{label} {n / total:.0%}" for label, n in labels.most_common(3))
        return [(f"{total} in {n_frames} frames", shares or "no face found", "", "")]


def _columns(expression: Expression, top: int) -> tuple[Text, Text, str]:
    """Return labels, probabilities and box as text."""
    best = expression.prediction.top(top)
    names = [label for label, _ in best]
    if not expression.certain:
        names[0] = f"{expression.label} ({names[0]})"
    box = expression.face.box
    place = f"{box.x1:.0f},{box.y1:.0f} – {box.x2:.0f},{box.y2:.0f}"
    return cell(names), cell(f"{p:.0%}" for _, p in best), place


def _print(table: _Table, summary: object, to: Path | None) -> None:
    if not table.paths:
        return
    print_table(table.drawn())
    if len(table.paths) > 1:
        say(str(summary))
    if to is not None:
        say(f"annotated: {to}")


def _sinks(csv: Path | None, jsonl: Path | None, provenance: Provenance) -> list[Sink]:
    from mien.sinks.tables import CsvSink, JsonlSink

    sinks: list[Sink] = []
    if csv is not None:
        sinks.append(CsvSink(csv, provenance))
    if jsonl is not None:
        sinks.append(JsonlSink(jsonl, provenance))
    return sinks


def _check_outputs(csv: Path | None, jsonl: Path | None, as_json: bool) -> None:
    if [csv == Path("-"), jsonl == Path("-"), as_json].count(True) > 1:
        raise ConfigError("--json, --csv - and --jsonl - all write to standard output; choose one")


def _is_long(paths: list[Path]) -> bool:
    """Return whether recognition takes long enough for a progress bar: not for one picture."""
    from mien.sources.paths import PICTURE_SUFFIXES

    return len(paths) > 1 or paths[0].suffix.lower() not in PICTURE_SUFFIXES
