"""Files of detectors that mien does not ship."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def yunet_file() -> Path:
    """Return YuNet's file, or skip the test."""
    data = os.environ.get("MIEN_DATA")
    found = sorted(Path(data, "detectors").glob("*yunet*.onnx")) if data else []
    if given := os.environ.get("MIEN_YUNET"):
        return Path(given)
    if not found:
        pytest.skip("needs YuNet's file: set MIEN_YUNET to it, or MIEN_DATA to the folder with detectors/*yunet*.onnx")
    return found[0]
