"""The effect of fewer detections while faces are steady: expressions compared with detection in every frame.

The clips are those of a folder, and two drawn ones: the astronaut's photo swaying and growing calmly and lively, with
noise. Each is seen with the detector on every frame, then with pauses of at most `gap` seconds. A frame has the same
labels if it has as many faces and each is answered as its counterpart. Frames without a face in either don't count.
Detectors look at a frame once and are remembered, so nothing here is timed.

Example: python benchmarks/tracking.py --clips clips --out tracking.json
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from _common import (
    PHOTO,
    Target,
    arguments,
    available_detectors,
    existing,
    markdown,
    report,
    target_data,
    target_table,
)
from mien.errors import MienError
from mien.live import FrameResult, Live
from mien.models.classifier import ExpressionClassifier, load_classifier
from mien.recognizer import Recognizer
from mien.sources.frames import frames
from mien.sources.paths import list_files
from mien.sources.pictures import read_picture
from mien.structures import Expression, Face, Frame, ImageArray
from mien.vision.detect import FaceDetector
from mien.vision.track import Tracker

FPS, SECONDS = 30, 4
FACE_SIDE = 106  # pixels, of the astronaut in the photo
SAME_LABEL = 0.99


@dataclass(frozen=True, slots=True)
class Motion:
    """A swaying face: how far from the middle in sides of the face, seconds to and fro, growth as a ratio."""

    reach: float
    period: float
    growth: float


# Fastest at 0.3 and 2.5 sides a second: someone who talks before a camera, and someone who dances.
MOTIONS = {"calm": Motion(0.15, 3.0, 0.05), "lively": Motion(0.6, 1.5, 0.15)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """How a stream seen with a resting detector compares with one that was looked at on every frame.

    Args:
        clip: Which, or "all".
        detector: Which.
        gap: Seconds.
        n_frames: With faces in either.
        looked: Share of the clip's frames on which the detector ran.
        same_label: Share of the frames with the same faces and answers.
        difference: Mean absolute difference of the probabilities of counterparts.
        iou: Mean overlap of counterparts' boxes.
    """

    clip: str
    detector: str
    gap: float
    n_frames: int
    looked: float
    same_label: float
    difference: float
    iou: float


class Remembered:
    """A detector that looks at each frame once, and counts how often it was asked."""

    def __init__(self, detector: FaceDetector) -> None:
        self.detector = detector
        self.asked = 0
        self._found: dict[int, tuple[ImageArray, list[Face]]] = {}  # holds the picture, so that its id stays its own

    def detect(self, image: ImageArray) -> list[Face]:
        self.asked += 1
        if id(image) not in self._found:
            self._found[id(image)] = image, self.detector.detect(image)
        return self._found[id(image)][1]


def main() -> None:
    parser = arguments(__doc__ or "")
    given = os.environ.get("MIEN_DATA")
    clips = Path(given, "media", "clips") if given else None
    parser.add_argument("--clips", type=Path, default=clips, help="folder of videos; in $MIEN_DATA if not given")
    parser.add_argument("--photo", type=Path, default=PHOTO, help="to draw clips of (default: %(default)s)")
    parser.add_argument("--model", default="base", help="a name from `mien models`, or an .onnx file")
    parser.add_argument("--gap", type=float, nargs="+", default=[0.1, 0.2, 0.4], help="seconds (default: %(default)s)")
    parser.add_argument("--half-life", type=float, default=0.3, help="of smoothing, seconds (default: %(default)s)")
    parser.add_argument("--slow", type=float, default=Tracker().slow, help="see Tracker (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn clips' noise (default: %(default)s)")
    options = parser.parse_args()
    try:
        classifier = load_classifier(options.model)
        detectors, missing = available_detectors()
        photo = read_picture(existing(options.photo, flag="--photo"))
        files = list_files(options.clips) if options.clips and options.clips.is_dir() else []
        costs: dict[str, list[Cost]] = {}
        for name, clip in drawn_and_filmed(photo, files, seed=options.seed):
            for kind, detector in detectors.items():
                remembered = Remembered(detector)
                settings = {"half_life": options.half_life, "slow": options.slow}
                whole = see(clip, remembered, classifier, gap=0.0, **settings)
                for gap in options.gap:
                    remembered.asked = 0
                    sparse = see(clip, remembered, classifier, gap=gap, **settings)
                    cost = compare(whole, sparse, asked=remembered.asked, clip=name, detector=kind, gap=gap)
                    costs.setdefault(kind, []).append(cost)
    except MienError as error:
        sys.exit(str(error))
    sums = [total(found, gap=gap) for found in costs.values() for gap in options.gap]
    targets = [
        Target(what=f"same label, {s.detector}, gap {s.gap:g} s", value=s.same_label, limit=SAME_LABEL, at_least=True)
        for s in sums
    ]
    if not files:
        missing.append("The drawn clips alone: give videos with --clips")
    every = [cost for found in costs.values() for cost in found]
    report(
        f"Resting detector: model {classifier.spec.name}, half-life {options.half_life:g} s, slow {options.slow:g}",
        [cost_table(sums), target_table(targets), cost_table(every), *missing],
        {"targets": target_data(targets), "total": [asdict(s) for s in sums], "clips": [asdict(c) for c in every]},
        out=options.out,
        seed=options.seed,
    )


def drawn_and_filmed(photo: ImageArray, files: Sequence[Path], *, seed: int) -> Iterator[tuple[str, list[Frame]]]:
    """Yield clips by name, one at a time."""
    for name, motion in MOTIONS.items():
        yield f"astronaut, {name}", list(sway(photo, motion, name=name, seed=seed))
    for file in files:
        yield file.name, list(frames(file))


def sway(photo: ImageArray, motion: Motion, *, name: str, seed: int) -> Iterator[Frame]:
    """Yield a clip in which the photo sways to the sides and nods, and grows and shrinks, under a camera's noise."""
    rng = np.random.default_rng(seed)
    height, width = photo.shape[:2]
    for index in range(FPS * SECONDS):
        time = index / FPS
        turn = 2 * np.pi * time / motion.period
        zoom = 1 + motion.growth * np.sin(0.7 * turn)
        shift = motion.reach * FACE_SIDE * np.array([np.sin(turn), 0.5 * np.sin(1.3 * turn)])
        middle = np.array([width, height]) / 2
        matrix = np.column_stack([zoom * np.eye(2), (1 - zoom) * middle + shift])
        moved = cv2.warpAffine(photo, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        noisy = np.clip(moved + rng.normal(0, 3, moved.shape), 0, 255)
        yield Frame(np.rint(noisy).astype(np.uint8), time, index, name)


def see(
    clip: Sequence[Frame],
    detector: FaceDetector,
    classifier: ExpressionClassifier,
    *,
    gap: float,
    half_life: float,
    slow: float,
) -> list[FrameResult]:
    live = Live(
        Recognizer(detector, classifier), half_life=half_life, max_detection_gap=gap, tracker=Tracker(slow=slow)
    )
    return list(live.stream(clip))


def compare(
    whole: Sequence[FrameResult], sparse: Sequence[FrameResult], *, asked: int, clip: str, detector: str, gap: float
) -> Cost:
    """Return the differences; figures without any face are NaN."""
    same, differences, ious = [], [], []
    for sight, other in zip(whole, sparse, strict=True):
        if not sight.expressions and not other.expressions:
            continue
        pairs = [(e, nearest(e, other.expressions)) for e in sight.expressions if other.expressions]
        whole_crowd = len(sight.expressions) == len(other.expressions)
        same.append(whole_crowd and all(e.label == o.label for e, o in pairs))
        differences += [np.abs(e.prediction.probabilities - o.prediction.probabilities).mean() for e, o in pairs]
        ious += [e.face.box.iou(o.face.box) for e, o in pairs]
    return Cost(
        clip=clip,
        detector=detector,
        gap=gap,
        n_frames=len(same),
        looked=asked / len(whole),
        same_label=mean(same),
        difference=mean(differences),
        iou=mean(ious),
    )


def nearest(expression: Expression, others: Sequence[Expression]) -> Expression:
    """Return the expression whose box overlaps most."""
    return max(others, key=lambda other: expression.face.box.iou(other.face.box))


def total(costs: Sequence[Cost], *, gap: float) -> Cost:
    """Return the mean of a detector's clips, each frame with faces counting alike."""
    chosen = [cost for cost in costs if cost.gap == gap and cost.n_frames]
    frames_of = [cost.n_frames for cost in chosen]

    def weighted(name: str) -> float:
        return float(np.average([getattr(cost, name) for cost in chosen], weights=frames_of)) if chosen else np.nan

    return Cost(
        clip="all",
        detector=costs[0].detector,
        gap=gap,
        n_frames=sum(frames_of),
        looked=weighted("looked"),
        same_label=weighted("same_label"),
        difference=weighted("difference"),
        iou=weighted("iou"),
    )


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def cost_table(costs: Sequence[Cost]) -> str:
    rows = [
        [
            c.clip, c.detector, f"{c.gap:g} s", str(c.n_frames), f"{c.looked:.0%}", f"{c.same_label:.1%}",
            f"{c.difference:.4f}", f"{c.iou:.3f}",
        ]
        for c in costs
    ]  # fmt: skip
    header = ["clip", "detector", "gap", "frames", "detected", "same label", "difference", "IoU"]
    return markdown(header, rows)


if __name__ == "__main__":
    main()
