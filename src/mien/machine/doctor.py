"""What a report of a problem must tell: versions, machine, models, cameras, and what is not in order."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import cv2

from mien.machine.bench import local_yunet
from mien.machine.facts import machine_facts
from mien.models.runtime import onnxruntime
from mien.models.store import list_models, user_dir
from mien.sources.devices import list_cameras

OPTIONAL = ("torch", "pygubu")


def doctor(models_dir: Path | None = None) -> dict[str, object]:
    """Return facts of this installation, as plain data. Nothing is fetched, no camera and no window opened.

    Args:
        models_dir: Directory of user models; the default one when None.

    Returns:
        What `machine_facts` tells, and: opencv_packages (which distributions hold cv2), optional packages, tk,
        onnxruntime_providers, video_backends, camera_backends, opencv_windows (its GUI; none in headless builds),
        display, models_dir, models, yunet (its file), cameras, and hints: sentences on what is missing or amiss.
    """
    registry, found = cv2.videoio_registry, list_models(models_dir)
    facts = machine_facts() | {
        "opencv_packages": sorted(set(packages_distributions().get("cv2", []))),
        **{package: _version(package) for package in OPTIONAL},
        "tk": _tk(),
        "onnxruntime_providers": onnxruntime.get_available_providers(),
        "video_backends": [registry.getBackendName(backend) for backend in registry.getStreamBackends()],
        "camera_backends": [registry.getBackendName(backend) for backend in registry.getCameraBackends()],
        "opencv_windows": cv2.currentUIFramework(),
        "display": _display(),
        "models_dir": str(models_dir or user_dir()),
        "models": [f"{m.name} ({'mien' if m.shipped else 'you'})" for m in found if not m.problem],
        "yunet": str(local_yunet() or ""),
        "cameras": [f"{c.index}: {c.name} {c.path}".strip() for c in list_cameras()],
    }
    return facts | {"hints": _hints(facts) + [m.problem for m in found if m.problem]}


def _hints(facts: dict[str, object]) -> list[str]:
    """Return a sentence on each thing that is missing or amiss, with what to do."""
    packages, yunet = facts["opencv_packages"], Path(str(facts["yunet"]))
    amiss = {
        f"several OpenCV packages overwrite each other ({packages}); uninstall all but opencv-python-headless": (
            isinstance(packages, list) and len(packages) > 1
        ),
        "no models found; put .onnx files into the models directory": not facts["models"],
        "YuNet is not here yet: it is fetched when it is first used, or set MIEN_YUNET to its file": not facts["yunet"],
        f"MIEN_YUNET names '{yunet}', which is no file": bool(facts["yunet"]) and not yunet.is_file(),
        "no Tk, so no window: on Debian and Ubuntu run `sudo apt install python3-tk`": facts["tk"] == "not installed",
        "no display, so no window: run `mien app` on a desktop; all other commands work": not facts["display"],
        "no camera found: plug one in; a container needs it passed on (docker run --device /dev/video0), WSL usbipd; "
        "a video file or the URL of a stream can stand in": not facts["cameras"],
    }
    return [hint for hint, applies in amiss.items() if applies]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _tk() -> str:
    """Return Tk's version; this loads the library but opens no display."""
    try:
        import _tkinter
    except ImportError:
        return "not installed"
    return _tkinter.TK_VERSION


def _display() -> str:
    """Return where windows would appear; empty if nowhere."""
    if sys.platform in ("win32", "darwin"):
        return sys.platform
    return os.environ.get("DISPLAY", "")  # Tk knows no Wayland, but XWayland sets it
