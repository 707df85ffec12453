"""A virtual screen for the windows, and videos for their cameras."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.sinks.videos import VideoSink
from mien.sources.pictures import read_picture

ASTRONAUT = Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"
SCREEN = "1280x900x24"


@pytest.fixture(scope="session")
def display() -> Iterator[None]:
    """A virtual screen, with DISPLAY set to it."""
    pytest.importorskip("tkinter", reason="needs Tk (Debian: python3-tk)")
    pytest.importorskip("pygubu", reason="needs the extra: pip install '.[app]'")
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}, a Debian package")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", SCREEN, "-nolisten", "tcp", "-r"],
        pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writing)
    with open(reading) as file:
        number = file.readline().strip()
    before = os.environ.get("DISPLAY")
    os.environ["DISPLAY"] = f":{number}"
    try:
        yield
    finally:
        os.environ.pop("DISPLAY")
        if before is not None:
            os.environ["DISPLAY"] = before
        server.terminate()
        server.wait()


@pytest.fixture
def tidied() -> Iterator[None]:
    """Collect garbage after the window: Tk objects may only be deleted in Tk's own thread."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def astronaut() -> Path:
    """The portrait in the documents: one face, happy by every useful model."""
    return ASTRONAUT


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of the astronaut, moving a little, in place of a camera."""
    picture = read_picture(ASTRONAUT)
    half = np.asarray(cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA), np.uint8)
    path = tmp_path_factory.mktemp("clips") / "astronaut.avi"
    with VideoSink(path, fps=10) as sink:
        for i in range(600):
            sink.write(np.roll(half, round(6 * np.sin(i / 5)), axis=1))
    return path
