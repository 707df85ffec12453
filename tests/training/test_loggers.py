"""Loggers get the settings and the metrics of every epoch, continue with the run, and cost no training."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mien.errors import ConfigError, RunError
from mien.training import Run
from mien.training.fit import Silent
from mien.training.loggers import IDS, check_loggers
from runs import EPOCHS, Interrupted, Interrupter, small_config, small_dataset


class Service:
    """Stand-in for a service: what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.fails = False

    def tell(self, *what: Any) -> None:
        if self.fails:
            raise OSError("no network")
        self.told.append(what)

    def steps(self) -> list[int]:
        return [what[2] for what in self.told if what[0] == "log"]


@pytest.fixture
def service() -> Service:
    return Service()


def installed(monkeypatch: pytest.MonkeyPatch, name: str, **content: Any) -> None:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch, service: Service) -> Service:
    """The interface of Weights & Biases that is used: https://docs.wandb.ai/ref/python."""

    def init(**options: Any) -> SimpleNamespace:
        service.tell("init", options)
        return SimpleNamespace(
            log=lambda values, step: service.tell("log", values, step),
            finish=lambda exit_code: service.tell("finish", exit_code),
        )

    installed(monkeypatch, "wandb", init=init)
    return service


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch, service: Service) -> Service:
    """The interface of MLflow that is used: https://mlflow.org/docs/latest/api_reference/python_api."""
    known: dict[str, str] = {}

    def search_runs(filter_string: str, output_format: str) -> list[SimpleNamespace]:
        number = filter_string.split("'")[1]
        return [SimpleNamespace(info=SimpleNamespace(run_id=known[number]))] if number in known else []

    def start_run(run_id: str | None = None, run_name: str = "", tags: dict[str, str] | None = None) -> None:
        known.update(dict.fromkeys((tags or {}).values(), "run-1"))
        service.tell("start", run_id or run_name)

    installed(
        monkeypatch, "mlflow", search_runs=search_runs, start_run=start_run,
        set_experiment=lambda name: service.tell("experiment", name),
        log_params=lambda params: service.tell("params", params),
        log_metrics=lambda values, step: service.tell("log", values, step),
        end_run=lambda status: service.tell("end", status),
    )  # fmt: skip
    return service


def stopped_and_resumed(folder: Path, logger: str) -> Run:
    """Return a run that was stopped in its third epoch, and resumed."""
    run = Run.start(small_config(), small_dataset(), folder)
    with pytest.raises(Interrupted):
        run.fit(Interrupter(2, 1), log=[logger])
    run = Run.open(folder, small_dataset())
    run.fit(log=[logger])
    return run


def test_weights_and_biases_continues_its_run(wandb: Service, tmp_path: Path) -> None:
    run = stopped_and_resumed(tmp_path / "mine", "wandb")
    assert [what[0] for what in wandb.told] == ["init", "log", "log", "finish", "init", "log", "log", "finish"]
    first, second = (what[1] for what in wandb.told if what[0] == "init")
    assert first["id"] == second["id"]
    assert (first["project"], first["name"], first["resume"]) == ("mien", "mine", "allow")
    assert first["config"]["learning_rate"] == run.config.learning_rate
    assert first["config"]["augment.rotation"] == run.config.augment.rotation
    assert json.loads(first["config"]["stages"])[0]["size"] == 16
    assert [what[1] for what in wandb.told if what[0] == "finish"] == [1, 0]
    assert [{"epoch": what[2], **what[1]} for what in wandb.told if what[0] == "log"] == run.metrics()


def test_mlflow_continues_its_run(mlflow: Service, tmp_path: Path) -> None:
    run = stopped_and_resumed(tmp_path / "mine", "mlflow")
    assert [what[1] for what in mlflow.told if what[0] in ("start", "end")] == ["mine", "FAILED", "run-1", "FINISHED"]
    (params,) = (what[1] for what in mlflow.told if what[0] == "params")
    assert params["batch_size"] == run.config.batch_size
    assert [{"epoch": what[2], **what[1]} for what in mlflow.told if what[0] == "log"] == run.metrics()


def test_a_service_that_fails_costs_no_training(wandb: Service, tmp_path: Path) -> None:
    class Breaking(Silent):
        def step(self, epoch: int, done: int, *_: Any) -> None:
            wandb.fails = epoch > 0

    run = Run.start(small_config(), small_dataset(), tmp_path / "run")
    with pytest.warns(UserWarning, match="wandb gets no more metrics: no network; those in metrics.jsonl are complete"):
        run.fit(Breaking(), log=["wandb"])
    assert wandb.steps() == [1]
    assert len(run.metrics()) == EPOCHS


def test_a_service_that_cannot_be_reached_is_one_line_before_training(wandb: Service, tmp_path: Path) -> None:
    wandb.fails = True
    run = Run.start(small_config(), small_dataset(), tmp_path / "run")
    with pytest.raises(RunError, match="cannot log to wandb: no network; omit --log wandb, or fix the cause"):
        run.fit(log=["wandb"])
    assert run.metrics() == []


def test_without_loggers_nothing_is_told(wandb: Service, mlflow: Service, tmp_path: Path) -> None:
    run = Run.start(small_config(), small_dataset(), tmp_path / "run")
    run.fit()
    assert wandb.told == mlflow.told == []
    assert not (tmp_path / "run" / IDS).exists()


def test_unknown_and_missing_loggers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"unknown logger 'csv' .*choose from tensorboard, wandb, mlflow; metrics"):
        check_loggers(["csv"])
    monkeypatch.setattr("mien.training.loggers.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="--log mlflow needs a package that is not installed: pip install mlflow"):
        check_loggers(["mlflow"])


def test_tensorboard_reads_settings_and_metrics(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboardX.proto.event_pb2")
    run = stopped_and_resumed(tmp_path / "run", "tensorboard")
    files = sorted((tmp_path / "run" / "tensorboard").iterdir())
    parsed = [events.Event.FromString(record) for file in files for record in records(file)]
    values = [(event.step, value) for event in parsed for value in event.summary.value]
    rows = run.metrics()
    for key in rows[0].keys() - {"epoch"}:
        logged = {step: value.simple_value for step, value in values if value.tag == key}
        assert logged == {round(row["epoch"]): pytest.approx(row[key], rel=1e-6) for row in rows if key in row}
    assert [event.session_log.status for event in parsed if event.HasField("session_log") and event.step == 3] == [1]
    settings = [value.metadata.plugin_data for _, value in values if value.metadata.plugin_data.content]
    assert any(b"augment.rotation" in each.content for each in settings)


def records(file: Path) -> Iterator[bytes]:
    """Yield the records of a TFRecord file: length, its checksum, content, its checksum."""
    data, start = file.read_bytes(), 0
    while start < len(data):
        end = start + 12 + int.from_bytes(data[start : start + 8], "little")
        yield data[start + 12 : end]
        start = end + 4
