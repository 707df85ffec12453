"""Commands that see faces: in pictures and videos, live, and in the window."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from mien.cli.arguments import Detector, Json, Labels, MinConfidence, MinScore, Model, ModelsDir, Top
from mien.cli.console import bar, escaped, extra, fail, new_table, out, say, tracked
from mien.errors import ConfigError, InputError, OutputError, UnknownModel

if TYPE_CHECKING:
    from mien.live import Live
    from mien.recognizer import Recognizer
    from mien.sinks.recorder import Recorder
    from mien.structures import Expression, Frame
    from mien.vision.smooth import Smoother


def predict(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, animated GIFs, videos, or folders of them.")],
    to: Annotated[
        Path | None, typer.Option("--out", help="Write annotated pictures and videos here.", metavar="DIR")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one row a face.", metavar="FILE")] = None,
    jsonl: Annotated[Path | None, typer.Option(help="Write one line a picture or frame.", metavar="FILE")] = None,
    as_json: Json = False,
    model: Model = "base",
    labels: Labels = None,
    detector: Detector = "haar",
    min_score: MinScore = None,
    min_confidence: MinConfidence = 0.0,
    top: Top = 1,
    glob: Annotated[str | None, typer.Option(help="Which files of a folder, e.g. '*.jpg'.")] = None,
    models_dir: ModelsDir = None,
) -> None:
    """Name the expressions of faces in pictures, folders and videos.

    Example: `mien predict party.jpg holiday/ clip.mp4 --out seen --csv faces.csv`
    """
    from mien.recognizer import Recognizer
    from mien.sinks.records import record
    from mien.sinks.tables import CsvSink, JsonlSink
    from mien.vision.detect import load_detector

    recognizer = Recognizer(
        load_detector(detector, min_score=min_score), model,
        labels=labels, min_confidence=min_confidence, models_dir=models_dir,
    )  # fmt: skip
    places, failures = _expand(paths, glob)
    records: list[dict[str, object]] = []
    table = new_table("picture", "face", "expression", "probability", "box")
    with ExitStack() as stack:
        sinks: list[CsvSink | JsonlSink] = []
        if csv is not None:
            sinks.append(stack.enter_context(CsvSink(csv, recognizer.head.labels)))
        if jsonl is not None:
            sinks.append(stack.enter_context(JsonlSink(jsonl, recognizer.head.labels)))
        for file, place in tracked(places.items(), "files", total=len(places)):
            try:
                seen: list[list[Expression]] = []
                drawn = None if to is None else (to / place).parent
                for frame, expressions in _annotated(recognizer, file, drawn, top=top):
                    for sink in sinks:
                        sink.write(frame, expressions)
                    if as_json:
                        records.append(record(frame, expressions))
                    seen.append(expressions)
                _add_rows(table, file, seen, top=top)
            except InputError as error:
                failures += 1
                fail(error)
    if as_json:
        print(json.dumps(records, indent=2))
    elif table.row_count:
        out.print(table)
        if to is not None:
            say(f"annotated: {to}")
    if failures:
        raise typer.Exit(2)


def explain(
    photo: Annotated[Path, typer.Argument(help="A picture with faces.")],
    to: Annotated[Path, typer.Option("--out", help="Folder of PHOTO-explained.png.", metavar="DIR")] = Path(),
    label: Annotated[str | None, typer.Option(help="What to explain; each face's own label if not given.")] = None,
    model: Model = "base",
    labels: Labels = None,
    detector: Detector = "haar",
    models_dir: ModelsDir = None,
) -> None:
    """Draw which parts of each face its expression rests on.

    Example: `mien explain photo.jpg --out explained`
    """
    from mien.drawing.explanations import draw_explanations
    from mien.files import make_folder
    from mien.pixels import write_picture
    from mien.recognizer import Recognizer
    from mien.sources.pictures import read_picture
    from mien.vision.crop import crop_faces
    from mien.vision.rise import explain_faces

    recognizer = Recognizer(detector, model, labels=labels, models_dir=models_dir)
    image = read_picture(photo)
    crops = crop_faces(image, recognizer.detector.detect(image), geometry=recognizer.classifier.spec.crop)
    with bar("explaining") as progress:
        explanations = explain_faces(
            recognizer.classifier, crops, label=label, head=recognizer.head.labels.name, progress=progress
        )
    if not explanations:
        say(f"{photo}: no face found")
        return
    path = to / f"{photo.stem}-explained.png"
    make_folder(to)
    write_picture(path, draw_explanations(explanations))
    for number, explanation in enumerate(explanations, start=1):
        say(f"face {number}: {explanation.label} {explanation.probability:.0%}")
    say(f"explained: {path}")


def live(
    source: Annotated[
        str, typer.Argument(help="A camera's number or device, a stream's address, or a video, picture or folder.")
    ] = "0",
    window: Annotated[bool, typer.Option("--window/--no-window", help="Show it, or only record.")] = True,
    as_camera: Annotated[
        bool, typer.Option("--as-camera", help="Without a window, too, play a file at its own speed; else all is seen.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder of frames, faces and statistics that are saved.", metavar="DIR")
    ] = None,
    video: Annotated[Path | None, typer.Option(help="Write an annotated video while it runs.", metavar="FILE")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write a row a face while it runs.", metavar="FILE")] = None,
    jsonl: Annotated[Path | None, typer.Option(help="Write a line a frame while it runs.", metavar="FILE")] = None,
    model: Model = "base",
    labels: Labels = None,
    detector: Detector = "haar",
    min_score: MinScore = None,
    min_confidence: MinConfidence = 0.0,
    half_life: Annotated[
        float, typer.Option(min=0, help="Seconds after which what a face showed counts half; 0 doesn't smooth.")
    ] = 0.3,
    temporal: Annotated[
        bool, typer.Option("--temporal", help="Follow faces by the temporal model of the classifier, not by smoothing.")
    ] = False,
    top: Top = 1,
    models_dir: ModelsDir = None,
) -> None:
    """See a camera's faces and their expressions live, and record them.

    Keys: q quit, c save frame, f save faces, s statistics, m next model, space pause.

    Example: `mien live 0 --csv faces.csv`, `mien live clip.mp4`, `mien live 0 --no-window --out seen`
    """
    from functools import partial

    from mien.files import make_folder
    from mien.live import Live
    from mien.models.store import list_models
    from mien.models.temporal import find_temporal
    from mien.recognizer import Recognizer
    from mien.sinks.recorder import Recorder
    from mien.sources.address import parse_source
    from mien.sources.camera import Camera
    from mien.sources.frames import frames
    from mien.vision.detect import load_detector
    from mien.vision.smooth import HalfLifeSmoother, TemporalSmoother

    def make(name: str) -> Recognizer:
        return Recognizer(
            load_detector(detector, min_score=min_score), name,
            labels=labels, min_confidence=min_confidence, models_dir=models_dir,
        )  # fmt: skip

    smoothers: list[Smoother] = []

    def smoother_for(recognizer: Recognizer) -> Smoother:
        smoother: Smoother = HalfLifeSmoother(half_life)
        if temporal:
            try:
                found = find_temporal(recognizer.classifier, recognizer.head.labels, models_dir=models_dir)
                smoother = TemporalSmoother(found)
            except UnknownModel as error:
                if not smoothers:  # the model asked for must have one; for the window's next ones it's optional
                    raise
                warnings.warn(f"{error}; until then it is smoothed by its half-life", stacklevel=2)
        smoothers.append(smoother)
        return smoother

    parsed = parse_source(source)
    open_recorder = partial(Recorder, video=video, csv=csv, jsonl=jsonl, top=top)
    if window:
        with extra("the window", "app"):
            from mien.app.viewer import watch
        others = [m.name for m in list_models(models_dir) if m.spec is not None and m.name != model]
        watch(
            partial(Camera, parsed, as_camera=True), [model, *others], make, open_recorder,
            saves=to or Path("mien-live"), smoother_for=smoother_for, top=top,
        )  # fmt: skip
        return
    if not (to or video or csv or jsonl):
        raise ConfigError("without a window there is nothing to do; add --video, --csv, --jsonl or --out")
    if to is not None:
        make_folder(to)  # now, not when all is seen
    if isinstance(parsed, Path):
        _check_targets(parsed, [path for path in (video, csv, jsonl) if path is not None])
    with ExitStack() as stack:
        playing = as_camera or not isinstance(parsed, Path)
        stream = stack.enter_context(Camera(parsed, as_camera=True)) if playing else frames(parsed)
        recognizer = make(model)
        recorder = stack.enter_context(open_recorder(recognizer.head.labels))
        _record(stream, Live(recognizer, smoother=smoother_for(recognizer)), recorder, to=to)


def app_command(
    source: Annotated[Path | None, typer.Argument(help="A picture, or a folder of them, to open.")] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder of what is saved; mien among your pictures if not given.")
    ] = None,
    models_dir: ModelsDir = None,
) -> None:
    """Open the desktop window, for pictures and cameras.

    Example: `mien app holiday/`
    """
    with extra("the window", "app"):
        from mien.app.window import run

    run(source, saves=to, models_dir=models_dir)


def _expand(paths: Sequence[Path], glob: str | None) -> tuple[dict[Path, Path], int]:
    """Return the files that paths mean, each with the place of its result below --out, and the number of failures.

    A folder's files keep their places in it. No two results share a place: the later one goes a folder deeper.
    """
    from mien.sources.paths import list_files

    places: dict[Path, Path] = {}
    failures = 0
    for path in paths:
        try:
            for file in list_files(path, glob=glob):
                place = file.relative_to(path) if file != path else Path(file.name)
                while place in places.values() and file not in places:
                    place = (file.parent.name or "more") / place
                places.setdefault(file, place)
        except InputError as error:
            failures += 1
            fail(error)
    return places, failures


def _annotated(
    recognizer: Recognizer, file: Path, folder: Path | None, *, top: int
) -> Iterator[tuple[Frame, list[Expression]]]:
    """Yield the frames of a file with their expressions, and write them, drawn, into the folder."""
    from mien.sinks.annotated import AnnotatedSink
    from mien.sources.frames import open_media

    with ExitStack() as stack:
        media, frames = stack.enter_context(open_media(file))
        sink = None if folder is None else stack.enter_context(AnnotatedSink(file, folder, media=media, top=top))
        for frame, expressions in recognizer.stream(tracked(frames, file.name, total=media.frames)):
            if sink is not None:
                sink.write(frame, expressions)
            yield frame, expressions


def _add_rows(table: Table, file: Path, seen: Sequence[Sequence[Expression]], *, top: int) -> None:
    """Add a row a face for a picture; for a video one row that sums it up."""
    name = escaped(file.name)
    if len(seen) > 1:
        counts = Counter(e.label for expressions in seen for e in expressions)
        total = sum(counts.values())
        shares = ", ".join(f"{escaped(label)} {n / total:.0%}" for label, n in counts.most_common(3)) or "no face found"
        table.add_row(name, f"{total} in {len(seen)} frames", shares, "", "")
        return
    for expressions in seen:
        if not expressions:
            table.add_row(name, "–", "no face found", "", "")
        for number, expression in enumerate(expressions, start=1):
            best = expression.prediction.top(top)
            names = [escaped(label) for label, _ in best]
            if not expression.certain:
                names[0] = f"{escaped(expression.label)} ({names[0]})"
            box = expression.face.box
            table.add_row(
                name, str(number), "\n".join(names), "\n".join(f"{p:.0%}" for _, p in best),
                f"{box.x1:.0f},{box.y1:.0f} – {box.x2:.0f},{box.y2:.0f}",
            )  # fmt: skip


def _check_targets(source: Path, targets: Sequence[Path]) -> None:
    """Make sure that nothing that is to be seen would be overwritten."""
    from mien.sources.paths import list_files

    taken = {file.resolve() for file in list_files(source)}
    for target in targets:
        if target.resolve() in taken:
            raise OutputError(f"'{target}' is one of the files that are to be seen; choose another name")


def _record(stream: Iterable[Frame], live: Live, recorder: Recorder, *, to: Path | None) -> None:
    """Record a stream to its end, or until Ctrl+C."""
    with suppress(KeyboardInterrupt):
        for result in live.stream(stream):
            recorder.write(result)
    if to is not None:
        recorder.statistics.save(to)
        say(f"statistics: {to}")
