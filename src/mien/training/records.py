"""Contents of a run folder: its recipe, and the schema of environment.json and metrics.jsonl."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, cast

from mien.errors import ConfigError, MienError, RunError
from mien.files import refuse_pipe
from mien.models.spec import ModelSpec
from mien.settings import NotNegative, Positive, Range, checked, from_dict, shown
from mien.training.recipe import TrainConfig, current_settings

CONFIG = "config.json"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"

Row = dict[str, float]  # metrics of one epoch


class _DataNeeded(TypedDict):
    fingerprint: str


class DataFacts(_DataNeeded, total=False):
    """Facts of one dataset; the name, audit, and number of images dropped and fold are for readers alone."""

    path: str
    weight: Positive
    head: str | None
    reading: Mapping[str, object]
    fitted: Annotated[int, Range(0)] | None
    fold: str


class _EnvironmentNeeded(TypedDict):
    data: tuple[DataFacts, ...]
    precision: Literal["32-true", "bf16-mixed"]
    spec: Mapping[str, object]


class Environment(_EnvironmentNeeded, total=False):
    """The keys of environment.json that mien reads; versions and machine are for readers alone."""

    devices: Annotated[int, Range(1, 1024)]
    init: str
    teacher: str


class Epoch(TypedDict):
    """The keys that every line of metrics.jsonl has; all others are numbers too."""

    epoch: Annotated[int, Range(1, 1_000_000)]
    size: Annotated[int, Range(8, 1024)]
    learning_rate: NotNegative
    train_loss: float
    images_per_second: NotNegative
    seconds: NotNegative


def read_json(path: Path) -> Any:
    """Return the content of a JSON file of a run.

    Raises:
        RunError: It cannot be read, or is no JSON.
    """
    try:
        refuse_pipe(path)
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read '{path}': {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"'{path}' is damaged ({shown(str(error))})") from error


def read_run(folder: Path) -> tuple[TrainConfig, Mapping[str, Any]]:
    """Read the recipe and the environment of a run.

    Raises:
        RunError: The folder is no run, a file in it is missing or was changed, or it is of a newer version.
    """
    try:
        config, environment = _read_config(folder / CONFIG), read_environment(folder / ENVIRONMENT)
        ModelSpec.from_json(json.dumps(environment["spec"]))  # or ModelError
    except MienError as error:
        raise RunError(
            f"{folder} is not a run folder of this mien: {error}; expected one that `mien train` made, unchanged"
        ) from error
    return config, environment


def _read_config(path: Path) -> TrainConfig:
    plain = read_json(path)
    try:
        return from_dict(TrainConfig, current_settings(plain) if isinstance(plain, dict) else plain)
    except ConfigError as error:
        raise RunError(f"'{path}' is damaged ({error})") from error


def read_environment(path: Path) -> Mapping[str, Any]:
    """Read environment.json.

    Raises:
        RunError: It cannot be read, is damaged, or lacks a key.
    """
    plain = read_json(path)
    if isinstance(plain, dict) and isinstance(plain.get("data"), dict):  # of an older version, of a single dataset
        plain["data"] = [plain["data"]]
    try:
        environment = checked(Environment, plain, "")
    except ConfigError as error:
        raise RunError(f"'{path}' is damaged ({error})") from error
    if not environment["data"]:
        raise RunError(f"'{path}' is damaged ('data' is empty)")
    return cast(Mapping[str, Any], environment)


def read_metrics(path: Path) -> list[Row]:
    """Read metrics.jsonl: a row per finished epoch; none where there is no such file.

    Raises:
        RunError: It cannot be read, or a line is damaged.
    """
    if not os.path.exists(path):
        return []
    try:
        refuse_pipe(path)
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [_row(line, number) for number, line in enumerate(lines, start=1)]
        for number, (row, after) in enumerate(pairwise(rows), start=2):
            if after["epoch"] != row["epoch"] + 1:
                raise ConfigError(f"line {number} is of epoch {after['epoch']}, after epoch {row['epoch']}")
    except OSError as error:
        raise RunError(f"cannot read '{path}': {error.strerror or error}") from error
    except (ConfigError, ValueError, RecursionError) as error:
        raise RunError(
            f"'{path}' is damaged ({shown(str(error))}); restore it, or delete it: the run then goes on without the "
            "metrics of its earlier epochs"
        ) from error
    return rows


def _row(line: str, number: int) -> Row:
    where = f"line {number}"
    plain = json.loads(line)
    row = cast(Row, checked(Epoch, plain, where))
    for key, value in row.items():
        if not isinstance(value, Real) or isinstance(value, bool):
            raise ConfigError(f"{where}.{key} is {shown(value)}; expected a number")
    return row
