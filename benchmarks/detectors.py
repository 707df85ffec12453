"""CPU time of the detectors on one thread, and of OpenCV's own YuNet beside ours.

Target: YuNet takes at most 0.6 of OpenCV's time, at each size.

Example: python benchmarks/detectors.py --out detectors.json
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from _common import PHOTO, Target, arguments, existing, markdown, report, target_data, target_table
from mien.errors import MienError
from mien.machine.bench import fit_image, threads
from mien.sources.pictures import read_picture
from mien.structures import ImageArray
from mien.vision.fetch import yunet_path
from mien.vision.haar import HaarDetector
from mien.vision.yunet import YuNetDetector

SIZES = ((320, 256), (640, 480), (1280, 736))  # pixels
LIMIT = 0.6
OURS, OPENCV, HAAR = "yunet", "yunet, OpenCV", "haar"


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--photo", type=Path, default=PHOTO, help="a picture with a face (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=30, help="runs of each detector (default: %(default)s)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    try:
        photo = read_picture(existing(options.photo, flag="--photo"))
        times = {size: cpu_times(photo, size, repeats=options.repeats) for size in SIZES}
    except MienError as error:
        sys.exit(str(error))
    names = {size: f"{size[0]}×{size[1]}" for size in SIZES}
    rows = [[names[size], *(f"{ms:.2f}" for ms in found.values())] for size, found in times.items()]
    targets = [
        Target(what=f"yunet against OpenCV's, {names[size]}", value=found[OURS] / found[OPENCV], limit=LIMIT)
        for size, found in times.items()
    ]
    report(
        f"Detectors: CPU time in ms on one thread, median of {options.repeats} runs",
        [markdown(["size", OURS, OPENCV, HAAR], rows), target_table(targets)],
        {"targets": target_data(targets), "cpu_ms": {names[size]: found for size, found in times.items()}},
        out=options.out,
        **threads(),
    )


def cpu_times(photo: ImageArray, size: tuple[int, int], *, repeats: int) -> dict[str, float]:
    """Return each detector's median CPU time in milliseconds on an image of this width and height.

    The runs take turns, so that a busy machine disturbs all alike. YuNet searches the image once, not downscaled.
    """
    image = fit_image(photo, width=size[0], height=size[1])
    path = yunet_path()
    yunet, haar = YuNetDetector(path), HaarDetector()
    opencv = cv2.FaceDetectorYN.create(str(path), "", size, score_threshold=yunet.min_score)
    runs: dict[str, Callable[[], object]] = {
        OURS: partial(yunet.search, image, max(size)),
        OPENCV: lambda: opencv.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR)),
        HAAR: partial(haar.detect, image),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            began = time.process_time()
            run()
            if turn:  # the first run warms up
                times[name].append(1000 * (time.process_time() - began))
    return {name: float(np.median(values)) for name, values in times.items()}


if __name__ == "__main__":
    main()
