"""Checkpoints as safetensors: tensors and a JSON header, nothing that could run (extra: train).

See docs/decisions/0013.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mien.errors import MienError, RunError
from mien.files import atomic_path, refuse_pipe
from mien.models.spec import SPEC_KEY, ModelSpec, current_name
from mien.nets.nets import Net, build_net
from mien.settings import Range, checked

EpochsDone: TypeAlias = Annotated[int, Range(0, 1_000_000)]


@dataclass(frozen=True)
class Checkpoint:
    """The parts of a run that change while it trains."""

    net: Net
    average: Net  # the exponential moving average, which is exported
    optimizer: torch.optim.SGD


def save_checkpoint(path: Path, state: Checkpoint, *, spec: ModelSpec, epochs_done: int) -> None:
    """Write a checkpoint in one atomic step.

    Raises:
        OutputError: The folder is not writable or the disk is full.
    """
    tensors = {f"net.{name}": tensor for name, tensor in state.net.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in state.average.state_dict().items()}
    tensors |= {f"momentum.{name}": buffer for name, buffer in _momentum(state).items()}
    header = {SPEC_KEY: spec.to_json(), "epochs_done": str(epochs_done)}
    with atomic_path(path) as temporary:
        # A tensor's strides are not stored, and `contiguous` is a copy: loading copies back into the net's own layout.
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, temporary, metadata=header)


def load_checkpoint(path: Path, state: Checkpoint) -> int:
    """Read a checkpoint into the nets and the optimiser; return the number of epochs done.

    Raises:
        RunError: The file is damaged or of another net.
    """
    with _reading(path):
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            done = _epochs_done(file.metadata())
        _check_finite(tensors)
        momentum = _part(tensors, "momentum")
        for name, parameter in state.net.named_parameters():
            if name in momentum:
                if momentum[name].shape != parameter.shape:
                    raise ValueError(f"momentum.{name} has shape {tuple(momentum[name].shape)}")
                buffer = torch.empty_like(parameter).copy_(momentum[name])
                state.optimizer.state[parameter]["momentum_buffer"] = buffer
        state.net.load_state_dict(_part(tensors, "net"))
        state.average.load_state_dict(_part(tensors, "average"))
    return done


def epochs_done(path: Path) -> int:
    """Return the number of epochs that a checkpoint was written after.

    Raises:
        RunError: The file is damaged.
    """
    with _reading(path), safe_open(path, framework="pt") as file:
        return _epochs_done(file.metadata())


def load_average(path: Path) -> tuple[Net, ModelSpec]:
    """Return the averaged net of a checkpoint, ready for use, and its spec.

    Raises:
        RunError: There is no such file, or it is damaged.
        ModelError: Its spec is unreadable.
    """
    with _reading(path):
        with safe_open(path, framework="pt") as file:
            spec = ModelSpec.from_json(file.metadata()[SPEC_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys() if name.startswith("average.")}  # noqa: SIM118
        _check_finite(tensors)
        net = build_net(spec.arch, spec.preprocess, {h.labels.name: len(h.labels) for h in spec.heads})
        net.load_state_dict(_part(tensors, "average"))
    return net.eval(), spec


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn any exception of reading a checkpoint into a RunError of one line."""
    try:
        refuse_pipe(path)
        yield
    except MienError:
        raise
    except Exception as error:  # of safetensors, of PyTorch, of a header that was changed
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunError(f"cannot read checkpoint {path}: {reason}; expected one that `mien train` made") from error


def _epochs_done(header: Mapping[str, str] | None) -> int:
    return int(checked(EpochsDone, int((header or {})["epochs_done"]), "epochs_done"))


def _check_finite(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{name} has numbers that are not finite")


def _momentum(state: Checkpoint) -> dict[str, Tensor]:
    buffers = {}
    for name, parameter in state.net.named_parameters():
        buffer = state.optimizer.state.get(parameter, {}).get("momentum_buffer")
        if buffer is not None:
            buffers[name] = buffer
    return buffers


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = len(prefix) + 1
    return {current_name(name[start:]): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}
