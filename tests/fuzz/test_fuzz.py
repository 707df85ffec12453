"""A short pass of the fuzz suite, with the same inputs each time; `make fuzz` runs a long one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("hypothesis")
pytest.importorskip("torch")
pytest.importorskip("h5py")
if sys.platform == "win32":
    pytest.skip("limits of processes are POSIX's", allow_module_level=True)

from fuzz import seeds
from fuzz.fuzzing import fuzz
from fuzz.strategies import STRATEGIES
from fuzz.worker import Case, Outcome, Worker

INPUTS = 12  # of each door
PICTURES = {f"data/{i}.png": seeds.pictures()["a.png"] for i in range(6)}
VALID: dict[str, Callable[[], Case]] = {
    "picture": lambda: Case(seeds.pictures(), ("moving.webp",)),
    "video": lambda: Case(seeds.videos(), ("a.mp4",)),
    "sound": lambda: Case(seeds.recordings(), ("a.wav",)),
    "spec": lambda: Case({"a.onnx": seeds.model_with(seeds.spec())}, ("a.onnx",)),
    "model": lambda: Case({"a.onnx": seeds.model_with(seeds.spec())}, ("a.onnx",)),
    "keras": lambda: Case({"a.h5": seeds.keras_with(seeds.keras_config())}, ("a.h5",)),
    "prepared": lambda: Case({"a.npz": seeds.zipped(seeds.prepared())}, ("a.npz",)),
    "zip": lambda: Case({"a.zip": seeds.zipped(seeds.class_folders())}, ("a.zip",)),
    "fer2013": lambda: Case({"a.csv": seeds.as_csv(seeds.fer2013())}, ("a.csv",)),
    "ferplus": lambda: Case(
        {"a.csv": seeds.as_csv(seeds.fer2013()), "v.csv": seeds.as_csv(seeds.votes())}, ("a.csv", "v.csv")
    ),
    "table": lambda: Case({**PICTURES, "data/labels.csv": seeds.as_csv(seeds.labels())}, ("data",)),
    "audit": lambda: Case({"a.npz": seeds.zipped(seeds.audited())}, ("a.npz",)),
    "metrics": lambda: Case({"a.json": seeds.metrics().encode()}, ("a.json",)),
    "run": lambda: Case({f"run/{name}": content for name, content in seeds.run_files().items()}, ("run",)),
    "recipe": lambda: Case({}, ("base", "learning_rate=0.1")),
    "command": lambda: Case({"a.npz": seeds.zipped(seeds.prepared())}, ("data", "info", "a.npz")),
}


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as worker:
        yield worker


@pytest.mark.parametrize("door", STRATEGIES)
def test_a_door_raises_only_errors_of_ours(door: str, worker: Worker) -> None:
    found = fuzz(door, INPUTS, worker)
    assert found.inputs > INPUTS / 2
    assert not found.faults, found.first


@pytest.mark.parametrize("door", VALID)
def test_a_valid_file_is_accepted(door: str, worker: Worker) -> None:
    """Else its damaged copies would be refused for another reason."""
    outcome = worker.open(door, VALID[door]())
    assert outcome.accepted, outcome


def test_faults_are_noticed(worker: Worker) -> None:
    assert "TypeError" in worker.open("recipe", Case({}, ())).fault  # an argument is missing
    assert worker.open("picture", Case({"a.png": b""}, ("a.png",))) == Outcome()
