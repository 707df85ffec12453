"""How many frames a second are seen live on two cores, with one face and with ten, and whether anything piles up.

Frames are made in memory: the photo of one face, swaying, and its face ten times, 90 to 120 pixels large. Each comes
from a camera that is a stand-in, is seen, drawn, and recorded as CSV, JSON lines and video. The rate is from
detection to drawn. By their clock frames come at 30 a second, or as they were done with where that took longer, so
that the detector rests as it would before a camera. "detect" is the median of the frames that it looked at.

With --soak, faces come and go for thousands of frames instead: after the first 1,000 memory must not grow by 20 MB,
nor the numbers of threads and of open files change; else the exit code is 1.

Targets: 30 frames a second with one face, 12 with ten.

Example: python benchmarks/live.py --out live.json
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter

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
from mien.drawing.faces import draw
from mien.errors import MienError
from mien.live import Live
from mien.machine.bench import HEIGHT, WIDTH, fit_image, threads
from mien.machine.facts import git_commit, machine_facts
from mien.models.classifier import ExpressionClassifier, load_classifier
from mien.recognizer import Recognizer
from mien.sinks.recorder import Recorder
from mien.sources.camera import Camera
from mien.sources.pictures import read_picture
from mien.structures import Frame, ImageArray
from mien.vision.haar import HaarDetector

CORES = 2
CAMERA_FPS = 30
GAPS = (0.0, 0.2)  # seconds; the second is Live's own
SWAY, SWAY_SECONDS = 12, 2  # pixels from the middle, to and fro: at most 1.3 a frame, of someone who sits and talks

CROWD, CROWD_SIZES = 10, ((WIDTH, HEIGHT), (1280, 720))
FACE_SIDES = (90, 120)  # pixels, from the smallest face of a crowd to the largest
HEAD_MARGIN = 0.09  # around a face's box, in parts of its side: five fit into a row of 640 pixels
RATES = {1: 30, CROWD: 12}  # faces -> frames a second that are wanted
STAGES = ("capture", "detect", "classify", "track", "draw", "record")

PROCESS = Path("/proc/self")
SETTLED = 1000  # frames of a soak from which on nothing may pile up
GROWTH_MB = 20
SCENES = (1, 3, 0, 2, 0, 5)  # faces in a soak's scenes, which follow one another
SCENE_FRAMES = 70


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How a scene was seen.

    Args:
        faces: In the scene.
        size: Of its frames, "640×480" pixels.
        detector: Which.
        gap: Longest time between detections in seconds.
        found: Median number of faces that were seen.
        looked: Share of the frames on which the detector ran.
        rate: Frames a second, from detection to drawn.
        median_ms: Stage -> median time in milliseconds; of "detect", where it ran.
    """

    faces: int
    size: str
    detector: str
    gap: float
    found: float
    looked: float
    rate: float
    median_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Held:
    """Resources of the process after some number of frames: resident memory in MB, threads, open files."""

    frames: int
    memory_mb: float
    threads: int
    files: int


class StandIn:
    """A camera that gives the pictures it is fed, BGR; None unplugs it."""

    def __init__(self) -> None:
        self.feed: SimpleQueue[ImageArray | None] = SimpleQueue()

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, cv2.typing.MatLike]:
        picture = self.feed.get()
        return picture is not None, np.empty(0) if picture is None else picture

    def get(self, propId: int, /) -> float:
        return -1.0

    def release(self) -> None:
        pass


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--photo", type=Path, default=PHOTO, help="a picture with a face (default: %(default)s)")
    parser.add_argument("--model", default="base", help="a name from `mien models`, or an .onnx file")
    parser.add_argument("--frames", type=int, default=300, help="measured of each scene (default: %(default)s)")
    parser.add_argument("--soak", type=int, nargs="?", const=10_000, metavar="N", help="N frames (default: %(const)s)")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    options = parser.parse_args()
    if options.frames < 1 or (options.soak is not None and options.soak <= SETTLED):
        sys.exit(f"expected at least 1 of --frames, more than {SETTLED} of --soak")
    if options.json and options.out:
        sys.exit("--json prints what --out writes; give one of them")
    if options.soak is not None and not PROCESS.exists():
        sys.exit(f"--soak reads {PROCESS}, which Linux alone has")
    if hasattr(os, "sched_setaffinity"):  # before any library has threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    cv2.setNumThreads(min(CORES, cv2.getNumThreads()))
    try:
        photo = read_picture(existing(options.photo, flag="--photo"))
        classifier = load_classifier(options.model)
        if options.soak is None:
            title, tables, targets, results = rates(photo, classifier, n=options.frames)
        else:
            title, tables, targets, results = soak(photo, classifier, n=options.soak)
    except MienError as error:
        sys.exit(str(error))
    results |= {"model": classifier.spec.name, "targets": target_data(targets)}
    if options.json:
        where = {**machine_facts(), **threads(), "commit": git_commit()}
        print(json.dumps({"machine": where, **results}, indent=2))
    else:
        title += f", model {classifier.spec.name}"
        report(title, [*tables, target_table(targets)], results, out=options.out, **threads())
    if options.soak is not None and not all(target.met for target in targets):
        sys.exit(1)


def rates(
    photo: ImageArray, classifier: ExpressionClassifier, *, n: int
) -> tuple[str, list[str], list[Target], dict[str, object]]:
    """Measure each scene with each detector, resting or not; return title, tables, targets, plain data."""
    detectors, missing = available_detectors()
    one = fit_image(photo, width=WIDTH, height=HEIGHT)
    scenes = [(1, one), *((CROWD, crowd(photo, CROWD, size=size)) for size in CROWD_SIZES)]
    measured = [
        measure(scene, Recognizer(detector, classifier), faces=faces, detector=name, gap=gap, n=n)
        for faces, scene in scenes
        for name, detector in detectors.items()
        for gap in GAPS
    ]
    targets = [
        Target(
            what=f"{m.faces} in {m.size}, {m.detector}, gap {m.gap:g} s",
            value=m.rate,
            limit=RATES[m.faces],
            unit="frames/s",
            at_least=True,
        )
        for m in measured
    ]
    title = f"Live: medians of {n} frames in ms, {CORES} cores"
    data = {"measured": [asdict(m) for m in measured], "skipped": missing}
    return title, [stage_table(measured), *missing], targets, data


def measure(scene: ImageArray, recognizer: Recognizer, *, faces: int, detector: str, gap: float, n: int) -> Measured:
    """See a swaying scene n times, after a tenth as many frames for warm-up."""
    live, device = Live(recognizer, max_detection_gap=gap), StandIn()
    rows: list[dict[str, float]] = []
    found: list[int] = []
    clock = 0.0
    warm_up = max(1, n // 10)
    with (
        tempfile.TemporaryDirectory() as folder,
        Recorder(recognizer.provenance, **places(Path(folder)), video=Path(folder, "a.mkv")) as recorder,
        Camera(0, opener=lambda source: device) as camera,
    ):
        for index in range(warm_up + n):
            picture = cv2.cvtColor(sway(scene, index), cv2.COLOR_RGB2BGR)
            times = [perf_counter()]
            device.feed.put(np.asarray(picture, np.uint8))
            captured = camera.read(timeout=60)
            times.append(perf_counter())
            if captured is None:
                raise MienError("the simulated camera gave no frame within a minute")
            sight = live.recognize(Frame(captured.image, clock, index, captured.source))
            times.append(perf_counter())
            drawn = draw(sight.frame.image, sight.expressions)
            times.append(perf_counter())
            recorder.write(sight.frame, sight.expressions, drawn)
            times.append(perf_counter())
            capture, see, drawing, record = np.diff(times).tolist()
            rows.append({**sight.seconds, "capture": capture, "see": see, "draw": drawing, "record": record})
            found.append(len(sight.expressions))
            clock += max(1 / CAMERA_FPS, see + drawing)
        device.feed.put(None)
    rows = rows[warm_up:]
    looks = [row["detect"] for row in rows if row["detect"] > 0]
    medians = {stage: float(np.median([row[stage] for row in rows])) for stage in STAGES}
    medians["detect"] = float(np.median(looks)) if looks else 0.0
    return Measured(
        faces=faces,
        size=f"{scene.shape[1]}×{scene.shape[0]}",
        detector=detector,
        gap=gap,
        found=float(np.median(found[warm_up:])),
        looked=len(looks) / n,
        rate=n / sum(row["see"] + row["draw"] for row in rows),
        median_ms={stage: 1000 * seconds for stage, seconds in medians.items()},
    )


def soak(
    photo: ImageArray, classifier: ExpressionClassifier, *, n: int
) -> tuple[str, list[str], list[Target], dict[str, object]]:
    """See n frames in which faces come and go; return title, tables, targets, plain data."""
    scenes = [crowd(photo, faces, size=(WIDTH, HEIGHT)) for faces in SCENES]
    recognizer = Recognizer(HaarDetector(), classifier)
    live = Live(recognizer)
    held: list[Held] = []
    tracks: set[int | None] = set()
    with (
        tempfile.TemporaryDirectory() as folder,
        Recorder(recognizer.provenance, **places(Path(folder))) as recorder,
    ):
        for index in range(n):
            image = sway(scenes[index // SCENE_FRAMES % len(scenes)], index)
            sight = live.recognize(Frame(image, index / CAMERA_FPS, index, "soak"))
            recorder.write(sight.frame, sight.expressions, draw(image, sight.expressions))
            tracks.update(expression.face.track_id for expression in sight.expressions)
            if index + 1 in (SETTLED, n):
                held.append(holds(index + 1))
        recorder.statistics.save(folder)
    before, after = held
    targets = [
        Target(what="memory grown", value=after.memory_mb - before.memory_mb, limit=GROWTH_MB, unit="MB"),
        Target(what="threads more or fewer", value=abs(after.threads - before.threads), limit=0),
        Target(what="open files more or fewer", value=abs(after.files - before.files), limit=0),
    ]
    rows = [[f"{h.frames:,}", f"{h.memory_mb:.1f} MB", str(h.threads), str(h.files)] for h in held]
    table = markdown(["after frame", "resident memory", "threads", "open files"], rows)
    title = f"Soak: {n:,} frames of {WIDTH}×{HEIGHT}, {len(tracks):,} tracks, haar"
    return title, [table], targets, {"held": [asdict(h) for h in held], "tracks": len(tracks)}


def holds(frames: int) -> Held:
    """Return the current resources of this process."""
    resident_pages = int((PROCESS / "statm").read_text().split()[1])
    memory_mb = resident_pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    threads, files = (len(list((PROCESS / name).iterdir())) for name in ("task", "fd"))
    return Held(frames, memory_mb, threads, files)


def places(folder: Path) -> dict[str, Path]:
    """Return where a recorder's tables go."""
    return {"csv": folder / "a.csv", "jsonl": folder / "a.jsonl"}


def crowd(photo: ImageArray, n: int, *, size: tuple[int, int]) -> ImageArray:
    """Paste a photo's face n times into a picture.

    Args:
        photo: RGB uint8 (H, W, 3), with a face that the Haar detector finds, and something below it.
        n: Up to ten in 640×480.
        size: Width and height of the picture in pixels.

    Raises:
        MienError: The photo has no such face.
    """
    faces = HaarDetector().detect(photo)
    if not faces:
        raise MienError("the photo has no face that the Haar detector finds; give another with --photo")
    box = faces[0].box
    margin = HEAD_MARGIN * box.width
    top, left = max(round(box.y1 - margin), 0), max(round(box.x1 - margin), 0)
    bottom, right = round(box.y2 + margin), round(box.x2 + margin)
    head, below = photo[top:bottom, left:right], photo[bottom:]
    if not below.size:
        raise MienError("the photo ends with the face; give one with something below it with --photo")
    canvas = fit_image(below, width=size[0], height=size[1])  # no face, but no void either
    taken = [0, 0]  # pixels, of the upper and the lower row
    for i, side in enumerate(np.linspace(*FACE_SIDES, n)):
        scale = side / box.width
        width, height = round(scale * head.shape[1]), round(scale * head.shape[0])
        row = i % 2
        y, x = row * size[1] // 2, taken[row]
        canvas[y : y + height, x : x + width] = cv2.resize(head, (width, height), interpolation=cv2.INTER_AREA)
        taken[row] += width
    return canvas


def sway(scene: ImageArray, index: int) -> ImageArray:
    """Return a scene moved a little, as at a frame of a camera that sways; its edge pixels fill the rest."""
    turn = 2 * np.pi * index / (SWAY_SECONDS * CAMERA_FPS)
    shift = np.array([[1, 0, SWAY * np.sin(turn)], [0, 1, SWAY / 2 * np.sin(1.3 * turn)]])
    size = (scene.shape[1], scene.shape[0])
    return np.asarray(cv2.warpAffine(scene, shift, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def stage_table(measured: Sequence[Measured]) -> str:
    rows = [
        [
            f"{m.faces} in {m.size}, {m.detector}", f"{m.gap:g} s", f"{m.found:g}", f"{m.looked:.0%}",
            *(f"{m.median_ms[stage]:.2f}" for stage in STAGES), f"{m.rate:.1f}",
        ]
        for m in measured
    ]  # fmt: skip
    return markdown(["faces", "gap", "found", "detected", *STAGES, "frames/s"], rows)


if __name__ == "__main__":
    main()
