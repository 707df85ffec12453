"""Several processes that share each batch, on one machine or more, and act as one (extra: train).

Fabric starts those of `--devices`. torchrun starts its own, on several machines too. What one of them measures or
decides, all take over; an error of one ends all. Without further processes all functions act on this one alone.

See docs/decisions/0050.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, distributed

from mien.cores import usable_cores
from mien.errors import ConfigError, MienError, RunError
from mien.files import sha256_of

T = TypeVar("T")
PATIENCE = 3  # looks at the run folder, one second apart: network file systems keep old answers for a moment
CLOSED = ("closed", "reset", "broken pipe", "refused", "timed out")  # in errors of gloo and NCCL about a lost process


@atexit.register
def _disconnect() -> None:
    """Disconnect from the other processes: the threads that do, left to the end of the process, may abort that."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


class Torchrun(NamedTuple):
    """The number of processes that torchrun has started: on this machine, and on all."""

    local: int
    world: int


def torchrun() -> Torchrun | None:
    """Return the numbers of processes if torchrun started this one, else None.

    Raises:
        ConfigError: The machines have different numbers.
    """
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        return None
    found = Torchrun(int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"]))
    if found.world % found.local:
        raise ConfigError(
            f"torchrun started {found.local} of {found.world} processes on this machine; start as many on each machine"
        )
    return found


def new_fabric(devices: int | None = None, precision: Literal["32-true", "bf16-mixed"] = "32-true") -> Fabric:
    """Return Fabric on a number of graphics cards, or of processes where there are none.

    The processes of torchrun are connected at once; further processes of this machine are started by `launch`.

    Args:
        devices: The number on this machine; when None that of torchrun, or else 1.
        precision: Numeric precision.

    Raises:
        ConfigError: There are not as many graphics cards or, where there are none, cores; or torchrun started another
            number of processes.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # else each process prints its number
    started = torchrun()
    if started is None:
        n, cards = devices or 1, torch.cuda.device_count()
        available = cards or usable_cores()
        if n > available:
            raise ConfigError(f"{n} devices (--devices) are more than this process may use; expected 1 to {available}")
        return Fabric(precision=precision, devices=n, strategy="ddp" if n > 1 else "auto")
    local, world = started
    if devices not in (None, local):
        raise ConfigError(
            f"torchrun started {local} process(es) on this machine, --devices says {devices}; leave out --devices"
        )
    if torch.cuda.is_available() and local > (cards := torch.cuda.device_count()):
        raise ConfigError(f"torchrun started {local} processes for {cards} graphics card(s); set --nproc-per-node")
    fabric = Fabric(
        precision=precision, devices=local, num_nodes=world // local, strategy="ddp" if world > 1 else "auto"
    )
    fabric.launch()
    return fabric


def local_processes(fabric: Fabric) -> int:
    """Return how many of the processes run on this machine."""
    started = torchrun()
    return int(fabric.world_size) if started is None else started.local


def joined(fabric: Fabric) -> bool:
    """Return whether there are further processes, which are connected."""
    return fabric.world_size > 1 and distributed.is_initialized()


def gathered(fabric: Fabric, value: T) -> list[T]:
    """Return the value of each process, in order of their ranks."""
    if not joined(fabric):
        return [value]
    values = [value] * fabric.world_size
    distributed.all_gather_object(values, value)
    return values


def agreed(fabric: Fabric, decide: Callable[[], T]) -> T:
    """Return the value of a function that the first process calls; its error is raised in all."""
    values: list[T] = []
    with together(fabric):
        if fabric.is_global_zero:
            values.append(decide())
    return gathered(fabric, values)[0][0]


@contextmanager
def together(fabric: Fabric) -> Iterator[None]:
    """Wait for all processes at the end of the block; an error of ours in one is raised in all, and printed once.

    The processes must not exchange anything within the block.
    """
    failure: MienError | None = None
    try:
        yield
    except MienError as error:
        if not joined(fabric):
            raise
        failure = error
    if not joined(fabric):
        return
    texts = gathered(fabric, None if failure is None else str(failure))
    if any(text is not None for text in texts):
        rank, text = next((rank, text) for rank, text in enumerate(texts) if text is not None)
        raise in_all(fabric, failure or RunError(f"{text} (in process {rank})"))


def in_all(fabric: Fabric, error: MienError) -> MienError:
    """Return an error that all processes raise, so that only the first prints it."""
    error.reported = not fabric.is_global_zero
    return error


@contextmanager
def noticing_losses(fabric: Fabric, folder: Path) -> Iterator[None]:
    """Turn the failure of a connection, since another process has ended, into one line.

    Raises:
        RunError: A connection failed.
    """
    try:
        yield
    except RuntimeError as error:
        if not (joined(fabric) and any(word in str(error).lower() for word in CLOSED)):
            raise
        raise RunError(
            "another process of this training has ended; its own message, if it had time for one, says why; resume the "
            f"training: mien train --resume {folder}"
        ) from error


def sums(fabric: Fabric, numbers: Sequence[float]) -> list[float]:
    """Return numbers, summed over all processes in float64."""
    if not joined(fabric):
        return list(numbers)
    total = torch.tensor(numbers, dtype=torch.float64, device=fabric.device)
    distributed.all_reduce(total)
    return list(total.tolist())


def copy_from_first(fabric: Fabric, tensors: Iterable[Tensor]) -> None:
    """Replace tensors by those of the first process, in place."""
    if joined(fabric):
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)


def check_alike(fabric: Fabric, facts: Mapping[str, str]) -> None:
    """Check that all processes know the same facts: texts by names such as "recipe".

    Raises:
        RunError: They don't; the message names the first that differs.
    """
    host, first = (found := gathered(fabric, (socket.gethostname(), facts)))[0]
    for name in first:
        for rank, (other, theirs) in enumerate(found):
            if theirs[name] != first[name]:
                text = (
                    f"process {rank} on {other} has another {name} than process 0 on {host}; start all of them by the "
                    "same command, with the same data and version of mien"
                )
                raise in_all(fabric, RunError(text))


def check_shared(fabric: Fabric, folder: Path, files: Sequence[str]) -> None:
    """Check that all processes see the same files in a folder, of which some may be missing.

    Raises:
        RunError: They don't.
    """
    if not joined(fabric):
        return
    for attempt in range(PATIENCE):
        if attempt:
            time.sleep(1)
        host, first = (found := gathered(fabric, (socket.gethostname(), _digest(folder, files))))[0]
        others = [f"process {rank} on {other}" for rank, (other, digest) in enumerate(found) if digest != first]
        if not others:
            return
    text = (
        f"the run folder is not the same on all nodes: {others[0]} finds other files in {folder} than process 0 on "
        f"{host}; name a folder on storage that all of them share (--run)"
    )
    raise in_all(fabric, RunError(text))


def _digest(folder: Path, files: Sequence[str]) -> str:
    digests = []
    for name in files:
        with suppress(OSError):
            digests.append(f"{name} {sha256_of(folder / name)}")
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
