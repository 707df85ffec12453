"""Commands that train and export models."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mien.cli.arguments import (
    NewModelsDir,
    Votes,
    model_file,
    note_installed,
    own_models,
    read_data,
    readings_for,
    reads_data,
)
from mien.cli.console import bar, err, extra, mute, out, percent, say
from mien.cli.voices import RECIPE, train_voice_command
from mien.data.reading import AS_CROPS, Reading
from mien.errors import ConfigError
from mien.escape import shell_word
from mien.files import matching
from mien.models.spec import DEFAULT_MODEL

if TYPE_CHECKING:
    from mien.data.audit import Audit, Selection
    from mien.data.dataset import Dataset
    from mien.training.recipe import TrainConfig
    from mien.training.run import Run

Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting; may be repeated.", metavar="KEY=VALUE")
]
DataList = Annotated[
    list[str] | None,
    typer.Option(
        "--data", help="Dataset: file, folder or archive; may be repeated; $MIEN_DATA if not given.", metavar="PATH"
    ),
]
Seed = Annotated[int | None, typer.Option(help="Seed of all randomness; another seed gives another model.")]
Install = Annotated[bool, typer.Option(help="Also copy the model into your models directory.")]


@reads_data
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a .toml file; voice for speech.")] = "base",
    data: DataList = None,
    weight: Annotated[
        list[float] | None,
        typer.Option(help="Draws per image and epoch, for each dataset; one per --data.", metavar="W"),
    ] = None,
    votes: Votes = None,
    reading: Reading = AS_CROPS,
    run: Annotated[Path | None, typer.Option(help="Run folder to create.", metavar="DIR")] = None,
    setting: Settings = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Start from weights: a model's name or .onnx, a run, dlib's .dat, VGGFace's .h5.", metavar="WEIGHTS"
        ),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(help="Freeze a part of the net, e.g. backbone.0; may be repeated.", metavar="PART"),
    ] = None,
    seed: Seed = None,
    devices: Annotated[
        int | None,
        typer.Option(
            min=1, help="GPUs, or processes without GPUs, that share each batch; default: torchrun's number, or 1."
        ),
    ] = None,
    audited: Annotated[
        Path | None, typer.Option("--audit", help="Output of `mien data audit` for this data.", metavar="AUDIT")
    ] = None,
    drop_leaks: Annotated[
        bool,
        typer.Option(
            "--drop-leaks", help="Drop training images whose photo also occurs in valid or test; needs --audit."
        ),
    ] = False,
    n_folds: Annotated[
        int | None, typer.Option("--folds", help="Split the training images into N folds; needs --audit.", metavar="N")
    ] = None,
    fold: Annotated[int | None, typer.Option(help="Leave this fold out, counted from 0.", metavar="I")] = None,
    log: Annotated[
        list[str] | None,
        typer.Option(help="Log to tensorboard, wandb or mlflow as well; may be repeated.", metavar="LOGGER"),
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="Resume this run.", metavar="RUN")] = None,
) -> None:
    """Train a model by a recipe; a run that was stopped continues with --resume.

    Example: `mien train base --data fer2013.csv`, `mien train finetune --data my-faces`,
    `mien train voice --data RAVDESS`
    """
    if not _leads():
        mute()
    if recipe == RECIPE:
        others = {
            "--weight": weight, "--votes": votes, "--freeze": freeze, "--devices": devices, "--audit": audited,
            "--drop-leaks": drop_leaks, "--folds": n_folds, "--fold": fold, "--log": log, "--resume": resume,
            "options for pictures": reading != AS_CROPS,
        }  # fmt: skip
        if given := [option for option, value in others.items() if value]:
            raise ConfigError(f"a voice model is trained on recordings; leave out {', '.join(given)}")
        train_voice_command(data, run=run, settings=setting, init=init, seed=seed)
        return
    by_audit = drop_leaks or n_folds is not None or fold is not None
    if resume is not None:
        if by_audit or audited is not None:
            raise ConfigError("a resumed run keeps its training images; leave out --audit and the options that need it")
        if init is not None or freeze:
            raise ConfigError("a resumed run continues from its own checkpoint; leave out --init and --freeze")
        if setting or weight or seed is not None or run is not None:
            raise ConfigError("a resumed run keeps folder and settings; leave out --run, --set, --weight and --seed")
        if devices is not None:
            raise ConfigError("a resumed run keeps its number of processes or graphics cards; leave out --devices")
        _resume(resume, data, votes, reading, log or [])
        return
    if by_audit and audited is None:
        raise ConfigError("--drop-leaks, --folds and --fold need the output of mien data audit; name it with --audit")
    flags = {"init": init, "freeze": freeze or None, "seed": seed, "data_weights": weight or None}
    config = _recipe(recipe, setting, flags)
    _check_loggers(log or [])
    from mien.data.audit import select_training

    select = partial(select_training, without_leaks=drop_leaks, n_folds=n_folds, fold=fold)
    _fit(_started(config, data, votes, reading, run, devices, audited, select), log or [])


@reads_data
def train_temporal_command(
    model: Annotated[str, typer.Option(help="Classifier to train it for: a name, or an .onnx file.")] = DEFAULT_MODEL,
    data: Annotated[
        str | None,
        typer.Option(help="Dataset whose images are set in motion; only drawn faces without one.", metavar="PATH"),
    ] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Folder of `<class>/<clip>`: videos, or folders of frames.", metavar="DIR")
    ] = None,
    reading: Reading = AS_CROPS,
    labels: Annotated[str | None, typer.Option(help="Label set, for classifiers that have two.")] = None,
    setting: Settings = None,
    seed: Seed = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="The .onnx file to write; NAME.onnx if not given.", metavar="FILE")
    ] = None,
    install: Install = False,
    models_dir: NewModelsDir = None,
) -> None:
    """Train a temporal model, which smooths a classifier's predictions over time, for `mien live --temporal`.

    With clips, --detector is for them, and the images of --data are face crops.

    Example: `mien train-temporal --data fer2013.csv --install`, `mien train-temporal --clips my-clips`
    """
    from mien.data.readers import data_path
    from mien.models.classifier import load_classifier
    from mien.models.store import find_model, models_folder, shipped_dir
    from mien.reports.temporal import temporal_table
    from mien.settings import from_dict, parse_override
    from mien.targets import check_targets
    from mien.training.recipe import TemporalConfig
    from mien.vision.detect import load_detector

    with extra("training", "train"):
        from mien.training.temporal import check_place, train_temporal

    overrides = dict(parse_override(text) for text in setting or [])
    config = from_dict(TemporalConfig, overrides | ({} if seed is None else {"seed": seed}))
    classifier = load_classifier(model, models_dir=models_dir)
    name = config.name_for(classifier.spec.name)
    path, folder = to or Path(f"{name}.onnx"), models_folder(models_dir) if install else None
    check_place(path, install=folder)  # before the data is read
    read = [None if data is None else data_path(data), clips, model_file(model)]
    check_targets(read, files=[path], texts=[path.with_suffix(".md")])
    if folder is not None:
        note_installed(name, own_models(folder))
    faces = None if clips is None else load_detector(reading.detector or "auto")
    reading = (reading if clips is None else replace(reading, detector=None)).for_model(classifier.spec.preprocess.size)
    images = None if data is None else read_data(data, None, reading)[0]
    with bar("training") if err.is_terminal else nullcontext(_print_tenth) as progress:
        trained = train_temporal(
            classifier, path, config, labels=classifier.spec.head(labels).labels,
            images=images, clips=clips, detector=faces, install=folder, progress=progress,
        )  # fmt: skip
    for line in temporal_table(trained.results).splitlines():
        say(line)
    say(f"model: {path} (differs by at most {trained.difference:.1g} from PyTorch); card: {trained.card}")
    where = "" if install and not models_dir else f" --models {shell_word(str(folder or path.parent))}"
    file = find_model(model, models_dir=models_dir)
    usable = model if install or file.parent == shipped_dir() else str(file)  # no name is known in another directory
    say(f"use it: mien live --model {shell_word(usable)} --temporal{where}")


@reads_data
def export(
    run: Annotated[Path, typer.Argument(help="A run folder that `mien train` made.")],
    to: Annotated[
        Path | None, typer.Option("--out", help="The .onnx file to write; RUN/NAME.onnx if not given.")
    ] = None,
    storage: Annotated[
        str, typer.Option(help="Weights are float32, float16 or int8; int8-static also computes with 8 bits.")
    ] = "float16",
    install: Install = False,
    data: DataList = None,
    votes: Votes = None,
    reading: Reading = AS_CROPS,
    models_dir: NewModelsDir = None,
) -> None:
    """Export a run's model as ONNX, calibrated on the validation split and checked against PyTorch.

    Example: `mien export runs/base-20260401-120000 --install`
    """
    from mien.models.store import models_folder
    from mien.targets import check_targets

    check_targets([*(data or []), *matching(run, "*.*")], files=[to])
    finished = _opened(run, data, votes, reading)
    folder = models_folder(models_dir) if install else None
    if folder is not None:
        note_installed(finished.spec.name, own_models(folder))
    _export(finished, target=to, storage=storage, install=folder)


@reads_data
def soft_labels(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders, of all folds of the data: `mien train --folds N --fold I`.")
    ],
    to: Annotated[Path, typer.Option("--out", help="The .npz file to write.", metavar="FILE")],
    stack_votes: Annotated[
        bool, typer.Option("--stack-votes", help="Combine the runs with the raters' votes, for the data's own labels.")
    ] = False,
    data: DataList = None,
    votes: Votes = None,
    reading: Reading = AS_CROPS,
) -> None:
    """Write soft labels for `mien train --set teacher=FILE`: each image's from runs that were not fitted on it.

    Example: `mien soft-labels runs/fold-0 runs/fold-1 runs/fold-2 --out teacher.npz`
    """
    import numpy as np

    from mien.data.readers import data_path
    from mien.evaluation.metrics import nll
    from mien.files import check_folder_of
    from mien.targets import check_targets

    with extra("training", "train"):
        from mien.training import out_of_fold, save_teacher

    if to.suffix != ".npz":
        raise ConfigError(f"cannot write soft labels to {to}; expected a name that ends in .npz")
    first, *others = map(_run, runs)
    places = map(data_path, data) if data else first.data_paths or ()
    check_targets([*places, votes, *(path for run in runs for path in matching(run, "*.*"))], files=[to])
    check_folder_of(to)
    opened = [_opened(first.folder, data, votes, reading), *others]
    dataset = opened[0].datasets[0]
    with bar("soft labels") as progress:
        teacher = out_of_fold(opened, dataset, stack_votes=stack_votes, progress=progress)
    save_teacher(teacher, to)
    say(f"soft labels: {to} ({', '.join(teacher.labels)})")
    if teacher.labels.get(dataset.labels.name) == dataset.labels.labels:
        rows = teacher.probabilities[dataset.labels.name]
        known = np.isfinite(rows).all(1)
        right = np.mean(rows[known].argmax(1) == dataset.targets[known])
        cost = nll(rows[known], dataset.targets[known])
        say(f"right about {percent(right, 1)} of {known.sum():,} training images; cross-entropy {cost:.3f}")
    say(f"use it: mien train RECIPE --set {shell_word(f'teacher={to}')}, with the same --data first")


def _resume(folder: Path, data: list[str] | None, votes: Path | None, reading: Reading, loggers: Sequence[str]) -> None:
    """Train a run to its end, unless it is there."""
    from mien.training.records import read_run

    _check_loggers(loggers)
    if not _by_torchrun():
        read_run(folder)  # fails before PyTorch is imported
    with extra("training", "train"):
        from mien.training.processes import agreed, new_fabric, together

    fabric = new_fabric()  # of torchrun's processes; those that mien starts read the run later
    with together(fabric):
        run = _run(folder)
    finished = agreed(fabric, lambda: run.finished)
    with together(fabric):
        if data or votes is not None or reading != AS_CROPS or not finished:
            run = _opened(folder, data, votes, reading)
            run.check_data()
    if not finished:
        _fit(run, loggers)
        return
    epochs = run.config.epochs
    say(f"{folder} is finished: {epochs} of {epochs} epochs are done, and its model is {run.model}")


def _run(folder: Path) -> Run:
    """Open a run without its data."""
    with extra("training", "train"):
        from mien.training.run import Run

    return Run.open(folder)


def _opened(folder: Path, data: list[str] | None, votes: Path | None, reading: Reading) -> Run:
    """Open a run with its data, read as at its start, from --data or from where it was."""
    run = _run(folder)
    places: Sequence[str | None] = data or run.data_paths or [None]
    readings = readings_for(places, reading.for_model(run.config.preprocess.size))
    if reading == AS_CROPS and len(run.readings) == len(places):
        readings = run.readings
    return type(run).open(folder, [dataset for dataset, _ in _read_all(places, votes or run.votes_path, readings)])


def _read_all(
    places: Sequence[str | None], votes: Path | None, readings: Sequence[Reading]
) -> list[tuple[Dataset, Path]]:
    """Read each --data; --votes belongs to the first."""
    return [
        read_data(place, None if i else votes, how) for i, (place, how) in enumerate(zip(places, readings, strict=True))
    ]


def _recipe(name: str, settings: list[str] | None, flags: Mapping[str, object]) -> TrainConfig:
    from mien.settings import parse_override
    from mien.training.recipe import load_recipe

    overrides = dict(parse_override(text) for text in settings or [])
    return load_recipe(name, overrides | {key: value for key, value in flags.items() if value is not None})


def _started(
    config: TrainConfig, data: list[str] | None, votes: Path | None, reading: Reading, folder: Path | None,
    devices: int | None, audited: Path | None, select: Callable[[Audit], Selection],
) -> Run:  # fmt: skip
    """Start a run, on the images that an audit of the first dataset selects if there is one."""
    from mien.data.audit import read_audit
    from mien.data.readers import data_path
    from mien.targets import check_targets
    from mien.training.recipe import new_folder

    places: Sequence[str | None] = data or [None]
    model = [] if folder is None else [folder / f"{config.name or config.net}.onnx"]
    with _together(devices):
        if _leads():  # the others must not ask for the folder before it is there: network file systems keep the answer
            check_targets([*map(data_path, places), votes, config.init, config.teacher], files=model, folders=[folder])
        with extra("training", "train"):
            from mien.nets.nets import check_net
        check_net(config.net)  # before reading, which may take minutes
        readings = readings_for(places, reading.for_model(config.preprocess.size))
        datasets, paths = zip(*_read_all(places, votes, readings), strict=True)
        selection = None if audited is None else select(read_audit(audited, datasets[0]))
    with extra("training", "train"):
        from mien.training.run import Run

    run = Run.start(
        config, datasets, folder or new_folder(config.name or config.net), data_path=[path.resolve() for path in paths],
        votes_path=votes and votes.resolve(), reading=readings, selection=selection,
        audit_path=audited and audited.resolve(), devices=devices,
    )  # fmt: skip
    if selection is not None:
        dropped = "".join(f", {key} {value}" for key, value in selection.facts.items())
        say(f"training on {selection.rows.sum():,} of {datasets[0].counts()[0].sum():,} training images{dropped}")
    if run.origin:
        say(run.origin)
    return run


@contextmanager
def _together(devices: int | None) -> Iterator[None]:
    """Let an error within the block end all processes of torchrun, and print it once; without it, import no PyTorch."""
    with extra("training", "train"):
        for package in ("torch", "lightning_fabric", "safetensors", "onnx"):
            if find_spec(package) is None:
                raise ModuleNotFoundError(name=package)
        if _by_torchrun():
            from mien.training.processes import new_fabric, together
    with together(new_fabric(devices)) if _by_torchrun() else nullcontext():
        yield


def _by_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _leads() -> bool:
    """Return whether this is the process that prints, of several that share each batch."""
    return os.environ.get("RANK" if _by_torchrun() else "LOCAL_RANK", "0") == "0"


def _check_loggers(names: Sequence[str]) -> None:
    if _leads():  # no other process logs
        from mien.training.loggers import check_loggers

        check_loggers(names)


def _fit(run: Run, loggers: Sequence[str]) -> None:
    """Train a run to its end and export it."""
    say(f"run: {run.folder}")
    try:
        with _TrainingProgress(run.config) if _leads() else nullcontext() as progress:
            run.fit(progress, log=loggers)
    except KeyboardInterrupt:
        resume = f"mien train --resume {shell_word(str(run.folder))}"
        raise KeyboardInterrupt(f"resume with: {resume}") from None
    if _leads():
        _export(run, target=None, storage="float16", install=None)


def _export(run: Run, *, target: Path | None, storage: str, install: Path | None) -> None:
    from mien.models.store import user_dir
    from mien.reports.plots import drawn_or_warned

    path, parity = run.export(target=target, storage=storage, install=install)
    say(
        f"model: {path} ({path.stat().st_size / 1e6:.2g} MB; differs by at most {parity.max_difference:.1g} from "
        f"PyTorch on {parity.n} images, {percent(parity.same_label, 1)} with the same label)"
    )
    if install is not None:
        say(f"installed: {install / run.model.name}")
    name = run.spec.name if install == user_dir() else str(path)
    say(f"use it: mien predict PHOTO --model {shell_word(name)}")
    drawn_or_warned(run.draw_curves, missing="no plot of the training curves")


def _print_tenth(done: int, total: int | None) -> None:
    """Print a line for each tenth of the work, where there is no terminal for a bar."""
    if total is not None and (10 * done) // total > (10 * (done - 1)) // total:
        say(f"training: {done:,} of {total:,}", console=err)


class _TrainingProgress:
    """A reporter that draws a bar for the current epoch and prints a line per finished one."""

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

    def step(self, epoch: int, done: int, total: int, loss: float, images_per_second: float) -> None:
        if done == 1:
            self._progress.reset(self._task, total=total)
        self._progress.update(
            self._task, completed=done, total=total, epoch=epoch + 1, loss=loss, speed=images_per_second
        )

    def epoch(self, row: Mapping[str, float]) -> None:
        valid = "".join(
            f"  {' '.join(['valid', *key.split('_')[2:]])} {percent(value, 2)}"
            for key, value in row.items() if key.startswith("valid_accuracy")
        )  # fmt: skip
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
