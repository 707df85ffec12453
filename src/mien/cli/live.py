"""`mien live` and `mien app`: streams, in a window or without."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.arguments import (
    ALONE,
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
    check_outputs,
    model_file,
    open_listener,
    open_recognizer,
)  # fmt: skip
from mien.cli.console import err, extra, out, say
from mien.errors import ConfigError, MicrophoneError, UnknownModel
from mien.models.spec import DEFAULT_MODEL

if TYPE_CHECKING:
    from mien.hearing import Hearing
    from mien.recognizer import Recognizer
    from mien.sinks.recorder import Recorder
    from mien.structures import Provenance
    from mien.vision.smooth import Smoother
    from mien.voice.listener import Listener


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
    voice: Annotated[
        str | None,
        typer.Option(
            help="Also classify how the voice sounds, from the default microphone, this one, or a file's sound track.",
            metavar="[MICROPHONE]",
        ),
    ] = None,
    voice_model: Annotated[
        str, typer.Option(help="Voice model: a name from `mien models`, or an .onnx file.", metavar="MODEL")
    ] = ALONE,
    models_dir: ModelsDir = None,
) -> None:
    """Recognise the expressions of a camera, stream or file live, and record them.

    Keys: q quit, c save frame, f save faces, s save statistics, m next model, d download YuNet, v voice, space pause.

    Examples: `mien live 0 --csv faces.csv`, `mien live clip.mp4`, `mien live 0 --no-window --out recorded`, `mien live
    --voice`
    """
    from mien.sinks.recorder import Recorder
    from mien.sinks.statistics import FILES
    from mien.sources.address import parse_source
    from mien.sources.camera import Camera
    from mien.targets import check_targets

    def make(name: str) -> Recognizer:
        return open_recognizer(name, detector, min_score, labels, min_confidence, models_dir, device)

    check_outputs(csv, jsonl, as_json=False, excel=excel)
    parsed = parse_source(source)
    read = [parsed if isinstance(parsed, Path) else None, model_file(model), model_file(voice_model)]
    charts = [] if to is None else [to / name for name in FILES]
    check_targets(read, texts=[csv, jsonl], files=[video, *charts], folders=[to])
    smoother_for = _Smoothers(half_life, temporal=temporal, models_dir=models_dir)
    voices = _Voices(_sound(parsed, voice), voice_model, min_confidence, models_dir)
    speech = None if voice is None else voices.provenance
    open_recorder = partial(Recorder, video=video, csv=csv, jsonl=jsonl, top=top, excel=excel, voice=speech)
    if window:
        with extra("the window", "app"):
            from mien.app.viewer import Viewer

        viewer = Viewer(
            partial(Camera, parsed, as_camera=True), [model, *_other_models(model, models_dir)], make, open_recorder,
            saves=to or Path("mien-live"), smoother_for=smoother_for, top=top, detector=detector,
            open_voice=voices.open, voice=voice is not None,
        )  # fmt: skip
        viewer.run()
        return
    if not (to or video or csv or jsonl):
        raise ConfigError("without a window there is nothing to do; add --video, --csv, --jsonl or --out")
    open_voice = None if voice is None else voices.open
    _record(parsed, partial(make, model), open_recorder, smoother_for, open_voice, as_camera=as_camera, to=to)


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


class _Voices:
    """Opens what is heard beside a stream, again and again, with a model that is loaded once.

    Args:
        sound: Path of a file; index or name of a microphone; the default one when None.
        model: Name or file of the voice model.
        min_confidence: As for the faces.
        models_dir: Directory of the user's models.
    """

    def __init__(
        self, sound: Path | int | str | None, model: str, min_confidence: float, models_dir: Path | None
    ) -> None:
        self._sound, self._model = sound, model
        self._min_confidence, self._models_dir = min_confidence, models_dir

    @cached_property
    def _listener(self) -> Listener:
        return open_listener(self._model, self._min_confidence, self._models_dir)

    @property
    def provenance(self) -> Provenance:
        """Origin of the voice's predictions."""
        return self._listener.provenance

    def open(self) -> Hearing:
        """Open the microphone or the file's sound."""
        from mien.hearing import open_hearing
        from mien.voice.listener import Listener

        return open_hearing(self._sound, Listener(self._listener.classifier, min_confidence=self._min_confidence))


def _record(
    source: int | str | Path,
    make: Callable[[], Recognizer],
    open_recorder: Callable[[Provenance], Recorder],
    smoother_for: Callable[[Recognizer], Smoother],
    open_voice: Callable[[], Hearing] | None,
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
        hearing = None if open_voice is None else _opened(open_voice, recognizer)
        if hearing is not None:
            stack.enter_context(hearing)
        recorder = stack.enter_context(open_recorder(recognizer.provenance))
        live = Live(recognizer, smoother=smoother_for(recognizer), voice=hearing)
        with suppress(KeyboardInterrupt):
            for result in live.stream(stream):
                recorder.write(result.frame, result.expressions, voice_result=result.voice_result)
        if hearing is not None and hearing.meter.failed:
            warnings.warn(f"no voice was recorded: {hearing.meter.text}", stacklevel=2)
        console = err if recorder.uses_stdout else out
        if to is not None:
            recorder.statistics.save(to)
            say(f"statistics: {to}", console=console)
        say(f"recorded: {recorder.statistics}", console=console)


def _opened(open_voice: Callable[[], Hearing], recognizer: Recognizer) -> Hearing | None:
    """Open what is heard; a microphone that fails is a warning, since it must not stop the camera.

    Raises:
        ConfigError: Its voice has too few labels in common with the faces.
        MissingExtra: An extra is not installed.
    """
    from mien.fusion import shared_labels

    try:
        hearing = open_voice()
    except MicrophoneError as error:
        warnings.warn(f"no voice: {error}", stacklevel=2)
        return None
    shared_labels(recognizer.head.labels, hearing.provenance.labels)
    return hearing


def _sound(source: int | str | Path, voice: str | None) -> Path | int | str | None:
    """Return what is heard: the microphone that --voice names, a file's own sound, or the default microphone (None)."""
    from mien.sources.microphone import parse_microphone

    if voice not in (None, ALONE):
        return parse_microphone(voice)
    return source if isinstance(source, Path) else None


def _other_models(model: str, models_dir: Path | None) -> list[str]:
    from mien.models.store import list_models

    return [found.name for found in list_models(models_dir) if found.spec is not None and found.name != model]
