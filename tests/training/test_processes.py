"""Several processes train as one: the same weights and figures, one voice, and one end."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file

import ranks
from mien.cores import usable_cores
from mien.data.prepared import prepare
from mien.errors import ConfigError, RunError
from mien.nets.nets import NETS
from mien.training import Run
from mien.training.loss import HeadLoss, training_loss
from mien.training.processes import agreed, check_alike, check_shared, new_fabric, together, torchrun
from mien.training.targets import Classes, Distributions, Targets
from ranks import exact_config, exact_dataset
from runs import EPOCHS, finished

SCRIPT = ranks.__file__
SECONDS = 400  # on a busy machine

several = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or usable_cores() < 2 or shutil.which("taskset") is None,
    reason="needs Linux, two cores and taskset, which gives each process one thread",
)


def command(*words: object, cores: int) -> list[str]:
    """Return a command that is bound to as many cores as it has processes, each of which takes one thread then."""
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    return ["taskset", "-c", ",".join(map(str, chosen)), *map(str, words)]


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **changes}


def torchrun_words(*options: object) -> list[object]:
    return [sys.executable, "-m", "torch.distributed.run", *options]


def outcomes(folder: Path, case: str) -> list[dict[str, Any]]:
    return [json.loads((folder / f"{case}-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module", autouse=True)
def plain_net() -> Iterator[None]:
    """The net of `ranks` has a name while these tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETS, "plain", ranks.plain)
        yield


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on two processes that mien starts: all cases, one of which was killed before."""
    folder = tmp_path_factory.mktemp("two")
    words = [sys.executable, SCRIPT, folder, 2]
    killed = subprocess.run(
        command(*words, "killed", cores=2), capture_output=True, text=True, env=environment(), timeout=SECONDS
    )
    assert json.loads((folder / "killed-0.json").read_text())["error"].startswith("another process of this training")
    assert killed.returncode in (0, -9)  # the script ends by itself, or Fabric ends it
    cases = ["even", "odd", "not a number", "apart", "other data", "too little data", "whole", "resumed", "tiny"]
    subprocess.run(command(*words, *cases, cores=2), check=True, env=environment(), timeout=SECONDS)
    return folder


@pytest.fixture(scope="module")
def one(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Run]:
    """The same runs on one process."""
    folder = tmp_path_factory.mktemp("one")
    sizes = {"even": 32, "odd": 31}
    return {name: finished(exact_config(size), exact_dataset(), folder / name) for name, size in sizes.items()}


def differences(ours: Path, theirs: Path) -> dict[str, float]:
    """Return the largest difference of each tensor of two runs' checkpoints."""
    first, second = (load_file(folder / "last.safetensors") for folder in (ours, theirs))
    assert first.keys() == second.keys()
    return {name: float((first[name] - second[name]).abs().max()) for name in first}


@several
@pytest.mark.slow
@pytest.mark.parametrize("case", ["even", "odd"])
def test_two_processes_train_as_one(two: Path, one: Mapping[str, Run], case: str) -> None:
    """With an odd batch their shares differ, and images without votes are never shared evenly."""
    assert max(differences(two / case, one[case].folder).values()) < 1e-4
    ours, theirs = Run.open(two / case).metrics(), one[case].metrics()
    assert len(exact_dataset().split("valid")) % 2 == 1
    for row, expected in zip(ours, theirs, strict=True):
        for key in ("train_loss", "train_cross_entropy", "valid_loss"):
            assert row[key] == pytest.approx(expected[key], abs=1e-5)
        for key in ("valid_accuracy", "valid_balanced_accuracy"):
            assert row[key] == expected[key]


@several
@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("not a number", "the loss became nan in epoch 1; try a smaller learning_rate"),
        ("apart", "the run folder is not the same on all nodes: process 1 on "),
        ("other data", "process 1 on "),
        ("too little data", "dataset 'drawn' has no 'train' split; it has valid (in process 1)"),
    ],
)
def test_an_error_of_one_process_ends_all_and_is_printed_once(two: Path, case: str, message: str) -> None:
    first, second = outcomes(two, case)
    assert first["error"].startswith(message)
    assert (first["reported"], second["reported"]) == (False, True)
    if case == "other data":
        assert "has another dataset than process 0" in first["error"]


@several
@pytest.mark.slow
def test_a_run_whose_process_was_killed_resumes_bit_for_bit(two: Path) -> None:
    assert outcomes(two, "resumed") == [{}, {}]
    assert set(differences(two / "whole", two / "killed").values()) == {0.0}
    assert [row["epoch"] for row in Run.open(two / "killed").metrics()] == list(range(1, EPOCHS + 1))


@several
@pytest.mark.slow
def test_torchrun_trains_as_the_processes_that_mien_starts(two: Path, tmp_path: Path) -> None:
    prepare(exact_dataset(), tmp_path / "faces.npz")
    settings = [
        f"{key}={value}"
        for key, value in (
            ("batch_size", 32), ("warmup_epochs", 1), ("ema_decay", 0.9), ("precision", "32-true"),
            ("stages", "[{size=16,epochs=2,augment=0}]"), ("preprocess.size", 16), ("preprocess.normalize", "signed"),
        )
    ]  # fmt: skip
    recipe = [word for setting in settings for word in ("--set", setting)]
    recipe = ["plain.toml", "--set", "net=tiny", *recipe]
    (tmp_path / "plain.toml").write_text('net = "tiny"\n')
    words = torchrun_words("--nproc-per-node", 2, "--master-port", free_port(), "-m", "--", "mien", "train", *recipe)
    done = subprocess.run(
        command(*words, "--data", "faces.npz", cores=2),
        capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch   1") == 1
    (folder,) = (tmp_path / "runs").iterdir()  # of one name, though each process has its own clock
    assert (folder / "tiny.onnx").exists()
    assert Run.open(folder).environment["devices"] == 2
    assert set(differences(folder, two / "tiny").values()) == {0.0}


class Machine(NamedTuple):
    """A stand-in for a machine: the words that run a command there, its address and network interface."""

    words: list[str]
    address: str
    interface: str


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    """Two network namespaces, joined by a cable, where they can be made: by root on Linux; else this machine twice."""
    names, cables = ([f"mien-{side}{os.getpid()}" for side in sides] for sides in ("ab", "cd"))
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        made = []
        for i, (name, cable) in enumerate(zip(names, cables, strict=True), start=1):
            ip("link", "set", cable, "netns", name)
            ip("-n", name, "addr", "add", f"10.77.0.{i}/24", "dev", cable)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", cable, "up")
            ip("netns", "exec", name, "true")
            made.append(Machine(["ip", "netns", "exec", name], f"10.77.0.{i}", cable))
        yield made
    except (OSError, subprocess.CalledProcessError):
        yield [Machine([], "127.0.0.1", "lo")] * 2
    finally:
        for name in names:
            with suppress(OSError, subprocess.CalledProcessError):
                ip("netns", "del", name)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@several
@pytest.mark.slow
def test_two_machines_train_as_the_processes_that_mien_starts(
    two: Path, machines: list[Machine], tmp_path: Path
) -> None:
    """They share a disk, but not the folder that they start in."""
    port, started = free_port(), []
    for i, machine in enumerate(machines):
        words = torchrun_words(
            "--nnodes", 2, "--nproc-per-node", 1, "--rdzv-backend", "c10d", "--rdzv-id", "test",
            "--rdzv-endpoint", f"{machines[0].address}:{port}", "--rdzv-conf", f"is_host={i == 0}",
            "--local-addr", machine.address, SCRIPT, tmp_path, 0, "even", "apart",
        )  # fmt: skip
        own = environment(GLOO_SOCKET_IFNAME=machine.interface)
        started.append(subprocess.Popen([*machine.words, *command(*words, cores=1)], env=own))
    assert [each.wait(SECONDS) for each in started] == [0, 0]
    assert set(differences(tmp_path / "even", two / "even").values()) == {0.0}
    assert outcomes(tmp_path, "apart")[1]["error"].startswith("the run folder is not the same on all nodes")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def by_torchrun(monkeypatch: pytest.MonkeyPatch, *, local: int, world: int) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("LOCAL_WORLD_SIZE", local), ("WORLD_SIZE", world)):
        monkeypatch.setenv(name, str(value))


def test_machines_start_as_many_processes_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torchrun() is None
    by_torchrun(monkeypatch, local=2, world=4)
    assert torchrun() == (2, 4)
    by_torchrun(monkeypatch, local=2, world=3)
    with pytest.raises(ConfigError, match="torchrun started 2 of 3 processes on this machine; start as many on each"):
        torchrun()


def test_devices_are_those_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    by_torchrun(monkeypatch, local=2, world=4)
    with pytest.raises(ConfigError, match=r"torchrun started 2 .* --devices says 3; leave out --devices"):
        new_fabric(3)


def test_one_process_agrees_with_itself(tmp_path: Path) -> None:
    fabric = Fabric(devices=1, accelerator="cpu")
    assert agreed(fabric, lambda: 7) == 7
    check_alike(fabric, {"recipe": "a"})
    check_shared(fabric, tmp_path, ["nothing"])
    with pytest.raises(RunError, match="why") as caught, together(fabric):
        raise RunError("why")
    assert not caught.value.reported


def test_losses_of_shares_add_up_to_that_of_the_batch() -> None:
    """Whatever each process gets: shares of 3 and 8 images, the first without a vote that counts."""
    torch.manual_seed(0)
    classes = torch.tensor([0, -100, 1, 2, 2, -100, 0, 1, 2, 0, -100])
    votes = Distributions(torch.rand(11, 8).softmax(1), torch.tensor([0.0] * 3 + [1, 0, 1, 1, 1, 0, 0, 1]))
    taught = Distributions(torch.rand(11, 3).softmax(1), torch.ones(11))
    targets = Targets({"mine": Classes(classes), "ferplus": votes}, taught={"mine": taught})
    logits = {"mine": torch.randn(11, 3), "ferplus": torch.randn(11, 8)}
    losses = {"mine": HeadLoss(1.0, None, 0.3, 2.0), "ferplus": HeadLoss(weight=0.4)}
    whole = training_loss(logits, targets, losses, smoothing=0.1)
    divisors = [count / 2 for count in targets.counts()]
    parts = []
    for own in (torch.arange(3), torch.arange(3, 11)):
        share = targets.rows(own).divided_by(divisors)
        parts.append(training_loss({name: each[own] for name, each in logits.items()}, share, losses, smoothing=0.1))
    assert float(sum(parts)) / 2 == pytest.approx(float(whole), abs=1e-6)
