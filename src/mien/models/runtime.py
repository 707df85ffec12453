"""ONNX Runtime without telemetry, and silent about messages that users can do nothing about."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy.typing as npt

from mien.cores import usable_cores
from mien.errors import ConfigError, ModelError
from mien.settings import Range
from mien.structures import check_count

# Since 1.31 it notes a device id and each use in a database of its own, with an address to send them to, unless this
# is set before it is imported. Faces are nobody's business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

onnxruntime.set_default_logger_severity(3)  # errors only

__all__ = ["DEVICES", "Session", "Tensor", "as_model_error", "onnxruntime", "provider_of", "usable_devices"]

# Execution providers of ONNX Runtime by the name of the device, in the order in which "auto" looks for them.
# Docs: https://onnxruntime.ai/docs/execution-providers/
DEVICES = {
    "cuda": "CUDAExecutionProvider",  # the package onnxruntime-gpu
    "coreml": "CoreMLExecutionProvider",  # in the package for macOS
    "directml": "DmlExecutionProvider",  # the package onnxruntime-directml
    "openvino": "OpenVINOExecutionProvider",  # the package onnxruntime-openvino
    "cpu": "CPUExecutionProvider",
}
CPU = DEVICES["cpu"]

_SESSIONS: WeakSet[Session] = WeakSet()  # of this process


MAX_THREADS = 1024
MAX_REASON = 200  # characters
_FRAMING = re.compile(  # status, file, place in the source code with its signature, and advice to programmers
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .*? failed: ?|/\S+\.(?:h|cc):\d+ .*?\) (?=[A-Z])"
    r"|(?:This is an invalid model\. )|Please fix either .*"
)


class Tensor(NamedTuple):
    """An input or output of a graph: its name, ONNX Runtime's name of its type, and its shape, where free axes are not
    numbers."""

    name: str
    type: str
    shape: list[int | str | None]


def usable_devices() -> list[str]:
    """Return the devices that the installed ONNX Runtime has providers for, in the order of `DEVICES`."""
    there = onnxruntime.get_available_providers()
    return [name for name, provider in DEVICES.items() if provider in there]


def provider_of(device: str) -> str:
    """Return ONNX Runtime's provider for a device.

    Args:
        device: Name in `DEVICES`, or "auto" for the first of them that is usable.

    Raises:
        ConfigError: Unknown, or the installed ONNX Runtime has no provider for it.
    """
    usable = usable_devices()
    if device == "auto":
        return DEVICES[usable[0]]
    if device not in DEVICES:
        raise ConfigError(f"unknown device '{device}'; choose from auto, {', '.join(DEVICES)}")
    if device not in usable:
        raise ConfigError(
            f"the installed ONNX Runtime cannot use {device}, only {', '.join(usable)}; install the package of ONNX "
            "Runtime that has it, see docs/guides/scale.md, or leave out --device"
        )
    return DEVICES[device]


class Session:
    """A loaded ONNX file. It may be shared between threads, pickled, and used after a fork.

    Args:
        path: The file.
        threads: Threads of ONNX Runtime on the CPU; 0 for one per core that this process may use.
        device: As for `provider_of`.
        content: The file's bytes, where it is not on this machine; see `portable`.

    Raises:
        ModelError: ONNX Runtime cannot load the file, or not on that device.
        ConfigError: No such device, or a number of threads out of range.
        InputError: The number of threads is not an integer.
    """

    def __init__(self, path: Path, *, threads: int = 0, device: str = "cpu", content: bytes | None = None) -> None:
        check_count("threads", threads)
        Range(0, MAX_THREADS).check("threads", threads)
        self._path, self._content, self._threads, self._provider = path, content, threads, provider_of(device)
        self._session: onnxruntime.InferenceSession | None = _load(path, content, threads, self._provider)
        self._device = device
        self.inputs = [Tensor(found.name, found.type, found.shape) for found in self._session.get_inputs()]
        self.outputs = [Tensor(found.name, found.type, found.shape) for found in self._session.get_outputs()]
        _SESSIONS.add(self)

    def __reduce__(self) -> tuple[Callable[..., Session], tuple[Path]]:
        return partial(Session, threads=self._threads, device=self._device, content=self._content), (self._path,)

    def portable(self) -> tuple[Callable[..., Session], tuple[Path]]:
        """Return what `__reduce__` does, with the file's bytes, so that another machine can load it without the file.

        Raises:
            ModelError: The file is gone.
        """
        try:
            content = self._path.read_bytes() if self._content is None else self._content
        except OSError as error:
            raise ModelError(f"cannot read {self._path}: {error.strerror}; put it back") from error
        return partial(Session, threads=self._threads, device=self._device, content=content), (self._path,)

    @property
    def device(self) -> str:
        """Name of the device that it runs on, in `DEVICES`."""
        return next(name for name, provider in DEVICES.items() if provider == self._provider)

    def run(self, outputs: list[str], inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Return the named outputs of the graph."""
        session = self._session
        if session is None:
            session = self._session = _load(self._path, self._content, self._threads, self._provider)
        return list(session.run(outputs, dict(inputs)))

    def abandon(self) -> None:
        """Open the file again on the next run, and never close the old session: a fork has lost its threads."""
        if self._session is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))  # closing it would wait for them, and crash
            self._session = None


@contextmanager
def as_model_error(path: Path) -> Iterator[None]:
    """Raise an exception of the block, which runs a model on input as its spec describes, as one of the model.

    Raises:
        ModelError: The graph does not match the spec, or memory does not suffice.
    """
    try:
        yield
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        if "bad_alloc" in str(error) or "allocate memory" in str(error):
            raise ModelError(f"{path} needs more memory than there is; use a smaller model") from error
        raise ModelError(f"{path} rejects the input that its spec describes: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """Return an error of ONNX Runtime as a short line, with the next step where its cause is known."""
    text = " ".join(str(error).split())
    if found := re.search(r"Opset (\d+) is under development", text):
        return f"it uses version {found[1]} of ONNX's operators, which is too new; export it with opset_version=17"
    if found := re.search(r"(\S+?)\(-?\d+\) is not a registered function/op", text):
        return f"it uses the operator {found[1]}, which is not in ONNX; export it with ONNX's own operators"
    text = _FRAMING.sub("", text)
    reason = text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 1]}…"
    return f"{reason.rstrip('. ')}; export it again"


def _load(path: Path, content: bytes | None, threads: int, provider: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # ONNX Runtime's own choice, one thread per physical core, heeds no limit of the process.
    usable = usable_cores()
    options.intra_op_num_threads = threads or (usable if usable < (os.cpu_count() or 1) else 0)
    # One call's peak is small; without the arena, memory does not stay at the largest batch ever seen.
    options.enable_cpu_mem_arena = False
    # Its threads would spin after each face and take the cores from the detector, which runs then.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        model = str(path) if content is None else content
        session = onnxruntime.InferenceSession(model, options, providers=list(dict.fromkeys([provider, CPU])))
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        raise ModelError(f"ONNX Runtime cannot load {path}: {reason_of(error)}") from error
    if provider not in session.get_providers():  # it falls back to the CPU in silence
        device = next(name for name, of_device in DEVICES.items() if of_device == provider)
        raise ModelError(f"ONNX Runtime cannot use {device} on this machine; check its driver, or leave out --device")
    return session


def _abandon_sessions() -> None:
    for session in list(_SESSIONS):
        session.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_sessions)
