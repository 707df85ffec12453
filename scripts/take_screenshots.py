"""Take the screenshots of the window for the documentation: window-light.png, window-dark.png and window-voice.png.

Usage: python scripts/take_screenshots.py PICTURE [SPEECH]     (needs Xvfb)

The light one shows the picture; the dark one a video of it, swaying, after ten seconds. With a sound file of speech,
the third one shows a video of docs/images/astronaut.png, swaying, with the voice on. All on a virtual screen.
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

import av
import cv2
import numpy as np
from PIL import ImageGrab

from mien.app.look import open_root
from mien.app.settings import Settings
from mien.app.window import Window
from mien.sinks.videos import VideoSink
from mien.sources.pictures import read_picture
from mien.sources.sounds import sounds
from mien.structures import SAMPLE_RATE

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
SIZE = (1024, 700)
FPS, SECONDS = 25, 12
HEIGHT = 480  # of the clip


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    picture, *speech = (Path(argument).resolve() for argument in sys.argv[1:])
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
        if speech:
            sway(IMAGES / "astronaut.png", Path("silent.avi"))
            add_sound(Path("silent.avi"), speech[0], Path("astronaut.mkv"))
            settings = Settings(geometry=geometry(), mode="camera", camera="astronaut.mkv")
            with opened(settings, Path(folder)) as window:
                window.camera.toggle_voice()
                window.camera.start_or_stop()
                wait(window, lambda: is_fused(window), 4)
                wait(window, lambda: is_fused(window) and window.worker.hearing.meter.speaking, 0)
                photograph("window-voice.png")


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


def add_sound(silent: Path, speech: Path, clip: Path) -> None:
    """Copy a video with the speech of a sound file beside it, again and again."""
    sound = np.concatenate([block.samples for block in sounds(speech)])
    sound = np.tile(np.concatenate([sound, np.zeros(SAMPLE_RATE, np.float32)]), 1 + SAMPLE_RATE * SECONDS // len(sound))
    with av.open(str(silent)) as source, av.open(str(clip), "w") as target:
        pictures = target.add_stream_from_template(source.streams.video[0])
        track = target.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        packets = []
        for begin in range(0, len(sound), 1024):
            piece = (32767 * sound[None, begin : begin + 1024]).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.rate, frame.pts = SAMPLE_RATE, begin
            packets += track.encode(frame)
        packets += track.encode()
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = pictures
                packets.append(packet)
        for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
            target.mux(packet)


def is_fused(window: Window) -> bool:
    voice_result = None if window.shown is None else window.shown.result.voice_result
    return voice_result is not None and voice_result.fused is not None and voice_result.fused.agree is not None


if __name__ == "__main__":
    main()
