"""The command line: each command parses, calls the library, prints."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from mien.errors import InputError, MienError, MissingExtra

if TYPE_CHECKING:
    from mien.config import TrainConfig
    from mien.data.dataset import Dataset, Split
    from mien.models.spec import ModelSpec
    from mien.recognizer import Recognizer
    from mien.recording import Recorder
    from mien.structures import Expression, Frame, ImageArray
    from mien.vision.classify import OnnxClassifier

app = typer.Typer(
    help="Facial expression recognition: see, train, evaluate and compare.\n\n"
    "mien names what a face shows; it does not read what a person feels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
data_app = typer.Typer(help="Look at datasets and prepare them.", no_args_is_help=True)
models_app = typer.Typer(help="List models and add your own.", invoke_without_command=True)
app.add_typer(data_app, name="data")
app.add_typer(models_app, name="models")

T = TypeVar("T")

out = Console()
err = Console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
ModelsDir = Annotated[Path | None, typer.Option("--models", help="Directory of your models.", metavar="DIR")]
Data = Annotated[
    str | None, typer.Option("--data", help="Dataset: file, folder or zip; $MIEN_DATA if not given.", metavar="PATH")
]
Votes = Annotated[Path | None, typer.Option(help="FER+ votes (fer2013new.csv); found by itself beside the data.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; what the user can mend is one line on stderr and exit code 2."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: _notice("[yellow]warning:[/]", message)
        try:
            app(args=list(arguments) if arguments is not None else None, prog_name="mien")
        except MienError as error:
            fail(error)
            sys.exit(2)


def fail(error: object) -> None:
    """Print one line about an error."""
    _notice("[bold red]error:[/]", error)


def _notice(kind: str, text: object) -> None:
    err.print(f"{kind} {_escaped(str(text))}", soft_wrap=True, highlight=False)


def _say(text: str) -> None:
    """Print a line as it is: not wrapped, not coloured, whatever bytes it holds."""
    out.print(_escaped(text), soft_wrap=True, highlight=False)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from mien import __version__

        _say(f"mien {__version__}")
        raise typer.Exit


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, animated GIFs, videos, or folders of them.")],
    to: Annotated[
        Path | None, typer.Option("--out", help="Write annotated pictures and videos here.", metavar="DIR")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one row a face.", metavar="FILE")] = None,
    jsonl: Annotated[Path | None, typer.Option(help="Write one line a picture or frame.", metavar="FILE")] = None,
    as_json: Json = False,
    model: Annotated[str, typer.Option(help="Name from `mien models`, or an .onnx file.")] = "base",
    labels: Annotated[str | None, typer.Option(help="Label set, for models that have two.")] = None,
    detector: Annotated[str, typer.Option(help="haar, yunet, whole, …; an unknown name lists them all.")] = "haar",
    min_score: Annotated[float | None, typer.Option(help="Leave out faces the detector is less sure of.")] = None,
    min_confidence: Annotated[
        float, typer.Option(help="Answer 'uncertain' where no expression is as probable as this.")
    ] = 0.0,
    top: Annotated[int, typer.Option(min=1, help="How many expressions to show for each face.")] = 1,
    glob: Annotated[str | None, typer.Option(help="Which files of a folder, e.g. '*.jpg'.")] = None,
    models_dir: ModelsDir = None,
) -> None:
    """Name the expressions of faces in pictures, folders and videos.

    Example: `mien predict party.jpg holiday/ clip.mp4 --out seen --csv faces.csv`
    """
    from mien.recognizer import Recognizer
    from mien.sinks import CsvSink, JsonlSink, record
    from mien.vision.detect import load_detector

    recognizer = Recognizer(
        load_detector(detector, min_score=min_score), model,
        labels=labels, min_confidence=min_confidence, models_dir=models_dir,
    )  # fmt: skip
    places, failures = _expand(paths, glob)
    records: list[dict[str, object]] = []
    table = _table("picture", "face", "expression", "probability", "box")
    with ExitStack() as stack:
        sinks: list[CsvSink | JsonlSink] = []
        if csv is not None:
            sinks.append(stack.enter_context(CsvSink(csv, recognizer.head.labels)))
        if jsonl is not None:
            sinks.append(stack.enter_context(JsonlSink(jsonl, recognizer.head.labels)))
        for file, place in _tracked(places.items(), "files", total=len(places)):
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
            _say(f"annotated: {to}")
    if failures:
        raise typer.Exit(2)


@app.command()
def explain(
    photo: Annotated[Path, typer.Argument(help="A picture with faces.")],
    to: Annotated[Path, typer.Option("--out", help="Folder of PHOTO-explained.png.", metavar="DIR")] = Path(),
    label: Annotated[str | None, typer.Option(help="What to explain; each face's own label if not given.")] = None,
    model: Annotated[str, typer.Option(help="Name from `mien models`, or an .onnx file.")] = "base",
    labels: Annotated[str | None, typer.Option(help="Label set, for models that have two.")] = None,
    detector: Annotated[str, typer.Option(help="haar, yunet, whole, …; an unknown name lists them all.")] = "haar",
    models_dir: ModelsDir = None,
) -> None:
    """Draw which parts of each face its expression rests on.

    Example: `mien explain photo.jpg --out explained`
    """
    from mien.recognizer import Recognizer
    from mien.sinks import make_folder, write_picture
    from mien.sources import read_picture
    from mien.vision.crop import crop_faces
    from mien.vision.explain import draw_explanations, explain_faces

    recognizer = Recognizer(detector, model, labels=labels, models_dir=models_dir)
    image = read_picture(photo)
    crops = crop_faces(image, recognizer.detector.detect(image), geometry=recognizer.classifier.spec.crop)
    with _bar("explaining") as progress:
        explanations = explain_faces(
            recognizer.classifier, crops, label=label, head=recognizer.head.labels.name, progress=progress
        )
    if not explanations:
        _say(f"{photo}: no face found")
        return
    path = to / f"{photo.stem}-explained.png"
    make_folder(to)
    write_picture(path, draw_explanations(explanations))
    for number, explanation in enumerate(explanations, start=1):
        _say(f"face {number}: {explanation.label} {explanation.probability:.0%}")
    _say(f"explained: {path}")


@app.command()
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
    model: Annotated[str, typer.Option(help="Name from `mien models`, or an .onnx file.")] = "base",
    labels: Annotated[str | None, typer.Option(help="Label set, for models that have two.")] = None,
    detector: Annotated[str, typer.Option(help="haar, yunet, whole, …; an unknown name lists them all.")] = "haar",
    min_score: Annotated[float | None, typer.Option(help="Leave out faces the detector is less sure of.")] = None,
    min_confidence: Annotated[
        float, typer.Option(help="Answer 'uncertain' where no expression is as probable as this.")
    ] = 0.0,
    half_life: Annotated[
        float, typer.Option(min=0, help="Seconds after which what a face showed counts half; 0 doesn't smooth.")
    ] = 0.3,
    temporal: Annotated[
        bool, typer.Option("--temporal", help="Follow faces by the temporal model of the classifier, not by smoothing.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="How many expressions to show for each face.")] = 1,
    models_dir: ModelsDir = None,
) -> None:
    """See a camera's faces and their expressions live, and record them.

    Keys: q quit, c save frame, f save faces, s statistics, m next model, space pause.

    Example: `mien live 0 --csv faces.csv`, `mien live clip.mp4`, `mien live 0 --no-window --out seen`
    """
    from functools import partial

    from mien.camera import Camera
    from mien.errors import ConfigError, UnknownModel
    from mien.models.zoo import list_models
    from mien.recognizer import Recognizer
    from mien.recording import Recorder
    from mien.sinks import make_folder
    from mien.sources import frames, parse_source
    from mien.vision.detect import load_detector
    from mien.vision.temporal import find_temporal

    def make(name: str) -> Recognizer:
        recognizer = Recognizer(
            load_detector(detector, min_score=min_score), name,
            labels=labels, min_confidence=min_confidence, models_dir=models_dir,
        )  # fmt: skip
        if temporal:
            try:
                recognizer.follow_by(
                    find_temporal(recognizer.classifier, recognizer.head.labels, models_dir=models_dir)
                )
            except UnknownModel as error:
                if name == model:  # what was asked for; the window's m takes what there is
                    raise
                warnings.warn(f"{error}; until then {name} is smoothed", stacklevel=2)
        return recognizer

    parsed = parse_source(source)
    open_recorder = partial(Recorder, video=video, csv=csv, jsonl=jsonl, top=top)
    if window:
        with _extra("the window", "app"):
            from mien.app.viewer import watch
        others = [m.name for m in list_models(models_dir) if m.spec is not None and m.name != model]
        watch(
            partial(Camera, parsed, as_camera=True), [model, *others], make, open_recorder,
            saves=to or Path("mien-live"), half_life=half_life, top=top,
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
        _record(stream, recognizer, recorder, half_life=half_life, to=to)


@app.command("app")
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
    with _extra("the window", "app"):
        from mien.app.window import run

    run(source, saves=to, models_dir=models_dir)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a .toml file.")] = "base",
    data: Data = None,
    votes: Votes = None,
    run: Annotated[Path | None, typer.Option(help="Folder to make for the run.", metavar="DIR")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="Lay a setting over the recipe.", metavar="KEY=VALUE")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Start from weights: a model's name or .onnx, a run, dlib's .dat, VGGFace's .h5.", metavar="WEIGHTS"
        ),
    ] = None,
    freeze: Annotated[
        list[str] | None, typer.Option(help="Keep a part of the net as it was, e.g. body.0.", metavar="PART")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed gives another model of the same recipe.")] = None,
    devices: Annotated[int, typer.Option(min=1, help="Graphics cards, or processes, that share each batch.")] = 1,
    audited: Annotated[
        Path | None, typer.Option("--audit", help="What `mien data audit` wrote about this data.", metavar="AUDIT")
    ] = None,
    drop_leaks: Annotated[
        bool, typer.Option("--drop-leaks", help="Don't fit on pictures that valid or test show too; needs --audit.")
    ] = False,
    n_folds: Annotated[
        int | None, typer.Option("--folds", help="Part the training split into N folds; needs --audit.", metavar="N")
    ] = None,
    fold: Annotated[int | None, typer.Option(help="Don't fit on this fold, counted from 0.", metavar="I")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run.", metavar="RUN")] = None,
) -> None:
    """Train a model by a recipe; stopped at any moment, it goes on with --resume.

    Example: `mien train base --data fer2013.csv`, `mien train finetune --data my-faces`
    """
    from mien.config import load_recipe, parse_override
    from mien.data.audit import read_audit, select_training
    from mien.errors import ConfigError

    with _extra("training", "train"):
        from mien.training import fit

    by_audit = drop_leaks or n_folds is not None or fold is not None
    if resume is not None and (by_audit or audited is not None):
        raise ConfigError("a resumed run is fitted on what it was started with; leave out --audit and what needs it")
    if resume is not None and (init is not None or freeze):
        raise ConfigError("a resumed run goes on from its own checkpoint; leave out --init and --freeze")
    if by_audit and audited is None:
        raise ConfigError(
            "--drop-leaks, --folds and --fold go by what mien data audit wrote about the data; name it with --audit"
        )
    if resume is not None:
        config, environment = fit.read_run(resume)
        dataset, path = _dataset(data or environment["data"]["path"] or None, votes)
        run = resume
    else:
        overrides = dict(parse_override(text) for text in setting or [])
        flags = {"init": init, "freeze": freeze or None, "seed": seed}
        config = load_recipe(recipe, overrides | {key: value for key, value in flags.items() if value is not None})
        if devices > 1 and run is None:
            raise ConfigError("several devices are several processes, which must agree on a run; name it with --run")
        dataset, path = _dataset(data, votes)
        run = run or Path("runs") / f"{config.name or config.net}-{time.strftime('%Y%m%d-%H%M%S')}"
    leads = os.environ.get("LOCAL_RANK", "0") == "0"  # of several processes, one speaks
    selection = None
    if audited is not None:
        found = read_audit(audited, dataset)
        selection = select_training(found, without_leaks=drop_leaks, n_folds=n_folds, fold=fold)
    if leads:
        _say(f"run: {run}")
    if leads and selection is not None:
        left_out = "".join(f", {key} {value}" for key, value in selection.facts.items())
        _say(f"fitted on {selection.rows.sum():,} of {dataset.counts()[0].sum():,} training pictures{left_out}")
    try:
        with _TrainingProgress(config) if leads else nullcontext() as progress:
            if resume is not None:
                fit.resume(run, dataset, report=progress)
            else:
                fit.start(
                    config, dataset, run, data_path=path.resolve(), selection=selection,
                    audit_path=audited and audited.resolve(), devices=devices, report=progress,
                )  # fmt: skip
    except KeyboardInterrupt:
        err.print(f"\nstopped; go on with: mien train --resume {_escaped(str(run))}", soft_wrap=True, highlight=False)
        raise typer.Exit(130) from None
    if leads:
        _export(run, dataset, target=None, storage="float16", install=None)


@app.command("train-temporal")
def train_temporal_command(
    model: Annotated[str, typer.Option(help="The classifier that it is for: a name, or an .onnx file.")] = "base",
    data: Annotated[
        str | None,
        typer.Option(help="Dataset whose pictures are set in motion; only drawn faces without one.", metavar="PATH"),
    ] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Folder of <class>/<clip>: videos, or folders of frames.", metavar="DIR")
    ] = None,
    detector: Annotated[str, typer.Option(help="Finds the faces in clips: haar, yunet, whole, …")] = "haar",
    labels: Annotated[str | None, typer.Option(help="Label set, for classifiers that have two.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="Another value for a setting, e.g. drawn=0.", metavar="KEY=VALUE")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed gives another model.")] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="The .onnx file to write; NAME.onnx if not given.", metavar="FILE")
    ] = None,
    install: Annotated[bool, typer.Option(help="Put the model into your models directory too.")] = False,
    models_dir: ModelsDir = None,
) -> None:
    """Train a temporal model, which follows what a classifier sees over time, for `mien live --temporal`.

    Example: `mien train-temporal --data fer2013.csv --install`, `mien train-temporal --clips my-clips`
    """
    from mien.config import from_dict, parse_override
    from mien.evaluation.temporal import following_table
    from mien.models.zoo import read_spec, user_dir, write_with_spec
    from mien.sinks import make_folder
    from mien.vision.classify import load_classifier
    from mien.vision.detect import load_detector

    with _extra("training", "train"):
        from mien.training.temporal import TemporalConfig, train_temporal

    overrides = dict(parse_override(text) for text in setting or [])
    config = from_dict(TemporalConfig, overrides | ({} if seed is None else {"seed": seed}))
    classifier = load_classifier(model, models_dir=models_dir)
    path = to or Path(f"{config.name or f'{classifier.spec.name}-temporal'}.onnx")
    folder = models_dir or user_dir()
    if install:
        make_folder(folder)
    with _bar("seeing and training") as progress:
        trained = train_temporal(
            classifier, path, config, labels=classifier.spec.head(labels).labels,
            pictures=None if data is None else _dataset(data, None)[0], clips=clips,
            detector=None if clips is None else load_detector(detector), progress=progress,
        )  # fmt: skip
    if install:
        write_with_spec(path, folder / path.name, read_spec(path))
    out.print(following_table(trained.results), soft_wrap=True, highlight=False, markup=False)
    _say(f"model: {path} (at most {trained.difference:.1g} from PyTorch); card: {trained.card}")
    where = "" if install and not models_dir else f" --models {folder if install else path.parent}"
    _say(f"use it: mien live --model {model} --temporal{where}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder that `mien train` made.")],
    to: Annotated[
        Path | None, typer.Option("--out", help="The .onnx file to write; RUN/NAME.onnx if not given.")
    ] = None,
    storage: Annotated[str, typer.Option(help="How weights are stored: float32, float16 or int8.")] = "float16",
    install: Annotated[bool, typer.Option(help="Put the model into your models directory too.")] = False,
    data: Data = None,
    votes: Votes = None,
    models_dir: ModelsDir = None,
) -> None:
    """Write a run's model as ONNX, calibrated on the validation split and checked against PyTorch.

    Example: `mien export runs/base-20260401-120000 --install`
    """
    from mien.models.zoo import user_dir

    with _extra("exporting", "train"):
        from mien.training import fit

    known = fit.read_run(run)[1]["data"]["path"] or None
    dataset, _ = _dataset(data or known, votes)
    _export(run, dataset, target=to, storage=storage, install=(models_dir or user_dir()) if install else None)


@app.command("convert")
def convert_command(
    file: Annotated[Path, typer.Argument(help="A Keras or TensorFlow model, .h5 or .keras, saved whole.")],
    labels: Annotated[
        str | None, typer.Option(help="Class names in the order of the outputs: angry,disgust,… or fer2013, ferplus.")
    ] = None,
    normalize: Annotated[
        str | None, typer.Option(help="What was done to pixels before: unit (÷ 255), signed, none, caffe, …")
    ] = None,
    equalize: Annotated[
        bool, typer.Option("--equalize", help="Pictures were histogram-equalised first, as the 2020 prototype did.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="What to call it; the file's name if not given.")] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="The .onnx file to write; NAME.onnx if neither this nor --install.")
    ] = None,
    install: Annotated[bool, typer.Option(help="Put the model into your models directory.")] = False,
    licence: Annotated[str, typer.Option(help="Terms of the weights.")] = "",
    models_dir: ModelsDir = None,
) -> None:
    """Turn a Keras model into one of mien's; needs neither Keras nor TensorFlow.

    Example: `mien convert model.h5 --labels fer2013 --install`
    """
    from mien.models.zoo import user_dir

    with _extra("converting", "keras"):
        from mien.models.convert import convert

    done = convert(
        file, to, labels=labels, name=name, normalize=normalize, equalize=equalize, license=licence,
        install=(models_dir or user_dir()) if install else None,
    )  # fmt: skip
    facts = _spec_facts(done.spec)
    _say(f"model: {done.path} ({facts['input']}, pixels {done.normalize}: {', '.join(done.spec.labels)})")
    _say(f"use it: mien predict PHOTO --model {done.spec.name if install and not models_dir else done.path}")


@app.command()
def evaluate(
    model: Annotated[list[str] | None, typer.Argument(help="Names from `mien models`, or .onnx files.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Dataset: file, folder or zip; may be repeated; $MIEN_DATA if not given.", metavar="PATH"),
    ] = None,
    votes: Votes = None,
    split: Annotated[str, typer.Option(help="train, valid (PublicTest) or test (PrivateTest).")] = "test",
    views: Annotated[str, typer.Option(help="Of single, flip, tencrop.", metavar="VIEW,…")] = "single,flip",
    labels: Annotated[str | None, typer.Option(help="Label set, for models that have two.")] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report; reports/MODEL-DATA-SPLIT if not given.")
    ] = None,
    answer_accuracy: Annotated[
        float, typer.Option(help="From which confidence on are answers as accurate as this?")
    ] = 0.8,
    audited: Annotated[
        Path | None,
        typer.Option(
            "--audit", help="What `mien data audit` wrote about this data; leaks are then told by it.", metavar="AUDIT"
        ),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Measure what the specs of shipped models, or of these, claim again.")
    ] = False,
    as_json: Json = False,
    models_dir: ModelsDir = None,
) -> None:
    """Measure models: accuracy with interval, F1, confusion matrix, calibration; writes report.md.

    Example: `mien evaluate base --data fer2013.csv --split valid`
    """
    from mien.data.audit import read_audit
    from mien.errors import ConfigError
    from mien.evaluation.evaluate import Evaluation, labelled_for
    from mien.evaluation.evaluate import evaluate as run_evaluation
    from mien.evaluation.report import file_name, to_metrics, write_report, write_reports
    from mien.evaluation.sheets import mistakes_sheet
    from mien.vision.classify import load_classifier

    places: Sequence[str | None] = data or [None]
    if published:
        if audited is not None:
            raise ConfigError("--published measures what the specs claim, which no --audit changes; leave it out")
        _check_published(model, places, votes, as_json=as_json, models_dir=models_dir)
        return
    if not model:
        raise ConfigError("no model to evaluate; name one or more, see `mien models`")
    if votes is not None and len(places) > 1:
        raise ConfigError("--votes belongs to one dataset; evaluate the others apart")
    if audited is not None and len(places) > 1:
        raise ConfigError("--audit belongs to one dataset; evaluate the others apart")
    chosen = _split(split)
    classifiers = [load_classifier(name, models_dir=models_dir) for name in model]
    names = _names(model, classifiers)
    evaluations: list[Evaluation] = []
    sheets: list[ImageArray] = []
    for place in places:
        read, _ = _dataset(place, votes)
        clusters = None if audited is None else read_audit(audited, read).clusters
        for classifier, name in zip(classifiers, names, strict=True):
            dataset = labelled_for(read, [classifier.spec.head(labels)])
            with _bar(f"{name} on {dataset.name}") as progress:
                evaluation = run_evaluation(
                    classifier, dataset, split=chosen, views=views.split(","), head=labels, name=name,
                    clusters=clusters, answer_accuracy=answer_accuracy, progress=progress,
                )  # fmt: skip
            evaluations.append(evaluation)
            sheets.append(mistakes_sheet(evaluation, dataset, view=next(iter(evaluation.views))))
    on = "+".join(dict.fromkeys(evaluation.dataset for evaluation in evaluations))
    folder = to or Path("reports") / file_name("+".join(names), on, split)
    several = len(evaluations) > 1
    if several:
        report = write_reports(evaluations, folder, sheets=sheets)
    else:
        report = write_report(evaluations[0], folder, sheet=sheets[0])
    if as_json:
        metrics = [to_metrics(evaluation) for evaluation in evaluations]
        print(json.dumps(metrics if several else metrics[0], indent=2))
        return
    table = _table(
        *(["model", "data"] if several else []), "view", "accuracy", "95 % interval",
        *([] if audited is None else ["without leaks"]), "balanced", "macro-F1", "NLL", "ECE",
    )  # fmt: skip
    for evaluation in evaluations:
        for view, result in evaluation.views.items():
            a, unleaked = result.accuracy, f"{result.unleaked.value:.2%}" if result.unleaked else "–"
            table.add_row(
                *([evaluation.name, evaluation.dataset] if several else []), view, f"{a.value:.2%}",
                f"{100 * a.low:.2f}–{a.high:.2%}", *([] if audited is None else [unleaked]),
                f"{result.balanced_accuracy:.2%}", f"{result.macro_f1:.2%}", f"{result.honesty.nll:.3f}",
                f"{result.honesty.ece:.3f}",
            )  # fmt: skip
    out.print(table)
    _say(f"report: {report}")


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="A model: name from `mien models`, or an .onnx file.")],
    b: Annotated[str, typer.Argument(help="Another one.")],
    data: Data = None,
    votes: Votes = None,
    split: Annotated[str, typer.Option(help="train, valid (PublicTest) or test (PrivateTest).")] = "valid",
    view: Annotated[str, typer.Option(help="single, flip or tencrop.")] = "single",
    labels: Annotated[str | None, typer.Option(help="Label set, for models that have two.")] = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder to write to; reports/A-B-DATA-SPLIT if not given.")
    ] = None,
    as_json: Json = False,
    models_dir: ModelsDir = None,
) -> None:
    """Compare two models on the same pictures: is one better, by how much, and where.

    To compare is to decide, so it is done on the valid split unless told otherwise.

    Example: `mien compare base runs/mine/mine.onnx --data fer2013.csv`
    """
    from mien.evaluation import compare as comparing
    from mien.evaluation.evaluate import evaluate as run_evaluation
    from mien.evaluation.evaluate import labelled_for
    from mien.evaluation.report import file_name
    from mien.evaluation.sheets import differences_sheet
    from mien.vision.classify import load_classifier

    chosen = _split(split)
    classifiers = [load_classifier(model, models_dir=models_dir) for model in (a, b)]
    names = _names([a, b], classifiers)
    read, _ = _dataset(data, votes)
    dataset = labelled_for(read, [classifier.spec.head(labels) for classifier in classifiers])
    evaluations = []
    for classifier, name in zip(classifiers, names, strict=True):
        with _bar(name) as progress:
            evaluation = run_evaluation(
                classifier, dataset, split=chosen, views=[view], head=labels, name=name, progress=progress
            )
        evaluations.append(evaluation)
    comparison = comparing.compare(evaluations[0], evaluations[1], view=view)
    sheet = differences_sheet(evaluations[0], evaluations[1], dataset, view=view)
    folder = to or Path("reports") / file_name(*names, dataset.name, split)
    report = comparing.write_comparison(comparison, folder, sheet=sheet)
    if as_json:
        print(json.dumps(comparing.to_plain(comparison), indent=2))
        return
    table = _table("class", "pictures", "recall A", "recall B", "only A", "only B", "p")
    for c in comparison.classes:
        table.add_row(
            c.label, f"{c.support:,}", f"{c.recall_a:.1%}", f"{c.recall_b:.1%}", f"{c.only_a:,}", f"{c.only_b:,}",
            comparing.p_text(c.p_value),
        )  # fmt: skip
    out.print(table)
    for letter, name, accuracy in zip("AB", names, comparison.accuracies, strict=True):
        _say(f"{letter}: {name}, accuracy {accuracy:.2%}")
    _say(f"B − A: {comparison.difference:+.2%}, 95 % interval {comparison.low:+.2%} to {comparison.high:+.2%}")
    _say(comparing.verdict(comparison))
    _say(f"report: {report}")


@app.command("bench")
def bench_command(
    photo: Annotated[
        Path | None, typer.Argument(help="A picture with a face; without one, detectors are not measured.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name from `mien models`, or an .onnx file.")] = "base",
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each stage.")] = 50,
    as_json: Json = False,
    models_dir: ModelsDir = None,
) -> None:
    """Measure how long each stage takes on this machine, from finding faces to naming what they show.

    Example: `mien bench photo.jpg`
    """
    from dataclasses import asdict

    from mien.bench import bench
    from mien.sources import read_picture

    result = bench(None if photo is None else read_picture(photo), model, models_dir=models_dir, repeats=repeats)
    if as_json:
        print(json.dumps(asdict(result), indent=2))
        return
    width, height = result.size
    table = _table("stage", "median", "90th percentile", title=f"{result.model}, {width}×{height}")
    for t in result.timings:
        table.add_row(t.stage, f"{t.median_ms:.2f} ms", f"{t.p90_ms:.2f} ms")
    out.print(table)
    for stage, reason in result.skipped.items():
        _say(f"not measured: {stage}: {reason}")
    _say(", ".join(f"{name} {value}" for name, value in result.machine.items()))


@app.command("doctor")
def doctor_command(as_json: Json = False, models_dir: ModelsDir = None) -> None:
    """Show what a report of a problem must tell: versions, machine, models, cameras, and what is amiss.

    Example: `mien doctor --json`
    """
    from mien.doctor import doctor

    facts = doctor(models_dir)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    hints = facts.pop("hints")
    table = _table("what", "found")
    for what, found in facts.items():
        text = "\n".join(found) if isinstance(found, list) else str(found)
        table.add_row(what.replace("_", " "), _escaped(text or "none"))
    out.print(table)
    for hint in hints if isinstance(hints, list) else []:
        _say(f"hint: {hint}")


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: Json = False, models_dir: ModelsDir = None) -> None:
    """List the models at hand: shipped ones and your own.

    Example: `mien models`
    """
    if context.invoked_subcommand is not None:
        return
    from mien.models.zoo import list_models, user_dir

    found = list_models(models_dir, temporal=None)
    if as_json:
        rows = [
            {
                "name": m.name,
                "path": str(m.path),
                "format": m.format,
                "shipped": m.shipped,
                "problem": m.problem,
                **_spec_facts(m.spec),
            }
            for m in found
        ]
        print(json.dumps(rows, indent=2))
        return
    table = _table("model", "labels", "input", "size", "accuracy", "licence", "from")
    table.columns[0].no_wrap = all(len(m.name) <= 20 for m in found)  # names are typed, so they stay in one piece
    for m in found:
        facts = _spec_facts(m.spec)
        accuracy = facts["accuracy"]
        labels = "Keras, not converted yet" if m.format == "keras" else str(facts["labels"])
        table.add_row(
            m.name, labels, str(facts["input"]), f"{m.path.stat().st_size / 1e6:.2g} MB",
            "" if accuracy is None else f"{accuracy:.1%} on {facts['data']}", str(facts["license"]),
            "mien" if m.shipped else "you",
        )  # fmt: skip
    out.print(table)
    for m in found:
        if m.problem:
            _notice("[yellow]not usable:[/]", m.problem)
    _say(f"your models: {models_dir or user_dir()}")


@models_app.command("add")
def models_add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="An ONNX file.")],
    labels: Annotated[str, typer.Option(help="Class names in the order of the outputs: angry,disgust,…")],
    name: Annotated[str | None, typer.Option(help="What to call it; the file's name if not given.")] = None,
    size: Annotated[int, typer.Option(help="Side of the input in pixels.")] = 48,
    channels: Annotated[int, typer.Option(help="1 for grey, 3 for RGB.")] = 1,
    normalize: Annotated[str, typer.Option(help="unit, signed, standardize or none.")] = "unit",
    graph_input: Annotated[str, typer.Option(help="float32-nchw, float32-nhwc or uint8-nhwc.")] = "float32-nchw",
    graph_output: Annotated[str, typer.Option(help="logits or probabilities.")] = "logits",
    licence: Annotated[str, typer.Option(help="Terms of the weights.")] = "",
    models_dir: ModelsDir = None,
) -> None:
    """Adopt an ONNX model of another origin: say once what it takes and gives.

    Example: `mien models add net.onnx --labels angry,disgust,fear,happy,sad,surprise,neutral --size 48`
    """
    from tempfile import TemporaryDirectory
    from typing import cast

    import numpy as np

    from mien.labels import LABEL_SETS, LabelSet, canonical
    from mien.models.spec import Graph, Head, Layout, ModelSpec, Normalize, Output, Preprocess
    from mien.models.zoo import add_model
    from mien.vision.classify import OnnxClassifier

    names = tuple(canonical(label) for label in labels.split(","))
    known = next((s for s in LABEL_SETS.values() if s.labels == names), None)
    spec = ModelSpec(
        name=name or file.stem,
        arch="foreign",
        heads=(Head(known or LabelSet(name or file.stem, names)),),
        preprocess=Preprocess(size=size, channels=channels, normalize=cast(Normalize, normalize)),
        graph=Graph(input=cast(Layout, graph_input), output=cast(Output, graph_output)),
        license=licence,
    )
    with TemporaryDirectory() as folder:  # so that a wrong spec is told at once and no model is lost to it
        trial = add_model(file, spec, models_dir=Path(folder))
        OnnxClassifier(trial).predict_proba([np.zeros((1, 1, 3), np.uint8)] * 2)
    outer = context.parent.params["models_dir"] if context.parent else None  # mien models --models DIR add …
    path = add_model(file, spec, models_dir=models_dir or outer)
    _say(f"added: mien predict PHOTO --model {path.stem}")


@data_app.command("info")
def data_info(
    path: Annotated[str | None, typer.Argument(help="Dataset; $MIEN_DATA if not given.")] = None,
    votes: Votes = None,
    sheet: Annotated[Path | None, typer.Option(help="Write a sheet of samples as PNG.", metavar="FILE")] = None,
    as_json: Json = False,
) -> None:
    """Count a dataset's pictures by split and class.

    Example: `mien data info fer2013.csv --sheet samples.png`
    """
    from dataclasses import asdict

    from mien.data.info import info, sample_sheet
    from mien.sinks import write_picture

    dataset, _ = _dataset(path, votes)
    facts = info(dataset)
    if as_json:
        print(json.dumps(asdict(facts), indent=2, default=str))
    else:
        _print_info(dataset)
    if sheet is not None:
        write_picture(sheet, sample_sheet(dataset))


@data_app.command("prepare")
def data_prepare(
    path: Annotated[str, typer.Argument(help="Dataset of any form.")],
    to: Annotated[Path, typer.Argument(help="The .npz file to write.")],
    votes: Votes = None,
    size: Annotated[int | None, typer.Option(help="Resize the pictures to this side in pixels.")] = None,
    hold_out: Annotated[
        str | None, typer.Option(help="FERG-DB and drawn faces: these characters are test.", metavar="NAME,…")
    ] = None,
    valid: Annotated[
        str | None, typer.Option(help="And these valid; if not given, a tenth of the other pictures.", metavar="NAME,…")
    ] = None,
) -> None:
    """Write a dataset as one file that opens in an instant.

    Example: `mien data prepare fer2013.csv.gz fer2013.npz`, `mien data prepare FERG_DB_256 ferg.npz --hold-out malcolm`
    """
    from mien.data import ferg
    from mien.data.prepare import prepare
    from mien.data.readers import data_path

    if hold_out is None and valid is None:
        dataset, _ = _dataset(path, votes, size=size)
    else:
        held, chosen = (names.split(",") if names else [] for names in (hold_out, valid))
        with err.status(f"reading {_escaped(path)}"):
            dataset = ferg.read(data_path(path), size=size, votes=votes, hold_out=held, valid=chosen)
    prepare(dataset, to)
    _say(f"{len(dataset):,} pictures: {to}")


@data_app.command("draw")
def data_draw(
    to: Annotated[Path, typer.Argument(help="A new or empty folder.", metavar="DIR")],
    count: Annotated[int, typer.Option(help="How many pictures.")] = 5000,
    seed: Annotated[int, typer.Option(help="Another seed draws other pictures, and other extras.")] = 0,
    size: Annotated[int, typer.Option(help="Side of the pictures in pixels.")] = 100,
    characters: Annotated[
        str | None, typer.Option(help="Whom to draw; all that have names if not given.", metavar="NAME,…")
    ] = None,
    extras: Annotated[int, typer.Option(min=0, help="How many made-up characters to draw besides.")] = 0,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a sheet of all characters and expressions, .png or .jpg.", metavar="FILE")
    ] = None,
) -> None:
    """Draw cartoon faces of several characters, as a dataset that is free to use and to pass on.

    Example: `mien data draw cartoons --count 5000 --extras 20 --sheet cartoons.png`
    """
    from mien.data.cartoons import CHARACTERS, cartoon_sheet, write_cartoons
    from mien.sinks import write_picture

    named = characters.split(",") if characters else CHARACTERS
    names = list(dict.fromkeys([*named, *(f"extra{i}" for i in range(1, extras + 1))]))
    with _bar("drawing") as progress:
        write_cartoons(to, count, seed=seed, size=size, characters=names, progress=progress)
    _say(f"{count:,} pictures of {len(names)} characters: {to}")
    if sheet is not None:
        write_picture(sheet, cartoon_sheet(seed=seed, characters=names))
        _say(f"sheet: {sheet}")


@data_app.command("audit")
def data_audit(
    path: Annotated[str | None, typer.Argument(help="Dataset; $MIEN_DATA if not given.")] = None,
    votes: Votes = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report; reports/audit-DATA if not given.", metavar="DIR")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Least correlation of near duplicates, up to 1.")] = 0.9,
    as_json: Json = False,
) -> None:
    """Find exact and near duplicates, leaks between splits, labels in conflict, and pictures of no face.

    Example: `mien data audit fer2013.csv --out audits/fer2013`
    """
    from mien.data.audit import audit
    from mien.data.audit_report import figures, write_audit

    dataset, _ = _dataset(path, votes)
    with _bar("comparing") as progress:
        audited = audit(dataset, threshold=threshold, progress=progress)
    report = write_audit(audited, dataset, to or Path("reports") / f"audit-{dataset.name}")
    found = figures(audited, has_votes=dataset.votes is not None)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = _table("split", "pictures", *(f"also in {name}" for name in found["splits"]), "blank", "not a face")
    for name, part in found["splits"].items():
        also = ("" if other == name else f"{part['same_photo'][other]:,}" for other in found["splits"])
        table.add_row(name, f"{part['pictures']:,}", *also, f"{part['blank']:,}", f"{part['not_a_face']:,}")
    out.print(table)
    for what, group in (("the same pixels", found["exact"]), ("the same photo", found["clusters"])):
        _say(
            f"{group['pictures']:,} pictures in {group['groups']:,} groups of {what}; "
            f"{group['conflicting_groups']:,} groups have several labels"
        )
    _say(f"report: {report}")


def _check_targets(source: Path, targets: Sequence[Path]) -> None:
    """Make sure that nothing that is to be seen would be overwritten."""
    from mien.errors import OutputError
    from mien.sources import list_files

    taken = {file.resolve() for file in list_files(source)}
    for target in targets:
        if target.resolve() in taken:
            raise OutputError(f"'{target}' is one of the files that are to be seen; choose another name")


def _record(
    stream: Iterable[Frame], recognizer: Recognizer, recorder: Recorder, *, half_life: float, to: Path | None
) -> None:
    """See a stream to its end, or until Ctrl+C, and record it."""
    from mien.live import Live

    with suppress(KeyboardInterrupt):
        for sight in Live(recognizer, half_life=half_life).stream(stream):
            recorder.write(sight)
    if to is not None:
        recorder.statistics.save(to)
        _say(f"statistics: {to}")


def _expand(paths: Sequence[Path], glob: str | None) -> tuple[dict[Path, Path], int]:
    """Return the files that paths mean, each with the place of its result below --out, and the number of failures.

    A folder's files keep their places in it. No two results share a place: the later one goes a folder deeper.
    """
    from mien.sources import list_files

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
    from mien.sinks import AnnotatedSink
    from mien.sources import frame_count, frames

    with ExitStack() as stack:
        sink = stack.enter_context(AnnotatedSink(file, folder, top=top)) if folder is not None else None
        pictures = _tracked(frames(file), file.name, total=frame_count(file))
        for frame, expressions in recognizer.stream(pictures):
            if sink is not None:
                sink.write(frame, expressions)
            yield frame, expressions


def _add_rows(table: Table, file: Path, seen: Sequence[Sequence[Expression]], *, top: int) -> None:
    """Add a row a face for a picture; for a video one row that sums it up."""
    name = _escaped(file.name)
    if len(seen) > 1:
        counts = Counter(e.label for expressions in seen for e in expressions)
        total = sum(counts.values())
        shares = ", ".join(f"{label} {n / total:.0%}" for label, n in counts.most_common(3)) or "no face found"
        table.add_row(name, f"{total} in {len(seen)} frames", shares, "", "")
        return
    for expressions in seen:
        if not expressions:
            table.add_row(name, "–", "no face found", "", "")
        for number, expression in enumerate(expressions, start=1):
            best = expression.prediction.top(top)
            names = [label for label, _ in best]
            if not expression.certain:
                names[0] = f"{expression.label} ({names[0]})"
            box = expression.face.box
            table.add_row(
                name, str(number), "\n".join(names), "\n".join(f"{p:.0%}" for _, p in best),
                f"{box.x1:.0f},{box.y1:.0f} – {box.x2:.0f},{box.y2:.0f}",
            )  # fmt: skip


def _dataset(argument: str | None, votes: Path | None, *, size: int | None = None) -> tuple[Dataset, Path]:
    from mien.data.readers import data_path, read_dataset

    path = data_path(argument)
    with err.status(f"reading {_escaped(str(path))}"):
        return read_dataset(path, votes=votes, size=size), path


def _check_published(
    names: Sequence[str] | None, places: Sequence[str | None], votes: Path | None, *, as_json: bool,
    models_dir: Path | None,
) -> None:  # fmt: skip
    from dataclasses import asdict

    from mien.errors import ConfigError, DatasetError
    from mien.evaluation.published import check_published, published_on
    from mien.models.zoo import list_models
    from mien.vision.classify import load_classifier

    chosen = names or [model.name for model in list_models(models_dir) if model.shipped]
    if not chosen:
        raise ConfigError("no model came with mien; name those whose figures are to be checked")
    if votes is not None and len(places) > 1:
        raise ConfigError("--votes belongs to one dataset; check the others apart")
    classifiers = [load_classifier(name, models_dir=models_dir) for name in chosen]
    datasets = [_dataset(place, votes)[0] for place in places]
    rows: list[dict[str, object]] = []
    wrong: list[str] = []
    unchecked: list[str] = []
    table = _table("model", "figure", "published", "measured", "difference")
    for name, classifier in zip(chosen, classifiers, strict=True):
        spec = classifier.spec
        try:
            with _bar(name) as progress:
                claims = check_published(classifier, published_on(spec, datasets), progress=progress)
        except DatasetError as error:  # the others can be checked nevertheless
            unchecked.append(f"{name}: {error}")
            for key, figure in spec.metrics.items():
                rows.append({"model": name, "key": key, "published": figure, "measured": None, "holds": None})
                table.add_row(name, key, f"{figure:.3%}", "–", "not checked")
            continue
        for claim in claims:
            difference = claim.measured - claim.published
            rows.append({"model": name, **asdict(claim), "holds": claim.holds})
            table.add_row(
                name, claim.key, f"{claim.published:.3%}", f"{claim.measured:.3%}", f"{100 * difference:+.3f} points"
            )
            if not claim.holds:
                wrong.append(f"{name} {claim.key} by {100 * difference:+.3f} points")
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        out.print(table)
    asked = bool(names) or len(unchecked) == len(chosen)  # else the shipped models whose data was given are enough
    for text in unchecked:
        _notice("[bold red]error:[/] not checked:" if asked else "[yellow]not checked:[/]", text)
    if wrong:
        fail(f"not reproduced: {'; '.join(wrong)}")
        raise typer.Exit(2)
    if unchecked and asked:
        raise typer.Exit(2)


def _split(name: str) -> Split:
    from mien.data.dataset import SPLITS
    from mien.errors import ConfigError

    for split in SPLITS:
        if split == name:
            return split
    raise ConfigError(f"unknown split '{name}'; choose from {', '.join(SPLITS)}")


def _names(arguments: Sequence[str], classifiers: Sequence[OnnxClassifier]) -> list[str]:
    """Return the models' own names, or what was typed where these would be the same."""
    names = [classifier.spec.name for classifier in classifiers]
    return names if len(set(names)) == len(names) else list(arguments)


def _export(run: Path, dataset: Dataset, *, target: Path | None, storage: str, install: Path | None) -> None:
    from mien.evaluation.plots import curves
    from mien.training import fit
    from mien.training.finish import export_run

    if rows := fit.read_metrics(run):
        curves(rows, run / "curves.png")
    path, parity = export_run(run, dataset, target=target, storage=storage, install=install)
    _say(
        f"model: {path} ({path.stat().st_size / 1e6:.1f} MB; at most {parity.max_difference:.1g} from "
        f"PyTorch on {parity.n} pictures, {parity.same_label:.1%} the same label)"
    )
    _say(f"use it: mien predict PHOTO --model {path}")


def _print_info(dataset: Dataset) -> None:
    from mien.data.dataset import SPLITS
    from mien.data.info import info

    facts = info(dataset)
    counts = dataset.counts()
    table = _table("split", *dataset.labels, "all", title=dataset.name)
    for name, row in zip((*SPLITS, "all"), [*counts, counts.sum(0)], strict=True):
        table.add_row(name, *(f"{n:,}" for n in row), f"{row.sum():,}")
    out.print(table)
    height, width, channels = dataset.images.shape[1:]
    colour = "grey" if channels == 1 else "RGB"
    votes = "with FER+ votes" if dataset.votes is not None else "no FER+ votes"
    _say(f"{width}×{height} {colour}, {facts.n_blank} blank, {votes}")
    _say(f"fingerprint {dataset.fingerprint}")


def _spec_facts(spec: ModelSpec | None) -> dict[str, str | float | None]:
    if spec is None:
        return {"labels": "", "input": "", "accuracy": None, "data": "", "license": ""}
    pixels = f"{spec.preprocess.size}×{spec.preprocess.size} {'grey' if spec.preprocess.channels == 1 else 'RGB'}"
    return {
        "labels": ", ".join(f"{head.labels.name} ({len(head.labels)})" for head in spec.heads),
        "input": pixels if spec.temporal is None else f"temporal: what {spec.temporal.classifier} sees",
        "accuracy": spec.metrics.get("test/flip/accuracy"),
        "data": spec.trained_on.get("name", "unknown data"),  # accuracies on different data can't be compared
        "license": spec.license,
    }


class _TrainingProgress:
    """Draws a run: a bar for the epoch, a line for each one done."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  {task.fields[speed]:.0f} images/s"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            console=out, transient=True, disable=not out.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=None, epoch=1, loss=0.0, speed=0.0)

    def __enter__(self) -> _TrainingProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begun(self, origin: str) -> None:
        _say(origin)

    def step(self, epoch: int, done: int, total: int, loss: float, images_per_second: float) -> None:
        if done == 1:
            self._progress.reset(self._task, total=total)
        self._progress.update(
            self._task, completed=done, total=total, epoch=epoch + 1, loss=loss, speed=images_per_second
        )

    def epoch(self, row: Mapping[str, float]) -> None:
        valid = f"  valid {row['valid_accuracy']:.2%}" if "valid_accuracy" in row else ""
        pixels = [self._config.stage_of(epoch).size ** 2 for epoch in range(round(row["epoch"]), self._config.epochs)]
        left = row["seconds"] * sum(pixels) / row["size"] ** 2
        out.print(
            f"epoch {row['epoch']:>3.0f}  size {row['size']:.0f}  loss {row['train_loss']:.3f}{valid}  "
            f"{row['images_per_second']:.0f} images/s  {_duration(left)} left",
            highlight=False,
        )


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


@contextmanager
def _extra(what: str, extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mien"):
            raise
        if error.name in ("tkinter", "_tkinter"):
            raise MienError(
                f"{what} needs Tk, which this Python lacks; on Debian and Ubuntu: sudo apt install python3-tk, with "
                "Homebrew: brew install python-tk"
            ) from error
        raise MissingExtra(what, extra) from error


def _tracked(items: Iterable[T], what: str, *, total: int | None) -> Iterator[T]:
    """Yield the items, with a progress bar on a terminal if there are more than one."""
    with _bar(what, shown=total != 1) as advance:
        for done, item in enumerate(items, start=1):
            yield item
            advance(done, total)


@contextmanager
def _bar(what: str, *, shown: bool = True) -> Iterator[Callable[[int, int | None], None]]:
    """Draw a progress bar, on a terminal; give a function that is told (done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not (shown and err.is_terminal)) as bar:
        task = bar.add_task(_escaped(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _table(*columns: str, title: str | None = None) -> Table:
    table = Table(title=title, box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _escaped(text: str) -> str:
    """Make a text printable on any console: undecodable bytes of file names and Rich's markup are escaped."""
    return text.encode("utf-8", "backslashreplace").decode().replace("[", "\\[")


if __name__ == "__main__":
    main()
