"""Commands that train models, and export them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mien.cli.arguments import Data, ModelsDir, Votes, read_data
from mien.cli.console import bar, err, escaped, extra, out, say
from mien.errors import ConfigError

if TYPE_CHECKING:
    from mien.data.dataset import Dataset
    from mien.training.recipe import TrainConfig


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
        list[str] | None, typer.Option(help="Keep a part of the net as it was, e.g. backbone.0.", metavar="PART")
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
    from mien.data.audit import read_audit, select_training
    from mien.settings import parse_override
    from mien.training.recipe import load_recipe

    with extra("training", "train"):
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
        dataset, path = read_data(data or environment["data"]["path"] or None, votes)
        run = resume
    else:
        overrides = dict(parse_override(text) for text in setting or [])
        flags = {"init": init, "freeze": freeze or None, "seed": seed}
        config = load_recipe(recipe, overrides | {key: value for key, value in flags.items() if value is not None})
        if devices > 1 and run is None:
            raise ConfigError("several devices are several processes, which must agree on a run; name it with --run")
        dataset, path = read_data(data, votes)
        run = run or Path("runs") / f"{config.name or config.net}-{time.strftime('%Y%m%d-%H%M%S')}"
    leads = os.environ.get("LOCAL_RANK", "0") == "0"  # of several processes, one speaks
    selection = None
    if audited is not None:
        found = read_audit(audited, dataset)
        selection = select_training(found, without_leaks=drop_leaks, n_folds=n_folds, fold=fold)
    if leads:
        say(f"run: {run}")
    if leads and selection is not None:
        left_out = "".join(f", {key} {value}" for key, value in selection.facts.items())
        say(f"fitted on {selection.rows.sum():,} of {dataset.counts()[0].sum():,} training pictures{left_out}")
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
        err.print(f"\nstopped; go on with: mien train --resume {escaped(str(run))}", soft_wrap=True, highlight=False)
        raise typer.Exit(130) from None
    if leads:
        _export(run, dataset, target=None, storage="float16", install=None)


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
    from mien.files import make_folder
    from mien.models.classifier import load_classifier
    from mien.models.onnx_file import read_spec, write_with_spec
    from mien.models.store import user_dir
    from mien.reports.temporal import temporal_table
    from mien.settings import from_dict, parse_override
    from mien.vision.detect import load_detector

    with extra("training", "train"):
        from mien.training.temporal import TemporalConfig, check_place, train_temporal

    overrides = dict(parse_override(text) for text in setting or [])
    config = from_dict(TemporalConfig, overrides | ({} if seed is None else {"seed": seed}))
    classifier = load_classifier(model, models_dir=models_dir)
    path = to or Path(f"{config.name or f'{classifier.spec.name}-temporal'}.onnx")
    check_place(path)
    folder = models_dir or user_dir()
    if install:
        make_folder(folder)
    with bar("seeing and training") as progress:
        trained = train_temporal(
            classifier, path, config, labels=classifier.spec.head(labels).labels,
            pictures=None if data is None else read_data(data, None)[0], clips=clips,
            detector=None if clips is None else load_detector(detector), progress=progress,
        )  # fmt: skip
    if install:
        write_with_spec(path, folder / path.name, read_spec(path))
    out.print(temporal_table(trained.results), soft_wrap=True, highlight=False, markup=False)
    say(f"model: {path} (at most {trained.difference:.1g} from PyTorch); card: {trained.card}")
    where = "" if install and not models_dir else f" --models {quote(str(folder if install else path.parent))}"
    say(f"use it: mien live --model {quote(model)} --temporal{where}")


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
    from mien.models.store import user_dir

    with extra("exporting", "train"):
        from mien.training import fit

    known = fit.read_run(run)[1]["data"]["path"] or None
    dataset, _ = read_data(data or known, votes)
    _export(run, dataset, target=to, storage=storage, install=(models_dir or user_dir()) if install else None)


def _export(run: Path, dataset: Dataset, *, target: Path | None, storage: str, install: Path | None) -> None:
    from mien.reports.plots import curves
    from mien.training import fit
    from mien.training.finish import export_run

    if rows := fit.read_metrics(run):
        curves(rows, run / "curves.png")
    path, parity = export_run(run, dataset, target=target, storage=storage, install=install)
    say(
        f"model: {path} ({path.stat().st_size / 1e6:.1f} MB; at most {parity.max_difference:.1g} from "
        f"PyTorch on {parity.n} pictures, {parity.same_label:.1%} the same label)"
    )
    say(f"use it: mien predict PHOTO --model {quote(str(path))}")


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
        say(origin)

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
