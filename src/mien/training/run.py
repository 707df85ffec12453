"""A run: the folder of a training, from its recipe to the exported model (extra: train)."""

from __future__ import annotations

import copy
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np
from lightning_fabric import Fabric

from mien import __version__
from mien.data.arrays import Field, read_npy
from mien.data.audit import Selection
from mien.data.dataset import SPLITS, Dataset
from mien.data.reading import Reading
from mien.errors import ConfigError, DatasetError, RunError
from mien.files import as_path, atomic_path, check_folder_of, locked, make_folder, obstacle, write_text
from mien.labels import LabelSet
from mien.machine.facts import git_commit
from mien.models.onnx_file import check_target, write_with_spec
from mien.models.spec import ModelSpec
from mien.nets.export import Parity, Storage
from mien.nets.nets import Net, freeze
from mien.nets.weights import Weights
from mien.settings import from_dict
from mien.structures import BoolArray
from mien.training.batches import Tensors, to_tensors, training_tensors
from mien.training.checkpoint import Checkpoint, epochs_done, load_average, load_checkpoint, save_checkpoint
from mien.training.finish import finish
from mien.training.fit import Reporter, Silent, Trainer
from mien.training.initial import (
    check_datasets,
    check_sizes,
    data_facts,
    initial_weights,
    load_weights,
    new_net,
    new_spec,
)
from mien.training.loggers import logging_to
from mien.training.optimizer import new_optimizer
from mien.training.precision import chosen_precision, training_facts
from mien.training.processes import (
    agreed,
    check_alike,
    check_shared,
    joined,
    new_fabric,
    noticing_losses,
    together,
    torchrun,
)
from mien.training.recipe import TrainConfig
from mien.training.records import CONFIG, ENVIRONMENT, METRICS, Row, read_metrics, read_run
from mien.training.targets import dataset_names, trained_heads
from mien.training.teacher import Teacher, read_teacher, teacher_digest

CHECKPOINT = "last.safetensors"
ROWS = "rows.npy"
TEACHER = "teacher.npz"
FILES = (CONFIG, ENVIRONMENT, ROWS, TEACHER, METRICS, CHECKPOINT)  # that every process reads


class Run:
    """A run folder, which only this class reads and writes.

    It holds the recipe, the environment, metrics per epoch, the last checkpoint and, in the end, the exported model;
    docs/guides/training.md lists the files. Make one by `start` or `open`.

    Args:
        folder: Its path.
        config: The recipe, with all overrides.
        environment: Machine, versions, data and spec, as in environment.json.
        datasets: The data; read from the paths in the environment when None and needed.
    """

    def __init__(
        self, folder: Path, config: TrainConfig, environment: Mapping[str, Any],
        datasets: Dataset | Sequence[Dataset] | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.config, self.environment = folder, config, environment
        self.spec = ModelSpec.from_json(json.dumps(environment["spec"]))
        self._datasets = None if datasets is None else _several(datasets)
        self._fabric: Fabric | None = None
        self._train: Tensors | None = None

    @classmethod
    def start(
        cls,
        config: TrainConfig,
        datasets: Dataset | Sequence[Dataset],
        folder: str | Path,
        *,
        data_path: Path | Sequence[Path] | None = None,
        votes_path: Path | None = None,
        reading: Reading | Sequence[Reading] | None = None,
        selection: Selection | None = None,
        audit_path: Path | None = None,
        devices: int | None = None,
    ) -> Run:
        """Make the folder of a new run; `fit` trains it.

        Where several processes train together, all call this with the same arguments.

        Args:
            config: The recipe.
            datasets: Data with a "train" split, and a "valid" one to measure progress on; one or several datasets,
                which train the heads that `TrainConfig.heads` names.
            folder: Folder to make. Of several processes, all take the first one's, which their machines must share.
            data_path: Where each dataset was read from; recorded, so that `open` finds it.
            votes_path: Where the votes of the first were read from, if not beside it; recorded likewise.
            reading: How each was read, if not by default; recorded, so that `open` reads it in the same way.
            selection: Which images of "train" of the first dataset to fit on, if not all. The dataset is the whole one
                nevertheless, so that its fingerprint is that of the data.
            audit_path: The audit that they were selected by; recorded.
            devices: How many graphics cards, or processes where there are none, of this machine share each batch; when
                None as many as torchrun started, or else 1.

        Raises:
            RunError: The folder holds a run already. Of several processes, one has other data or another recipe, or
                doesn't see the same folder.
            DatasetError: There are too few images to train on, the selection or soft labels are of other data, a
                dataset is given twice, or has a label that no head has.
            ConfigError: The net cannot take images of a stage's size, a part to freeze or the labels of a head don't
                exist, no data trains a head, the number of weights is not that of the datasets, the initial weights are
                of another net, there are fewer devices, or torchrun started another number.
            ModelError: The initial weights cannot be read, or don't fit.
        """
        place, datasets, fabric = as_path(folder), _several(datasets), new_fabric(devices)
        with together(fabric):
            if fabric.is_global_zero:
                _check_unused(place)
            check_datasets(config, datasets)
            weights = _initial_weights(config)
            spec = new_spec(config, datasets, selection, weights)
            heads = [head.labels for head in spec.heads]
            trained = trained_heads(config, datasets, heads)
        fabric.launch()  # further processes of this machine run the script up to here
        given, world = config.precision, fabric.world_size
        precision = agreed(fabric, lambda: chosen_precision(given))
        fabric = new_fabric(devices, precision)
        fabric.launch()  # starts no further ones
        place = agreed(fabric, lambda: as_path(folder))
        with together(fabric):
            fitted, teacher = _fitted(config, datasets, heads, selection)
            train = training_tensors(fitted, heads, trained, config, teacher=teacher, world=world)
            net = new_net(config, spec)
            check_sizes(net, config)
            freeze(net, config.freeze)  # raises before there is a folder
            origin = "" if weights is None else load_weights(net, weights, config, spec, train)
            data = data_facts(config, datasets, trained, data_path, votes_path, reading, selection, audit_path)
            environment = {
                **training_facts(), "commit": git_commit(), "precision": precision, "devices": world, "init": origin,
                "data": data, "teacher": teacher_digest(config.teacher) if config.teacher else "",
                "spec": json.loads(spec.to_json()),
            }  # fmt: skip
        run = cls(place, config, environment, datasets)
        run._fabric, run._train = fabric, train
        run._check_alike(fabric, None if selection is None else selection.rows)
        with together(fabric):
            if fabric.is_global_zero:
                _warn_of_size(config)
                run._write(selection, None if weights is None else net)
        check_shared(fabric, place, FILES)
        return run

    @classmethod
    def open(cls, folder: str | Path, datasets: Dataset | Sequence[Dataset] | None = None) -> Run:
        """Open a run folder, to resume the run, export it or read its metrics.

        Args:
            folder: Folder of the run.
            datasets: The data that it was started with, in the same order; read from the recorded paths when None and
                needed.

        Raises:
            RunError: The folder is no run, a file in it is missing or was changed, or it is of a newer version.
        """
        folder = as_path(folder)
        run = cls(folder, *read_run(folder), datasets)
        if (run.config.net, run.config.preprocess) != (run.spec.arch, run.spec.preprocess):
            raise RunError(
                f"{CONFIG} and {ENVIRONMENT} of {folder} are of different nets ({run.config.net} and {run.spec.arch}) "
                "or inputs; restore the one that was changed"
            )
        return run

    def __repr__(self) -> str:
        done = f"{len(self.metrics())} of {self.config.epochs} epochs"
        return f"<Run {str(self.folder)!r}: {self.spec.name}, {done}>"

    @property
    def data_paths(self) -> list[str] | None:
        """Where each dataset was when the run was started; None if that wasn't recorded.

        Raises:
            RunError: One is no longer there.
        """
        paths = [facts.get("path") or "" for facts in self.environment["data"]]
        if not all(paths):
            return None
        for path in paths:
            if not os.path.exists(path):
                raise RunError(
                    f"the data of {self.folder} is no longer at '{path}'{obstacle(path)}; say where it is with --data"
                )
        return paths

    @property
    def votes_path(self) -> Path | None:
        """Where the votes of the first dataset were read from; None if beside it, or if there were none."""
        path = self.environment["data"][0].get("votes")
        return None if path is None else Path(path)

    @property
    def readings(self) -> list[Reading]:
        """How each dataset was read when the run was started.

        Raises:
            RunError: By options that this version doesn't have.
        """
        try:
            return [from_dict(Reading, facts.get("reading", {})) for facts in self.environment["data"]]
        except ConfigError as error:
            raise RunError(f"{self.folder} has data read with unknown options ({error}); upgrade mien") from error

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The data; it is read when first needed.

        Raises:
            RunError: It wasn't given, and its paths weren't recorded or it is no longer there, or the number of
                datasets isn't that of the start.
            DatasetError: It cannot be read.
        """
        if self._datasets is None:
            if self.data_paths is None:
                raise RunError(f"{self.folder} doesn't record where its data is; open it with the dataset")
            self._datasets = tuple(
                how.read(Path(path), votes=None if i else self.votes_path)
                for i, (how, path) in enumerate(zip(self.readings, self.data_paths, strict=True))
            )
        if len(self._datasets) != (n := len(self.environment["data"])):
            raise RunError(
                f"{self.folder} was started on {n} dataset(s), {len(self._datasets)} given; give the same --data"
            )
        return self._datasets

    @property
    def origin(self) -> str:
        """One line about the weights that it started from; empty for random ones."""
        return str(self.environment.get("init", ""))

    @property
    def checkpoint(self) -> Path:
        """The file of weights, their average and the optimiser's state after the last finished epoch."""
        return self.folder / CHECKPOINT

    @property
    def model(self) -> Path:
        """Where `export` writes the model, whether it is there yet or not."""
        return self.folder / f"{self.spec.name}.onnx"

    @property
    def finished(self) -> bool:
        """Whether all epochs are done and the model is written."""
        return os.path.exists(self.model) and self._trained()

    def _trained(self) -> bool:
        return os.path.exists(self.checkpoint) and epochs_done(self.checkpoint) >= self.config.epochs

    def metrics(self) -> list[Row]:
        """Return the metrics of each finished epoch, as docs/guides/training.md lists them.

        Raises:
            RunError: The file is damaged.
        """
        return read_metrics(self.folder / METRICS)

    def check_data(self) -> None:
        """Check that the data is that of the start.

        Raises:
            RunError: It differs, or as for `datasets`.
            DatasetError: It cannot be read.
        """
        known = [facts["fingerprint"] for facts in self.environment["data"]]
        given = [dataset.fingerprint for dataset in self.datasets]
        if given != known:
            before, now = (", ".join(each[:12] for each in all_) for all_ in (known, given))
            raise RunError(
                f"{self.folder} was started on data with fingerprint {before}, this has {now}; give the same --data"
            )

    def fitted(self) -> tuple[Dataset, ...]:
        """Return the images of each dataset that the run is fitted on: "train", or a selection of it.

        Raises:
            RunError: Images were selected, and their record is missing or damaged, or the data is another.
            DatasetError: The data has no "train" split.
        """
        (first, *others), n = self.datasets, self.environment["data"][0].get("fitted")
        further = [dataset.split("train") for dataset in others]
        if n is None:
            return (first.split("train"), *further)
        self.check_data()
        return (first.select(self.fitted_rows(first)), *further)

    def fitted_rows(self, dataset: Dataset) -> BoolArray:
        """Return which images of the first dataset the run is fitted on, bool (n,).

        Raises:
            RunError: Images were selected, and their record is missing or damaged.
        """
        n, path = self.environment["data"][0].get("fitted"), self.folder / ROWS
        if n is None:
            return np.asarray(dataset.splits == SPLITS.index("train"))
        try:
            rows: BoolArray = read_npy(path, Field(np.bool_, 1))
            if rows.shape != (len(dataset),) or rows.sum() != n:
                raise ValueError(f"expected it to select {n} of {len(dataset)} images")
        except (OSError, ValueError) as error:
            raise RunError(
                f"'{path}' is damaged ({error}), so the images to fit on are unknown; start again"
            ) from error
        return rows

    def fit(self, report: Reporter | None = None, *, log: Sequence[str] = ()) -> None:
        """Train to the last epoch, from the last checkpoint if there is one, with a checkpoint after each epoch.

        A run resumes on as many devices as it was started on, of one machine or more. A finished run stays as it is.

        Args:
            report: Receives each step and epoch, finished ones first.
            log: Names in `training.loggers.LOGGERS`, which get settings and metrics; nothing else is sent anywhere.

        Raises:
            ConfigError: A logger is unknown, or its package is missing.
            RunError: A logger cannot be started, the data differs from that of the start, the checkpoint is damaged,
                the run is being trained already, the loss diverged, or, of several processes, one has ended or doesn't
                see the same folder.
        """
        n = self.environment.get("devices", 1)
        fabric = self._fabric or new_fabric(None if torchrun() else n, self.environment["precision"])
        with together(fabric):
            if fabric.world_size != n:
                raise RunError(
                    f"{self.folder} was started on {n} process(es), torchrun starts {fabric.world_size}; start as many"
                )
            self.check_data()
        fabric.launch()
        self._fabric = fabric
        with ExitStack() as stack, noticing_losses(fabric, self.folder):
            with together(fabric):
                if fabric.is_global_zero:
                    stack.enter_context(self._alone())
            check_shared(fabric, self.folder, FILES)
            self._check_alike(fabric, None)
            self._train_on(fabric, report or Silent(), log if fabric.is_global_zero else ())

    def _train_on(self, fabric: Fabric, report: Reporter, log: Sequence[str]) -> None:
        if agreed(fabric, self._trained):
            for row in self.metrics():
                report.epoch(row)
            return
        with together(fabric):
            trainer, rows = self._trainer(fabric)
            done = self._load(trainer, len(rows))
        rows = [row for row in rows if row["epoch"] <= done]  # a kill before the checkpoint leaves one row too many
        for row in rows:
            report.epoch(row)
        with ExitStack() as stack:
            with together(fabric):
                to_loggers = stack.enter_context(self._logging(log, done))
            for row in trainer.epochs(done, report):
                rows.append(row)
                with together(fabric):
                    if fabric.is_global_zero:
                        write_text(self.folder / METRICS, "".join(json.dumps(row) + "\n" for row in rows))
                        save_checkpoint(self.checkpoint, trainer.state, spec=self.spec, epochs_done=round(row["epoch"]))
                to_loggers(row)
                report.epoch(row)

    def _logging(self, names: Sequence[str], done: int) -> AbstractContextManager[Callable[[Row], None]]:
        known = ("mien", "torch", "precision", "devices", "commit", "init")
        data = [f"{facts.get('name', '')} {facts['fingerprint']}" for facts in self.environment["data"]]
        facts = {key: self.environment[key] for key in known if key in self.environment} | {"data": data}
        return logging_to(names, self.folder, asdict(self.config) | facts, epochs_done=done)

    def _trainer(self, fabric: Fabric) -> tuple[Trainer, list[Row]]:
        """Return the trainer before its first epoch, and the metrics so far."""
        heads = [head.labels for head in self.spec.heads]
        trained = trained_heads(self.config, self.datasets, heads)
        train = self._train or training_tensors(
            self.fitted(), heads, trained, self.config, teacher=self._teacher(heads), world=fabric.world_size
        )
        return Trainer(self.config, self.spec, train, self._valid(heads, trained), fabric), self.metrics()

    def _load(self, trainer: Trainer, n_rows: int) -> int:
        """Load the checkpoint, if there must be one; return the number of epochs done."""
        if os.path.exists(self.checkpoint):
            return load_checkpoint(self.checkpoint, trainer.state)
        if self.config.init or n_rows > 1:
            raise RunError(
                f"'{self.checkpoint}' is missing{obstacle(self.checkpoint)}; restore it, or start again with "
                "another --run"
            )
        return 0

    def export(
        self, *, target: Path | None = None, storage: str = "float16", install: Path | None = None
    ) -> tuple[Path, Parity]:
        """Write the averaged net as ONNX, calibrated on "valid" and checked against PyTorch.

        Args:
            target: The .onnx file to write; `model` when None.
            storage: "float32", "float16", "int8" or "int8-static"; see `mien.nets.export`.
            install: Models directory to put a copy into; none when None.

        Returns:
            The file, and its difference from PyTorch on real images.

        Raises:
            RunError: The run has no checkpoint yet, or the data differs from that of the start.
            ConfigError: The target is no .onnx file.
            OutputError: The file cannot be written.
        """
        # initial weights are a checkpoint too
        if not os.path.exists(self.checkpoint) or not epochs_done(self.checkpoint):
            raise RunError(f"{self.folder} has no finished epoch yet; resume it: mien train --resume {self.folder}")
        path = target or self.model
        check_target(path)
        self.check_data()  # other data would give other batch statistics and temperatures
        check_folder_of(path)  # now, not after the work
        if install is not None:
            make_folder(install)
        net, spec = load_average(self.checkpoint)
        spec, parity = finish(
            net, spec, self.fitted(), self.datasets, path, config=self.config, storage=cast(Storage, storage)
        )
        if install is not None:
            write_with_spec(path, install / f"{spec.name}.onnx", spec)
        return path, parity

    def draw_curves(self) -> Path:
        """Draw the metrics as curves.png; return its path.

        Raises:
            RunError: No epoch is finished.
            MissingExtra: matplotlib is not installed.
        """
        from mien.reports.plots import curves

        path = self.folder / "curves.png"
        curves(self.metrics(), path)
        return path

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from training the run during the block, where files can be locked, as on Unix.

        Raises:
            RunError: One trains it already.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder / CONFIG, wait=False))
            except BlockingIOError as error:
                raise RunError(f"another process is training {self.folder}; wait for it, or stop it") from error
            yield

    def _check_alike(self, fabric: Fabric, rows: BoolArray | None) -> None:
        """Check that all processes train the same recipe on the same data; `rows` are those selected of the first."""
        if joined(fabric):
            facts = {
                "version of mien": __version__,
                "recipe": json.dumps(asdict(self.config)),
                "dataset": " ".join(dataset.fingerprint for dataset in self.datasets),
                "selection of images": "" if rows is None else sha256(rows.tobytes()).hexdigest(),
                "file of soft labels": str(self.environment.get("teacher", "")),
            }
            check_alike(fabric, facts)

    def _teacher(self, heads: Sequence[LabelSet]) -> Teacher | None:
        """Return the soft labels of the images fitted on, if the recipe names a teacher."""
        if not self.config.teacher:
            return None
        path, first = self.folder / TEACHER, self.datasets[0]
        if teacher_digest(path) != self.environment.get("teacher"):
            raise RunError(f"'{path}' has changed since the start of the run; restore it, or start again")
        return read_teacher(path, first, heads).select(self.fitted_rows(first))

    def _valid(self, heads: Sequence[LabelSet], trained: Sequence[str | None]) -> dict[str, Tensors]:
        """Return the validation images of each dataset that has some, by the suffix of their metrics' names."""
        tensors, names = {}, dataset_names(self.datasets)
        config = replace(self.config, data_weights=(), class_balance=0.0)
        for i, (dataset, head) in enumerate(zip(self.datasets, trained, strict=True)):
            if (dataset.splits == SPLITS.index("valid")).any():
                suffix = f"_{names[i]}" if i else ""
                tensors[suffix] = to_tensors([dataset.split("valid")], heads, [head], config)
        return tensors

    def _write(self, selection: Selection | None, net: Net | None) -> None:
        """Write the folder; a net with initial weights becomes the first checkpoint, from which `fit` reads them."""
        with locked(make_folder(self.folder)):
            _check_unused(self.folder)  # again, since two may be started at a time
            if selection is not None:
                with atomic_path(self.folder / ROWS) as temporary, temporary.open("wb") as file:
                    np.save(file, selection.rows, allow_pickle=False)
            if self.config.teacher:
                with atomic_path(self.folder / TEACHER) as temporary:
                    shutil.copyfile(self.config.teacher, temporary)
            write_text(self.folder / ENVIRONMENT, json.dumps(self.environment, indent=2, default=str) + "\n")
            if net is not None:
                state = Checkpoint(net=net, average=copy.deepcopy(net), optimizer=new_optimizer(net, self.config))
                save_checkpoint(self.checkpoint, state, spec=self.spec, epochs_done=0)
            config = json.dumps(asdict(self.config), indent=2) + "\n"
            write_text(self.folder / CONFIG, config)  # last, since it makes the folder a run


def _check_unused(folder: Path) -> None:
    if os.path.exists(folder / CONFIG):
        raise RunError(f"{folder} already holds a run; resume it (mien train --resume {folder}) or name another --run")
    if os.path.exists(folder / CHECKPOINT):
        raise RunError(f"{folder} holds a checkpoint without its settings; name another --run")


def _warn_of_size(config: TrainConfig) -> None:
    trained, used = config.stages[-1].size, config.preprocess.size
    if trained != used:
        warnings.warn(
            f"the last stage trains at {trained} pixels, but the model's input has {used}; accuracy suffers unless "
            "preprocess.size and the size of the last stage are equal",
            stacklevel=3,
        )


def _initial_weights(config: TrainConfig) -> Weights | None:
    if not config.init:
        return None
    of_run = Path(config.init) / CHECKPOINT
    return initial_weights(of_run if os.path.exists(of_run) else config.init, arch=config.net)


def _fitted(
    config: TrainConfig, datasets: Sequence[Dataset], heads: Sequence[LabelSet], selection: Selection | None
) -> tuple[list[Dataset], Teacher | None]:
    """Return the images to fit on, and the soft labels of the first dataset's, if there are any."""
    first, *others = datasets
    fitted = [_selected(first, selection), *(dataset.split("train") for dataset in others)]
    if not config.teacher:
        return fitted, None
    rows = first.splits == SPLITS.index("train") if selection is None else selection.rows
    return fitted, read_teacher(config.teacher, first, heads).select(rows)


def _selected(dataset: Dataset, selection: Selection | None) -> Dataset:
    if selection is None:
        return dataset.split("train")
    if selection.rows.shape != (len(dataset),):
        raise DatasetError(
            f"the selection is of {len(selection.rows)} images, but '{dataset.name}' has {len(dataset)}; "
            "select from an audit of this very data"
        )
    return dataset.select(selection.rows)


def _several(datasets: Dataset | Sequence[Dataset]) -> tuple[Dataset, ...]:
    return (datasets,) if isinstance(datasets, Dataset) else tuple(datasets)
