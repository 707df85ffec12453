"""ONNX Runtime without telemetry, and silent about messages that users can do nothing about."""

from __future__ import annotations

import os
from pathlib import Path

from mien.errors import ModelError

# Since 1.31 it notes a device id and each use in a database of its own, with an address to send them to, unless this
# is set before it is imported. Faces are nobody's business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

onnxruntime.set_default_logger_severity(3)  # errors only

__all__ = ["onnxruntime", "open_session"]


def open_session(path: Path, *, threads: int = 0) -> onnxruntime.InferenceSession:
    """Load an ONNX file on the CPU.

    Args:
        path: The file.
        threads: Threads of ONNX Runtime; 0 for one per core.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # One call's peak is small; without the arena, memory does not stay at the largest batch ever seen.
    options.enable_cpu_mem_arena = False
    # Its threads would spin after each face and take the cores from the detector, which runs then.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        raise ModelError(f"ONNX Runtime cannot load {path}: {str(error).splitlines()[0]}") from error
