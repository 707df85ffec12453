"""`mien predict`: expressions in pictures, videos and folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.arguments import (
    Csv,
    Detector,
    Device,
    Excel,
    Json,
    Jsonl,
    Labels,
    MinConfidence,
    MinScore,
    Model,
    ModelsDir,
    Top,
    check_outputs,
    model_file,
    open_listener,
    open_recognizer,
)  # fmt: skip
from mien.cli.console import bar, cell, fail, new_table, notice, percent, print_json, print_table, say
from mien.cli.parts import check_parts, found, predict_parts, ray_engine
from mien.errors import ConfigError
from mien.files import counted, printable
from mien.models.spec import DEFAULT_MODEL

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from mien.collection import FileResult
    from mien.sinks.journal import Journal
    from mien.sinks.tables import CsvSink, JsonlSink
    from mien.structures import Expression, Provenance

MAX_WORKERS = 256
MAX_FILES = 1000  # shown in the table of the terminal
FEW_FACES = 0.9  # share of a video's frames without a face from which another detector is suggested


def predict(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, videos, or folders of them.", readable=False)],
    to: Annotated[
        Path | None, typer.Option("--out", help="Write annotated pictures and videos to this folder.", metavar="DIR")
    ] = None,
    csv: Csv = None,
    jsonl: Jsonl = None,
    excel: Excel = False,
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
        str | None,
        typer.Option(
            help="In folders, read only files that match this pattern.", metavar="PATTERN", show_default=False
        ),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Read at most this many frames per second of a video.", metavar="N")
    ] = None,
    start: Annotated[float, typer.Option(help="Start a video at this time.", metavar="SECONDS")] = 0.0,
    stop: Annotated[
        float | None, typer.Option(help="Stop a video before this time; at its end if not given.", metavar="SECONDS")
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            help="Processes that share the files; auto: one per core, for many files.", metavar="N", show_default="1"
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run that was stopped; finished files keep their rows.")
    ] = False,
    device: Device = "cpu",
    voice: Annotated[
        str | None,
        typer.Option(
            help="Also classify how the voices in videos sound, with the default voice model or this one.",
            metavar="[MODEL]",
        ),
    ] = None,
    parts: Annotated[
        Path | None,
        typer.Option(help="Job folder for many tables (parts); the same command resumes the job.", metavar="DIR"),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="Format of --parts: csv, jsonl or parquet.", metavar="NAME", show_default="csv")
    ] = None,
    shard: Annotated[
        int | None, typer.Option(min=1, help="Pictures per table of --parts.", metavar="N", show_default="256")
    ] = None,
    shard_frames: Annotated[
        int | None,
        typer.Option(min=1, help="Frames of a video per table of --parts, about.", metavar="N", show_default="15000"),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            help="With --parts: share the files among the machines of a Ray cluster: auto, HOST:PORT, or Ray started "
            "on this machine.",
            metavar="[ADDRESS]",
        ),
    ] = None,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="With --parts: read files again that could not be read.")
    ] = False,
    models_dir: ModelsDir = None,
) -> None:
    """Recognise the expressions of faces in pictures, videos and folders.

    Examples: `mien predict party.jpg holiday/ clip.mp4 --out annotated --csv faces.csv`, `mien predict holiday/ --glob
    '*.jpg'`, `mien predict film.mp4 --fps 2 --start 60 --stop 90`, `mien predict photo.jpg --json`, `mien predict
    archive/ --csv faces.csv --workers auto --resume`, `mien predict clip.mp4 --voice`, `mien predict archive/ --parts
    faces --workers auto`, `mien predict archive/ --parts faces --ray auto`
    """
    from mien.collection import Failure, Summary, auto_workers, recognize_files, row_settings
    from mien.files import is_device
    from mien.fusion import shared_labels
    from mien.sinks.journal import Journal
    from mien.sinks.records import record
    from mien.sinks.sink import many
    from mien.sources.media import FrameSelection
    from mien.targets import check_targets

    check_outputs(csv, jsonl, as_json=as_json, excel=excel)
    n_workers, selection = _number(workers or "1"), FrameSelection(fps=fps, start=start, stop=stop)
    if parts == Path("-"):
        raise ConfigError("--parts writes many files, so not to standard output; expected a folder")
    if parts is not None:
        check_parts({
            "out": to, "csv": csv, "jsonl": jsonl, "excel": excel, "json": as_json, "top": top > 1, "summary": summary,
            "resume": resume, "voice": voice,
        })  # fmt: skip
        engine = None if ray is None else ray_engine(ray, None if workers is None else n_workers, device)
        check_targets([model_file(model)], folders=[parts])
        recognizer = open_recognizer(model, detector, min_score, labels, min_confidence, models_dir, device)
        predict_parts(
            paths, parts, recognizer, format=format or "csv", shard_size=shard, shard_frames=shard_frames, glob=glob,
            selection=selection, workers=n_workers or None, engine=engine, retry_errors=retry_errors,
        )  # fmt: skip
        return
    only_parts = {
        "format": format, "shard": shard, "shard-frames": shard_frames, "ray": ray, "retry-errors": retry_errors,
    }  # fmt: skip
    for name, value in only_parts.items():
        if value:
            raise ConfigError(f"--{name} needs --parts; add --parts DIR or omit --{name}")
    tables = [path for path in (csv, jsonl) if path is not None]
    devices = [path for path in tables if path == Path("-") or is_device(path)]
    if resume and (devices or not tables):
        raise ConfigError("--resume needs a table in a regular file: --csv FILE or --jsonl FILE")
    check_targets([*paths, model_file(model), model_file(voice or "")], texts=[csv, jsonl], glob=glob)
    recognizer = open_recognizer(model, detector, min_score, labels, min_confidence, models_dir, device)
    listener = None if voice is None else open_listener(voice, min_confidence, models_dir)
    speech = None if listener is None else listener.provenance
    if speech is not None:
        shared_labels(recognizer.head.labels, speech.labels)
    table, counts, records, n_failed = _Table(top), Summary(), [], 0
    sinks = _sinks(csv, jsonl, recognizer.provenance, speech, excel=excel, resume=resume)
    noted = resume or (tables and _is_long(paths) and not devices)
    with ExitStack() as stack:
        sink = stack.enter_context(many(sinks))
        journal = None
        if noted:
            settings = {
                **row_settings(recognizer, selection, listener), "excel": excel, "out": None if to is None else str(to),
                "top": top, "summary": summary,
            }  # fmt: skip
            journal = stack.enter_context(Journal(sinks, settings, resume=resume))
        progress = stack.enter_context(
            bar("recognising", shown=_is_long(paths), counts=lambda: found(counts.labels.total(), n_failed))
        )
        if journal is not None:
            stack.enter_context(_how_to_resume(journal))
        for result in recognize_files(
            paths, recognizer, glob=glob, selection=selection, sinks=[sink], out=to, top=top, summary=summary,
            listener=listener, workers=n_workers or auto_workers(paths, glob=glob), journal=journal,
            progress=progress,
        ):  # fmt: skip
            if isinstance(result, Failure):
                n_failed += 1
                fail(result.error)
                continue
            table.add(result)
            counts.add(result)
            if as_json:
                records.append(
                    record(
                        result.frame,
                        result.expressions,
                        recognizer.provenance,
                        voice_result=result.voice_result,
                        voice=speech,
                    )
                )
    if journal is not None and journal.kept:
        say(f"resumed: {counted(len(journal.kept), 'file')} done before, not read again")
    if as_json:
        print_json(records)
    elif Path("-") not in (csv, jsonl):
        _print(table, counts, to)
    if hint := table.hint(recognizer.provenance.detector):
        notice("note:", hint)
    if n_failed:
        raise typer.Exit(2)


@dataclass(slots=True)
class _Counts:
    """Counts of a file: its frames, those without a face by their note, the faces, utterances and fused answers."""

    frames: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    voices: dict[float, str] = field(default_factory=dict)  # by the utterance's start
    fused: Counter[str] = field(default_factory=Counter)  # of frames with a face and a voice

    def add(self, seen: FileResult) -> None:
        from mien.sinks.records import note

        self.frames += 1
        self.labels.update(expression.label for expression in seen.expressions)
        if not seen.expressions:
            self.notes[note(seen.frame, seen.expressions)] += 1
        if seen.voice_result is not None and seen.voice_result.utterance is not None:
            self.voices[seen.voice_result.utterance.start] = seen.voice_result.utterance.label
            if seen.voice_result.fused is not None and seen.voice_result.fused.agree is not None:
                self.fused[seen.voice_result.fused.label] += 1

    @property
    def note(self) -> str:
        """The most common note."""
        return max(self.notes, key=self.notes.__getitem__, default="")


class _Table:
    """Collects one row per face of a picture, and one per video.

    Args:
        top: Number of labels per face.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self._pictures: dict[Path, list[tuple[str | Text, ...]]] = {}  # rows
        self._counts: dict[Path, _Counts] = {}

    @property
    def paths(self) -> list[Path]:
        return list(self._counts)

    def add(self, seen: FileResult) -> None:
        counts = self._counts.setdefault(seen.path, _Counts())
        counts.add(seen)
        if seen.media.kind == "picture":
            scale = seen.frame.scale
            self._pictures[seen.path] = [
                (str(n), *_columns(e, self._top, scale)) for n, e in enumerate(seen.expressions, start=1)
            ] or [("–", counts.note, "", "")]

    def drawn(self) -> Table:
        table = new_table("picture", "face", "expression", "probability", "box")
        for path in self.paths[:MAX_FILES]:
            for row in self._pictures.get(path) or self._video_rows(path):
                table.add_row(printable(path), *row)
        if len(self.paths) > MAX_FILES:
            table.add_row(f"… {len(self.paths) - MAX_FILES:,} more", "", "", "", "")
        return table

    def hint(self, detector: str) -> str:
        """Return a hint to the other detector where Haar found hardly a face, else an empty text."""
        without = [path for path, counts in self._counts.items() if counts.notes.total() >= FEW_FACES * counts.frames]
        if not without or not detector.startswith("haar"):
            return ""
        n_pictures = sum(path in self._pictures for path in without)
        n_videos = len(without) - n_pictures
        parts = [
            f"no face in {counted(n_pictures, 'picture')}" if n_pictures else "",
            f"hardly a face in {counted(n_videos, 'video')}" if n_videos else "",
        ]
        found = " and ".join(filter(None, parts))
        return f"Haar found {found}; --detector yunet also finds small, turned and partly covered faces"

    def _video_rows(self, path: Path) -> list[tuple[str | Text, ...]]:
        """Return the row of a video's faces, and where a voice was heard one of its utterances and one of both."""
        counts = self._counts[path]
        faces = f"{counts.labels.total()} in {counts.frames} frames"
        rows: list[tuple[str | Text, ...]] = [(faces, _shares(counts.labels) or counts.note, "", "")]
        if counts.voices:
            voices = Counter(counts.voices.values())
            rows.append((f"voice: {counted(len(counts.voices), 'utterance')}", _shares(voices), "", ""))
        if counts.fused:
            rows.append((f"both: {counted(counts.fused.total(), 'frame')}", _shares(counts.fused), "", ""))
        return rows


def _shares(labels: Counter[str]) -> str:
    total = labels.total()
    return ", ".join(f"{label} {percent(n / total)}" for label, n in labels.most_common(3))


def _columns(expression: Expression, top: int, scale: float) -> tuple[Text, Text, str]:
    """Return labels, probabilities and box, in pixels of the file, as text."""
    best = expression.prediction.top(top)
    names = [label for label, _ in best]
    if not expression.certain:
        names[0] = f"{expression.label} ({names[0]})"
    box = expression.face.box
    x1, y1, x2, y2 = (f"{scale * side:.0f}" for side in (box.x1, box.y1, box.x2, box.y2))
    place = f"{x1},{y1} – {x2},{y2}"
    return cell(names), cell(percent(p) for _, p in best), place


def _print(table: _Table, summary: object, to: Path | None) -> None:
    if not table.paths:
        return
    print_table(table.drawn())
    if len(table.paths) > 1:
        say(str(summary))
    if to is not None:
        say(f"annotated: {to}")


def _sinks(
    csv: Path | None, jsonl: Path | None, provenance: Provenance, voice: Provenance | None, *, excel: bool, resume: bool
) -> list[CsvSink | JsonlSink]:
    from mien.sinks.tables import CsvSink, JsonlSink

    sinks: list[CsvSink | JsonlSink] = []
    if csv is not None:
        sinks.append(CsvSink(csv, provenance, excel=excel, voice=voice, resume=resume))
    if jsonl is not None:
        sinks.append(JsonlSink(jsonl, provenance, voice=voice, resume=resume))
    return sinks


@contextmanager
def _how_to_resume(journal: Journal) -> Iterator[None]:
    """Say on Ctrl-C how many files are in the tables, and how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        done = counted(journal.n_files, "file")
        raise KeyboardInterrupt(f"{done} done; the same command with --resume continues") from None


def _number(workers: str) -> int:
    """Return the number of processes of --workers; 0 for auto."""
    if workers == "auto":
        return 0
    if not (workers.isascii() and workers.isdecimal()) or not 1 <= int(workers) <= MAX_WORKERS:
        raise ConfigError(f"--workers is '{workers}'; expected 1 to {MAX_WORKERS}, or auto")
    return int(workers)


def _is_long(paths: list[Path]) -> bool:
    """Return whether recognition takes long enough for a progress bar: not for one picture."""
    from mien.sources.paths import PICTURE_SUFFIXES

    return len(paths) > 1 or paths[0].suffix.lower() not in PICTURE_SUFFIXES
