"""Files of detectors that mien does not ship."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read here, since tests hide both; without MIEN_YUNET the detector "auto" is Haar in all other tests. The processes of
# pytest-xdist start with the environment of the first one, so that they find the file under another name.
FOR_WORKERS = "MIEN_TESTED_YUNET"
GIVEN, DATA = os.environ.pop("MIEN_YUNET", None) or os.environ.get(FOR_WORKERS), os.environ.get("MIEN_DATA")
if GIVEN:
    os.environ[FOR_WORKERS] = GIVEN


def yunet_file() -> Path:
    """Return YuNet's file, or skip the test."""
    found = [Path(GIVEN)] if GIVEN else sorted(Path(DATA, "detectors").glob("*yunet*.onnx")) if DATA else []
    if not found:
        pytest.skip("needs YuNet's file: set MIEN_YUNET to it, or MIEN_DATA to the folder with detectors/*yunet*.onnx")
    return found[0]
