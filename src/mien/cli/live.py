"""`mien live` and `mien app`: streams, in a window or without."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.arguments import (
    Csv,
    Detector,
    Device,
    Excel,
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
from mien.cli.console import err, extra, out, say
from mien.errors import ConfigError, UnknownModel
from mien.models.spec import DEFAULT_MODEL

if TYPE_CHECKING:
    from mien.recognizer import Recognizer
    from mien.sinks.recorder import Recorder
    from mien.structures import Provenance
    from mien.vision.smooth import Smoother


def live(
    source: Annotated[
        str, typer.Argument(help="Camera number or device, address of a stream, video, picture or folder.")
    ] = "0",
    window: Annotated[bool, typer.Option("--window/--no-window", help="Show a window, or only record.")] = True,
    as_camera: Annotated[
        bool, typer.Option("--as-camera", help="Without a window: play a file in real time, dropping frames.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder for saved frames, faces and statistics.", metavar="DIR")
    ] = None,
    video: Annotated[Path | None, typer.Option(help="Write an annotated video.", metavar="FILE")] = None,
    csv: Csv = None,
    jsonl: Jsonl = None,
    excel: Excel = False,
    model: Model = DEFAULT_MODEL,
    labels: Labels = None,
    detector: Detector = "auto",
    min_score: MinScore = None,
    min_confidence: MinConfidence = 0.0,
    half_life: Annotated[
        float, typer.Option(min=0, help="Half-life of the smoothing in seconds; 0 for no smoothing.")
    ] = 0.3,
    temporal: Annotated[
        bool, typer.Option("--temporal", help="Smooth by the classifier's temporal model instead of a half-life.")
    ] = False,
    top: Top = 1,
    device: Device = "cpu",
    models_dir: ModelsDir = None,
) -> None:
    """Recognise the expressions of a camera, stream or file live, and record them.

    Keys: q quit, c save frame, f save faces, s save statistics, m next model, d download YuNet, space pause.

    Examples: `mien live 0 --csv faces.csv`, `mien live clip.mp4`, `mien live 0 --no-window --out recorded`
    """
    from mien.sinks.recorder import Recorder
    from mien.sinks.statistics import FILES
    from mien.sources.address import parse_source
    from mien.targets import check_targets

    def make(name: str) -> Recognizer:
        return open_recognizer(name, detector, min_score, labels, min_confidence, models_dir, device)

    if excel and csv is None:
        raise ConfigError("--excel is about the table of --csv; add that, or leave it out")
    parsed = parse_source(source)
    read = [parsed if isinstance(parsed, Path) else None, model_file(model)]
    charts = [] if to is None else [to / name for name in FILES]
    check_targets(read, texts=[csv, jsonl], files=[video, *charts], folders=[to])
    smoother_for = _Smoothers(half_life, temporal=temporal, models_dir=models_dir)
    open_recorder = partial(Recorder, video=video, csv=csv, jsonl=jsonl, top=top, excel=excel)
    if window:
        models = [model, *_other_models(model, models_dir)]
        saves = to or Path("mien-live")
        _watch(parsed, models, make, open_recorder, smoother_for, saves=saves, top=top, detector=detector)
        return
    if not (to or video or csv or jsonl):
        raise ConfigError("without a window there is nothing to do; add --video, --csv, --jsonl or --out")
    _record(parsed, partial(make, model), open_recorder, smoother_for, as_camera=as_camera, to=to)


def app_command(
    source: Annotated[Path | None, typer.Argument(help="A picture, a folder of pictures, or a video, to open.")] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder for saved files; mien in your pictures folder if not given.")
    ] = None,
    models_dir: ModelsDir = None,
) -> None:
    """Open the desktop window, for pictures and cameras.

    Example: `mien app holiday/`
    """
    with extra("the window", "app"):
        from mien.app.window import run

    run(source, saves=to, models_dir=models_dir)


class _Smoothers:
    """Returns the smoother for each recogniser of a stream.

    Without a temporal model, the first recogniser is an error, as the user asked for one; later ones, chosen in the
    window, fall back to the half-life with a warning.
    """

    def __init__(self, half_life: float, *, temporal: bool, models_dir: Path | None) -> None:
        self._half_life, self._temporal, self._models_dir = half_life, temporal, models_dir
        self._first = True

    def __call__(self, recognizer: Recognizer) -> Smoother:
        from mien.models.temporal import find_temporal
        from mien.vision.smooth import HalfLifeSmoother, TemporalSmoother

        if not self._temporal:
            return HalfLifeSmoother(self._half_life)
        try:
            model = find_temporal(recognizer.classifier, recognizer.head.labels, models_dir=self._models_dir)
        except UnknownModel as error:
            if self._first:
                raise
            warnings.warn(f"{error}; smoothed by the half-life until then", stacklevel=2)
            return HalfLifeSmoother(self._half_life)
        self._first = False
        return TemporalSmoother(model)


def _watch(
    source: int | str | Path,
    models: list[str],
    make: Callable[[str], Recognizer],
    open_recorder: Callable[[Provenance], Recorder],
    smoother_for: Callable[[Recognizer], Smoother],
    *,
    saves: Path,
    top: int,
    detector: str,
) -> None:
    """Show a stream in a window until it is closed."""
    from mien.sources.camera import Camera

    with extra("the window", "app"):
        from mien.app.viewer import watch
    camera = partial(Camera, source, as_camera=True)
    watch(camera, models, make, open_recorder, saves=saves, smoother_for=smoother_for, top=top, detector=detector)


def _record(
    source: int | str | Path,
    make: Callable[[], Recognizer],
    open_recorder: Callable[[Provenance], Recorder],
    smoother_for: Callable[[Recognizer], Smoother],
    *,
    as_camera: bool,
    to: Path | None,
) -> None:
    """Record a stream to its end, or until Ctrl+C."""
    from mien.files import make_folder
    from mien.live import Live
    from mien.sources.camera import Camera
    from mien.sources.frames import frames

    if to is not None:
        make_folder(to)  # fails before the recording rather than after it
    with ExitStack() as stack:
        playing = as_camera or not isinstance(source, Path)
        stream = stack.enter_context(Camera(source, as_camera=True)) if playing else frames(source)
        recognizer = make()
        recorder = stack.enter_context(open_recorder(recognizer.provenance))
        with suppress(KeyboardInterrupt):
            for result in Live(recognizer, smoother=smoother_for(recognizer)).stream(stream):
                recorder.write(result.frame, result.expressions)
        console = err if recorder.uses_stdout else out
        if to is not None:
            recorder.statistics.save(to)
            say(f"statistics: {to}", console=console)
        say(f"recorded: {recorder.statistics}", console=console)


def _other_models(model: str, models_dir: Path | None) -> list[str]:
    from mien.models.store import list_models

    return [found.name for found in list_models(models_dir) if found.spec is not None and found.name != model]
