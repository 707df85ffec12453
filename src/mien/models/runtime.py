"""ONNX Runtime as mien uses it: without telemetry, and silent about what its users can't mend."""

from __future__ import annotations

import os

# Since 1.31 it notes a device's id and each use in a database of its own, with an address to send them to, unless this
# is set before it is imported. Faces are nobody's business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

onnxruntime.set_default_logger_severity(3)  # errors only

__all__ = ["onnxruntime"]
