"""Cameras and streams by OpenCV: list them, open one, explain why one gives no frames."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, TypeAlias
from urllib.parse import urlparse

import cv2
import numpy as np

from mien.files import matching
from mien.quiet import quiet
from mien.sources.address import display_name, is_url
from mien.sources.paths import PICTURE_SUFFIXES
from mien.structures import ImageArray

PROBED = range(5)  # indices to try where the system has no list
PROBE_SECONDS = 5.0
DEVICES = Path("/dev")
V4L = Path("/sys/class/video4linux")


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """A camera of this machine.

    Args:
        index: Its number for `Camera` and OpenCV.
        name: Its name by the maker or the system.
        path: Its device file, or the system's identifier; empty if unknown.
    """

    index: int
    name: str
    path: str


class Device(Protocol):
    """A source of BGR images: an opened `cv2.VideoCapture`, or a test's stand-in."""

    def isOpened(self) -> bool: ...
    def read(self) -> tuple[bool, cv2.typing.MatLike]: ...
    def get(self, propId: int, /) -> float: ...
    def release(self) -> None: ...


Opener: TypeAlias = Callable[[int | str], Device]


def list_cameras() -> list[CameraInfo]:
    """Return the cameras of this machine, by index; an empty list if there are none.

    On Linux none is opened; on Windows and macOS cv2-enumerate-cameras lists them, if it is installed. Otherwise the
    first few indices are tried, which takes some seconds and finds no names.
    """
    if sys.platform == "linux":
        return _v4l_cameras()
    try:
        enumerator = import_module("cv2_enumerate_cameras")
    except ImportError:
        return _probed_cameras()
    first = enumerator.supported_backends[0]  # OpenCV's first choice too; others may count the cameras in another order
    return [CameraInfo(found.index, found.name, found.path or "") for found in enumerator.enumerate_cameras(first)]


def open_device(source: int | str, *, timeout_seconds: float = 5.0) -> Device:
    """Open a camera or stream by OpenCV.

    Args:
        source: Index of a camera, its device file (Linux), or a URL.
        timeout_seconds: Longest time for a stream to open, and to give a frame.
    """
    if isinstance(source, int):
        if sys.platform == "win32":  # else some cameras take 20 s to open; OpenCV reads it when it opens one
            os.environ.setdefault("OPENCV_VIDEOIO_MSMF_ENABLE_HW_TRANSFORMS", "0")
        if sys.platform == "darwin":  # OpenCV asks for permission in the main thread only; so the system asks by itself
            os.environ.setdefault("OPENCV_AVFOUNDATION_SKIP_AUTH", "1")
        return cv2.VideoCapture(source)
    if not is_url(source):
        return cv2.VideoCapture(source, cv2.CAP_V4L2)
    ms = round(timeout_seconds * 1000)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, ms]
    return cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)


@contextmanager
def opened(source: int | str, opener: Opener) -> Iterator[Device | None]:
    """Open a device and release it at the end; yield None if it does not open."""
    try:
        with quiet():
            device = opener(source)
    except (cv2.error, OSError, ValueError):
        yield None
        return
    try:
        yield device if device.isOpened() else None
    finally:
        device.release()


def grab(device: Device) -> ImageArray | None:
    """Return a device's next image, RGB uint8 (H, W, 3); None if it gives none."""
    try:
        with quiet():
            there, bgr = device.read()
            return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8) if there else None
    except (cv2.error, OSError):
        return None


def is_recorded(device: Device, source: int | str) -> bool:
    """Return whether a URL leads to a file, which has an end and arrives as fast as the network allows."""
    return is_url(source) and device.get(cv2.CAP_PROP_FRAME_COUNT) > 0


def refusal(source: int | str) -> str:
    """Return the error message for a camera or stream without pictures: the likely cause, and the remedy."""
    name = display_name(source)
    if isinstance(source, str) and is_url(source):
        if Path(urlparse(source).path).suffix.lower() in PICTURE_SUFFIXES:
            return f"no pictures from {name}; an address must be of a video: download the picture and give its file"
        return f"no pictures from {name}; check the address, user name and password, and that it is a video"
    if sys.platform != "linux":
        return (
            f"no pictures from {name}: it is missing, another program uses it, or the system's privacy settings "
            "forbid it; `mien doctor` lists the cameras"
        )
    path = DEVICES / f"video{source}" if isinstance(source, int) else Path(source)
    if not os.path.exists(path):
        there = ", ".join(f"{camera.index} ({camera.name})" for camera in list_cameras())
        return f"there is no {name}; " + (f"choose from {there}" if there else "no camera was found: plug one in")
    if not os.access(path, os.R_OK | os.W_OK):
        return f"no permission to use {name}; run `sudo usermod -aG video $USER`, then log out and in again"
    return f"no pictures from {name}; close the program that uses it, or choose another camera"


def _v4l_cameras() -> list[CameraInfo]:
    """Return the devices that capture; a camera's further devices, whose index file is not 0, give metadata."""
    found = []
    for folder in matching(V4L, "video*"):
        try:
            if int((folder / "index").read_text()) == 0:
                name = (folder / "name").read_text(encoding="utf-8", errors="replace").strip()
                found.append(CameraInfo(int(folder.name.removeprefix("video")), name, str(DEVICES / folder.name)))
        except (OSError, ValueError):  # unplugged a moment ago
            continue
    return sorted(found, key=lambda camera: camera.index)


def _probed_cameras() -> list[CameraInfo]:
    found: list[CameraInfo] = []

    def probe() -> None:
        for index in PROBED:
            with opened(index, open_device) as device:
                if device is not None:
                    found.append(CameraInfo(index, f"camera {index}", ""))

    thread = threading.Thread(target=probe, daemon=True)  # a driver may hang
    thread.start()
    thread.join(PROBE_SECONDS)
    return list(found)
