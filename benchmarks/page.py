"""Frames per second of the page with a camera, compared with `Live` in a process.

The photo of one face sways in front of the camera of Chromium, without a window: a clip of JPEGs of 640x480 pixels at
30 frames per second. The page of `mien serve` recognises it on the server, then in the browser. `Live` sees the same
JPEGs in this process, as fast as it can. All use one thread of ONNX Runtime per model, except the browser, which uses
one per physical core. Runs alternate, and medians are compared. The page cannot be faster than its camera, so it is
compared with the process at the camera's rate. Chromium, which draws without a graphics card here, and the server share
the machine, so nothing else may run on it.

Target: 0.6 times the frames per second of the process, of 30 at most.

Example: python benchmarks/page.py --seconds 20 --out page.json
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from _common import Target, arguments, markdown, report, target_data, target_table
from mien.models.classifier import load_classifier
from mien.models.spec import DEFAULT_MODEL
from mien.recognizer import Recognizer
from mien.vision.detect import FaceDetector
from mien.vision.haar import HaarDetector
from mien.vision.yunet import YuNetDetector
from sessions import FPS, Server, in_process, jpegs

CHROMIUM = "/usr/bin/chromium"
CLIP_SECONDS = 20  # Chromium starts the clip again at its end
WARM_UP_SECONDS = 5
DETECTORS: dict[str, type[FaceDetector]] = {"haar": HaarDetector, "yunet": YuNetDetector}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=20, metavar="S", help="length of a run in the page")
    parser.add_argument("--run", type=int, default=500, metavar="N", help="frames of a run in the process")
    parser.add_argument("--pairs", type=int, default=3, metavar="N", help="runs of each kind that are compared")
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME")
    parser.add_argument("--detector", default="yunet", choices=DETECTORS)
    args = parser.parse_args()
    pictures = jpegs()
    recognizer = Recognizer(DETECTORS[args.detector](), load_classifier(args.model, threads=1))
    server = Server(args.model, args.detector)
    runs: dict[str, list[float]] = {"process": [], "page, on the server": [], "page, in the browser": []}
    try:
        with tempfile.TemporaryDirectory() as folder, chromium(film(pictures, Path(folder))) as browser:
            for _ in range(args.pairs):
                runs["process"].append(in_process(pictures, recognizer, args.run).fps)
                runs["page, on the server"].append(in_page(browser, server, "server", args.seconds))
                runs["page, in the browser"].append(in_page(browser, server, "here", args.seconds))
    finally:
        server.process.kill()
    medians = {name: median(values) for name, values in runs.items()}
    ratio = medians["page, on the server"] / min(medians["process"], FPS)
    targets = [Target(what="frames per second, page / process with a camera", value=ratio, limit=0.6, at_least=True)]
    rows = [[name, f"{medians[name]:.1f}", ", ".join(f"{value:.1f}" for value in values)]
            for name, values in runs.items()]  # fmt: skip
    report(
        "The page with a camera", [markdown(["", "frames per second", "runs"], rows), target_table(targets)],
        {"targets": target_data(targets), "frames_per_second": runs},
        out=args.out, model=args.model, detector=args.detector,
    )  # fmt: skip


def film(pictures: list[bytes], folder: Path) -> Path:
    """Write a clip for Chromium's camera, which plays JPEGs one after the other at 30 per second."""
    clip = folder / "camera.mjpeg"
    n = CLIP_SECONDS * FPS
    clip.write_bytes(b"".join((pictures * (n // len(pictures) + 1))[:n]))
    return clip


@contextmanager
def chromium(clip: Path) -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        sys.exit("needs playwright: pip install playwright")
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
                 f"--use-file-for-fake-video-capture={clip}"]  # fmt: skip
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


def in_page(browser: Any, server: Server, engine: str, seconds: float) -> float:
    """Return the frames per second that the page shows.

    Args:
        browser: Chromium.
        server: The service.
        engine: "server", or "here" for the browser itself.
        seconds: How long they are counted.
    """
    page = browser.new_page(locale="en-GB")
    settings = json.dumps({"engine": engine})
    page.add_init_script(f"localStorage.setItem('mien.settings', '{settings}')")
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.wait_for_function("() => document.getElementById('model').options.length > 0")
    if page.input_value("#engine") != engine:
        sys.exit("the server cannot offer the browser: it needs ONNX Runtime for browsers; run `mien page`")
    page.click("#start")
    page.wait_for_function("() => document.getElementById('shares-of').textContent.includes('frame')", timeout=60_000)
    page.wait_for_timeout(1000 * WARM_UP_SECONDS)
    began, before = perf_counter(), frames(page)
    page.wait_for_timeout(1000 * seconds)
    rate = (frames(page) - before) / (perf_counter() - began)
    page.close()
    return rate


def frames(page: Any) -> int:
    """Return the number of frames so far, as the page says it."""
    found = re.match(r"([\d,]+) frame", page.inner_text("#shares-of"))
    assert found is not None
    return int(found[1].replace(",", ""))


if __name__ == "__main__":
    main()
