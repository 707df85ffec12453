"""Take the screenshots of the window for the documentation: docs/images/window-light.png and window-dark.png.

Usage: python scripts/take_screenshots.py PICTURE     (needs Xvfb)

The light one shows the picture; the dark one a video of it, swaying, after ten seconds. Both on a virtual screen.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import ImageGrab

from mien.app.look import open_root
from mien.app.settings import Settings
from mien.app.window import Window
from mien.sinks.videos import VideoSink
from mien.sources.pictures import read_picture

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
SIZE = (1024, 700)
FPS, SECONDS = 25, 12
HEIGHT = 480  # of the clip


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    picture = Path(sys.argv[1]).resolve()
    with screen(), tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # so that the camera's field holds a name, not a long path
        with opened(Settings(geometry=geometry()), Path(folder)) as window:
            window.open(picture)
            wait(window, lambda: window.pictures.still is not None, 1)
            photograph("window-light.png")
        sway(picture, Path("crew.avi"))
        settings = Settings(geometry=geometry(), mode="camera", dark=True, camera="crew.avi")
        with opened(settings, Path(folder)) as window:
            window.camera.start_or_stop()
            wait(window, lambda: window.shown is not None, 10)
            photograph("window-dark.png")


@contextmanager
def screen() -> Iterator[None]:
    """Give a screen as large as the window, and nothing else on it."""
    reading, writing = os.pipe()
    size = f"{SIZE[0]}x{SIZE[1]}x24"
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", size, "-dpi", "96", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    with open(reading) as file:
        os.environ["DISPLAY"] = f":{file.readline().strip()}"
    try:
        yield
    finally:
        server.terminate()
        server.wait()


@contextmanager
def opened(settings: Settings, saves: Path) -> Iterator[Window]:
    window = Window(open_root("mien"), settings, saves=saves)
    wait(window, lambda: window.worker.live is not None, 0.2)
    try:
        yield window
    finally:
        window.close()


def wait(window: Window, condition: Callable[[], bool], seconds: float) -> None:
    """Run the window until a condition holds, and some seconds more."""
    end = None
    while end is None or time.monotonic() < end:
        window.root.update()
        time.sleep(0.005)
        if end is None and condition():
            end = time.monotonic() + seconds


def photograph(name: str) -> None:
    ImageGrab.grab(xdisplay=os.environ["DISPLAY"]).convert("RGB").save(IMAGES / name, optimize=True)
    print(IMAGES / name)


def geometry() -> str:
    return f"{SIZE[0]}x{SIZE[1]}+0+0"


def sway(picture: Path, clip: Path) -> None:
    """Make a video of a picture that moves a little, as before a camera."""
    image = read_picture(picture)
    width = round(image.shape[1] * HEIGHT / image.shape[0])
    small = np.asarray(cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
    with VideoSink(clip, fps=FPS) as sink:
        for i in range(FPS * SECONDS):
            x, y = 4 * np.sin(i / 20), 3 * np.sin(i / 13)
            move = np.array([[1, 0, x], [0, 1, y]])
            sink.write(
                np.asarray(cv2.warpAffine(small, move, (width, HEIGHT), borderMode=cv2.BORDER_REPLICATE), np.uint8)
            )


if __name__ == "__main__":
    main()
