"""On what a run was made: machine, versions, commit; and which precision is fastest there (extra: train)."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional as F

import mien


def machine() -> dict[str, object]:
    """Return what a reader of the results must know of the machine, as plain data."""
    return {
        "mien": mien.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "opencv": version("opencv-python-headless"),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def processor() -> str:
    """Return the processor's name and the instruction sets that matter here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    found = [flag for flag in wanted if flag in facts.get("flags", "").split()]
    return f"{facts.get('model name', platform.machine())} ({', '.join(found) or 'no AVX2'})"


def git_commit() -> str:
    """Return the commit of the checkout that mien runs from, "+" appended if changed; empty outside one."""
    here = Path(__file__).parent
    try:
        commit = _git("rev-parse", "--short=12", "HEAD", folder=here)
        return commit + ("+" if _git("status", "--porcelain", "--", ".", folder=here) else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def fastest_precision() -> Literal["32-true", "bf16-mixed"]:
    """Measure a convolution both ways and return the faster precision.

    Having the instructions is not enough: AVX512-bf16 doubles the speed of some processors and halves it on others.
    """
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    full, half = _seconds(torch.float32), _seconds(torch.bfloat16)
    return "bf16-mixed" if half < 0.9 * full else "32-true"


def _seconds(dtype: torch.dtype) -> float:
    pictures = torch.randn(32, 64, 24, 24).to(dtype, memory_format=torch.channels_last).requires_grad_()
    weights = torch.randn(64, 64, 3, 3).to(dtype, memory_format=torch.channels_last).requires_grad_()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        torch.autograd.grad(F.conv2d(pictures, weights, padding=1).sum(), (pictures, weights))
        times.append(time.perf_counter() - began)
    return min(times)


def _git(*arguments: str, folder: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()
