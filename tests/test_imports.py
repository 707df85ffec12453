"""Importing mien is quick: what is heavy loads where it is needed."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "matplotlib", "tkinter", "onnx", "lightning_fabric", "sklearn", "safetensors")


@pytest.mark.parametrize("module", ["mien", "mien.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
