"""Facts about the machine and the installed versions, for reports."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mien
from mien.cores import usable_cores

PACKAGES = {  # the first one that is installed
    "numpy": ("numpy",),
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino"),
}


def machine_facts() -> dict[str, object]:
    """Return the processor, the operating system and the versions that matter for results, as plain data."""
    return {
        "mien": mien.__version__,
        "python": platform.python_version(),
        **{name: package_version(*packages) for name, packages in PACKAGES.items()},
        "platform": platform.platform(),
        "processor": processor(),
        "cores": usable_cores(),
    }


def processor() -> str:
    """Return the processor's name and its vector instruction sets."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    parts = dict(line.split(":", 1) for line in lines if ":" in line)
    known = {key.strip(): value.strip() for key, value in parts.items()}
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    found = [flag for flag in wanted if flag in known.get("flags", "").split()]
    return f"{known.get('model name', platform.machine())} ({', '.join(found) or 'no AVX2'})"


def git_commit() -> str:
    """Return the commit of the checkout mien runs from, with "+" if it was changed; empty outside a checkout."""
    here = Path(__file__).parent
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name, folder=here)  # not that of a project around a venv
        commit = _git("rev-parse", "--short=12", "HEAD", folder=here)
        return commit + ("+" if _git("status", "--porcelain", "--", ".", folder=here) else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def package_version(*packages: str) -> str:
    """Return the version of the first of some packages that is installed, with its name unless it comes first."""
    for package in packages:
        with suppress(PackageNotFoundError):
            return version(package) if package == packages[0] else f"{version(package)} ({package})"
    return "not installed"


def _git(*arguments: str, folder: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()
