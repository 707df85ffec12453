"""ONNX Runtime without telemetry, and silent about messages that users can do nothing about."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy.typing as npt

from mien.cores import usable_cores
from mien.errors import ModelError

# Since 1.31 it notes a device id and each use in a database of its own, with an address to send them to, unless this
# is set before it is imported. Faces are nobody's business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

onnxruntime.set_default_logger_severity(3)  # errors only

__all__ = ["Session", "Tensor", "onnxruntime", "reason_of"]

_SESSIONS: WeakSet[Session] = WeakSet()  # of this process


LONGEST_REASON = 200  # characters
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


class Session:
    """An ONNX file loaded on the CPU. It may be shared between threads, pickled, and used after a fork.

    Args:
        path: The file.
        threads: Threads of ONNX Runtime; 0 for one per core that this process may use.

    Raises:
        ModelError: ONNX Runtime cannot load the file.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        self._path, self._threads = path, threads
        self._session: onnxruntime.InferenceSession | None = _load(path, threads)
        self.inputs = [Tensor(found.name, found.type, found.shape) for found in self._session.get_inputs()]
        self.outputs = [Tensor(found.name, found.type, found.shape) for found in self._session.get_outputs()]
        _SESSIONS.add(self)

    def __reduce__(self) -> tuple[Callable[..., Session], tuple[Path]]:
        return partial(Session, threads=self._threads), (self._path,)

    def run(self, outputs: list[str], inputs: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Return the named outputs of the graph."""
        session = self._session
        if session is None:
            session = self._session = _load(self._path, self._threads)
        return list(session.run(outputs, dict(inputs)))

    def abandon(self) -> None:
        """Open the file again on the next run, and never close the old session: a fork has lost its threads."""
        if self._session is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))  # closing it would wait for them, and crash
            self._session = None


def reason_of(error: Exception) -> str:
    """Return an error of ONNX Runtime as a short line, with the next step where its cause is known."""
    text = " ".join(str(error).split())
    if found := re.search(r"Opset (\d+) is under development", text):
        return f"it uses version {found[1]} of ONNX's operators, which is too new; export it with opset_version=17"
    if found := re.search(r"(\S+?)\(-?\d+\) is not a registered function/op", text):
        return f"it uses the operator {found[1]}, which is not in ONNX; export it with ONNX's own operators"
    text = _FRAMING.sub("", text)
    reason = text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 1]}…"
    return f"{reason.rstrip('. ')}; export it again"


def _load(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # ONNX Runtime's own choice, one thread per physical core, heeds no limit of the process.
    usable = usable_cores()
    options.intra_op_num_threads = threads or (usable if usable < (os.cpu_count() or 1) else 0)
    # One call's peak is small; without the arena, memory does not stay at the largest batch ever seen.
    options.enable_cpu_mem_arena = False
    # Its threads would spin after each face and take the cores from the detector, which runs then.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        raise ModelError(f"ONNX Runtime cannot load {path}: {reason_of(error)}") from error


def _abandon_sessions() -> None:
    for session in list(_SESSIONS):
        session.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_sessions)
