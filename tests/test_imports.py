"""Importing mien is quick: heavy packages load on first use."""

import ast
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mien

PACKAGE = Path(mien.__file__).parent

HEAVY = (
    "torch",
    "matplotlib",
    "tkinter",
    "onnx",
    "google.protobuf",
    "lightning_fabric",
    "sklearn",
    "safetensors",
    "h5py",
    "keras",
    "PIL",
    "av",
)


@pytest.mark.parametrize("module", ["mien", "mien.cli.commands"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def assert_no_trace(code: str, home: Path) -> None:
    """Run a program that uses ONNX Runtime, which would note a device's id and each use in the home folder."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    home.mkdir()
    subprocess.run([sys.executable, "-c", code], check=True, env=kept | {"HOME": str(home)})
    assert list(home.rglob("*")) == []


def test_recognising_leaves_no_trace_in_the_home_folder(tmp_path: Path) -> None:
    code = "import numpy, mien; mien.Recognizer('whole').recognize(numpy.zeros((48, 48, 3), 'uint8'))"
    assert_no_trace(code, tmp_path / "home")


def test_quantising_leaves_no_trace_in_the_home_folder(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    code = f"""
import numpy
from mien.models import shipped_dir, write_quantized
faces = numpy.random.default_rng(0).integers(0, 256, (2, 48, 48, 1), "uint8")
write_quantized(shipped_dir() / "mini.onnx", {str(tmp_path / "fast.onnx")!r}, list(faces), name="fast")
"""
    assert_no_trace(code, tmp_path / "home")


PACKAGES = ["mien", *sorted(f"mien.{path.parent.name}" for path in PACKAGE.glob("*/__init__.pyi"))]


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_there_and_explain_themselves(package: str) -> None:
    if package in ("mien.nets", "mien.training"):
        pytest.importorskip("torch")
    module = importlib.import_module(package)
    assert list(module.__all__) == sorted(module.__all__)
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            assert inspect.getdoc(thing), f"{package}.{name} has no docstring"


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_imports_none_of_its_modules(package: str) -> None:
    code = f"import sys, {package}; print(*[name for name in sys.modules if name.startswith('mien.')])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ([] if package == "mien" else [package])


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_is_hidden_by_another_module_of_that_name(package: str) -> None:
    folder = PACKAGE.joinpath(*package.split(".")[1:])
    stub = ast.parse((folder / "__init__.pyi").read_text(encoding="utf-8"))
    exported = {
        alias.name: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    modules = {path.stem for path in folder.glob("*.py")}
    assert {name for name, module in exported.items() if name in modules and module not in (name, None)} == set()
