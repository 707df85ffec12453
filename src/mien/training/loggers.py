"""Loggers: settings and metrics of a run for trackers of experiments, besides its own metrics.jsonl (extra: train).

Nothing is sent unless a logger is named; see docs/guides/training.md.
"""

from __future__ import annotations

import json
import os
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from mien.errors import ConfigError, RunError
from mien.files import write_text
from mien.training.records import Row, read_json

IDS = "loggers.json"  # numbers of the run at services, by which they continue it
PROJECT = "mien"
STEP = "epoch"  # the metric that counts the others


class Logger(Protocol):
    """Receives the metrics of each epoch; made with the settings."""

    def log(self, row: Row) -> None: ...

    def close(self, *, failed: bool) -> None: ...


class Place(NamedTuple):
    """The run that is logged.

    Args:
        folder: Its folder.
        number: Its number at services, the same whenever it is resumed.
        settings: The recipe and facts of the run, with dotted keys.
        epochs_done: Number of epochs before the first that is logged.
    """

    folder: Path
    number: str
    settings: Mapping[str, Any]
    epochs_done: int


class TensorBoard:
    """Event files in RUN/tensorboard, by Fabric's logger."""

    def __init__(self, place: Place) -> None:
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        # Hides what a stopped process logged past its last checkpoint.
        purged: dict[str, Any] = {"purge_step": place.epochs_done + 1} if place.epochs_done else {}
        # Event files are named by the second, and a run can be resumed within it.
        suffix = f".{place.epochs_done}"
        self._logger = TensorBoardLogger(place.folder, name="", version="tensorboard", filename_suffix=suffix, **purged)
        self._settings: Mapping[str, Any] | None = place.settings

    def log(self, row: Row) -> None:
        values, step = _without_step(row)
        if self._settings is None:
            self._logger.log_metrics(values, step)
        else:  # TensorBoard's table of settings wants to know the metrics
            self._logger.log_hyperparams(dict(self._settings), values, step)
            self._settings = None
        self._logger.save()

    def close(self, *, failed: bool) -> None:
        self._logger.finalize("failed" if failed else "success")


class WandB:
    """Weights & Biases; its own variables choose project, key and mode, e.g. WANDB_MODE=offline."""

    def __init__(self, place: Place) -> None:
        wandb = import_module("wandb")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=place.folder.name, id=place.number, resume="allow",
            dir=str(place.folder), config=dict(place.settings),
        )  # fmt: skip

    def log(self, row: Row) -> None:
        values, step = _without_step(row)
        self._run.log(values, step=step)

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


class MLflow:
    """MLflow; its own variables choose server and experiment, e.g. MLFLOW_TRACKING_URI."""

    def __init__(self, place: Place) -> None:
        self._mlflow = mlflow = import_module("mlflow")
        if not {"MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"} & os.environ.keys():
            mlflow.set_experiment(PROJECT)
        found = mlflow.search_runs(filter_string=f"tags.mien = '{place.number}'", output_format="list")
        if found:
            mlflow.start_run(run_id=found[0].info.run_id)
        else:
            mlflow.start_run(run_name=place.folder.name, tags={PROJECT: place.number})
            mlflow.log_params(dict(place.settings))

    def log(self, row: Row) -> None:
        values, step = _without_step(row)
        self._mlflow.log_metrics(values, step=step)

    def close(self, *, failed: bool) -> None:
        self._mlflow.end_run("FAILED" if failed else "FINISHED")


LOGGERS: dict[str, Callable[[Place], Logger]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}
PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "mlflow": ("mlflow",)}  # one of them


def check_loggers(names: Sequence[str]) -> None:
    """Check that there are loggers of these names, and that their packages are installed.

    Raises:
        ConfigError: One is unknown, or its package is missing.
    """
    for name in names:
        if name not in LOGGERS:
            raise ConfigError(
                f"unknown logger '{name}' (--log); choose from {', '.join(LOGGERS)}; metrics.jsonl is always written"
            )
        if not any(map(find_spec, PACKAGES[name])):
            raise ConfigError(f"--log {name} needs a package that is not installed: pip install {PACKAGES[name][0]}")


@contextmanager
def logging_to(
    names: Sequence[str], folder: Path, settings: Mapping[str, Any], *, epochs_done: int
) -> Iterator[Callable[[Row], None]]:
    """Yield a function that logs the metrics of an epoch; a logger that fails then is left out, with a warning.

    Args:
        names: Of loggers.
        folder: Of the run.
        settings: Plain data that results depend on; nested dicts become dotted keys, lists become JSON.
        epochs_done: Number of epochs before the first that is logged.

    Raises:
        ConfigError: As for `check_loggers`.
        RunError: A logger cannot be started: no access, no network.
    """
    check_loggers(names)
    loggers: dict[str, Logger] = {}
    if names:
        place = Place(folder, _number(folder), dict(_flat(settings)), epochs_done)
        for name in dict.fromkeys(names):
            try:
                loggers[name] = LOGGERS[name](place)
            except Exception as error:  # of any kind that a foreign package raises
                raise RunError(f"cannot log to {name}: {_line(error)}; omit --log {name}, or fix the cause") from error

    def log(row: Row) -> None:
        for name in list(loggers):
            with _warning_of(name, loggers):
                loggers[name].log(row)

    def close(*, failed: bool) -> None:
        for name in list(loggers):
            with _warning_of(name, loggers):
                loggers[name].close(failed=failed)

    with ExitStack() as stack:
        stack.push(lambda kind, *_: close(failed=kind is not None))
        yield log


@contextmanager
def _warning_of(name: str, loggers: dict[str, Logger]) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a server that is gone must not cost the training
        del loggers[name]
        warnings.warn(f"{name} gets no more metrics: {_line(error)}; those in metrics.jsonl are complete", stacklevel=4)


def _number(folder: Path) -> str:
    """Return the number of a run at services, which is drawn on first use."""
    path = folder / IDS
    if os.path.exists(path):
        return str(read_json(path))
    number = uuid.uuid4().hex[:12]
    write_text(path, json.dumps(number) + "\n")
    return number


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, (list, tuple)) else value


def _without_step(row: Row) -> tuple[dict[str, float], int]:
    return {name: value for name, value in row.items() if name != STEP}, round(row[STEP])


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
