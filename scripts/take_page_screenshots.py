"""Take the screenshots of the page for the documentation: docs/images/page.png and page-dark.png.

Usage: python scripts/take_page_screenshots.py PICTURE     (needs Chromium; $MIEN_CHROMIUM names another one)

The light one shows the picture and the astronaut; the dark one a camera that films the picture, swaying.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from mien.drawing.colours import COLOURS
from mien.sources.pictures import read_picture
from mien.web.engine import Engine
from mien.web.serving import Server, listen
from mien.web.settings import ServerSettings

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
CHROMIUM = os.environ.get("MIEN_CHROMIUM", "/usr/bin/chromium")
SIZE = (1160, 780)
CAMERA = (640, 480)
OWN_COLOURS = 64  # of the page; most of them cover large areas
LIVE_FRAMES = 80


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    picture = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder, serving() as url:
        clip = Path(folder) / "camera.mjpeg"
        sway(picture, clip)
        with opened(url, clip, "light") as page:
            page.set_input_files("#picture-files", [picture, IMAGES / "astronaut.png"])
            page.wait_for_function("() => document.querySelectorAll('.gallery img').length === 2")
            page.wait_for_function("() => !document.querySelector('.gallery .waiting')")
            photograph(page, "page.png")
        with opened(url, clip, "dark") as page:
            seen: list[object] = []
            page.on("websocket", lambda socket: socket.on("framereceived", lambda data: seen.append(data)))
            page.click("#start")
            while len(seen) < LIVE_FRAMES:
                page.wait_for_timeout(100)
            photograph(page, "page-dark.png")


@contextmanager
def serving() -> Iterator[str]:
    """Serve the page in a thread."""
    engine = Engine(ServerSettings())
    listening = listen("127.0.0.1", 0)
    server = Server(engine)
    thread = Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def opened(url: str, clip: Path, theme: str) -> Iterator[Page]:
    """Open the page in Chromium, whose camera plays a clip."""
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
                 f"--use-file-for-fake-video-capture={clip}"]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme=theme)  # type: ignore[arg-type]
        page.goto(url)
        page.wait_for_function("() => document.getElementById('model').options.length > 0")
        yield page
        browser.close()


def photograph(page: Page, name: str) -> None:
    page.wait_for_timeout(500)
    page.evaluate("() => document.getElementById('speed').style.opacity = 0")  # of a machine that does all at once
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    with_palette(picture).save(IMAGES / name, optimize=True)
    print(IMAGES / name)


def with_palette(picture: Image.Image) -> Image.Image:
    """Return a picture of 256 colours: those of the expressions and the page, and the best ones for the photo."""
    counts = sorted(picture.getcolors(SIZE[0] * SIZE[1]) or [], reverse=True)[:OWN_COLOURS]
    own = [channel for colour in (*COLOURS.values(), *(colour for _, colour in counts)) for channel in colour]
    others = picture.quantize(256 - len(own) // 3, Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette((own + others)[: 3 * 256])
    return picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)


def sway(picture: Path, clip: Path) -> None:
    """Make a clip of a picture that moves a little, as before a camera."""
    image, (width, height) = read_picture(picture), CAMERA
    scale = max(width / image.shape[1], height / image.shape[0]) * 1.05
    with clip.open("wb") as file:
        for i in range(120):
            x, y = 6 * np.sin(i / 120 * 2 * np.pi), 4 * np.sin(i / 60 * 2 * np.pi)
            move = np.array([[scale, 0, (width - scale * image.shape[1]) / 2 + x],
                             [0, scale, (height - scale * image.shape[0]) / 2 + y]])  # fmt: skip
            moved = cv2.warpAffine(image, move, CAMERA, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
            Image.fromarray(moved).save(file, "JPEG", quality=92)


if __name__ == "__main__":
    main()
