"""How long each stage takes on this machine, from finding faces to naming what they show."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import platformdirs

from mien.data.synthetic import draw_faces
from mien.errors import ConfigError
from mien.machine.facts import machine_facts
from mien.models.classifier import OnnxClassifier
from mien.models.preprocess import preprocess
from mien.models.store import find_model
from mien.pixels import to_rgb
from mien.recognizer import Recognizer
from mien.structures import Box, Face, ImageArray
from mien.vision.crop import crop_faces
from mien.vision.detect import YUNET_FILE, FaceDetector, HaarDetector, YuNetDetector

WIDTH, HEIGHT = 640, 480  # what a camera gives unless asked for more
BATCH = 8  # faces; a group photo
CROP, PREPROCESS = "crop", "preprocess"
ONE_THREAD = "classify, 1 face, 1 thread"
ALL_THREADS = "classify, 1 face, all threads"
GROUP = f"classify, {BATCH} faces, all threads"


def detecting(detector: str) -> str:
    """Return the name of the stage in which a detector looks for faces."""
    return f"detect, {detector}"


def seeing(detector: str) -> str:
    """Return the name of the stages taken together: a picture to its expressions."""
    return f"picture to expressions, {detector}"


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of one stage.

    Args:
        stage: What was done.
        median_ms: The usual time, in milliseconds.
        p90_ms: Nine of ten runs take at most this, in milliseconds.
    """

    stage: str
    median_ms: float
    p90_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What `bench` measured.

    Args:
        model: Name of the model.
        size: Width and height of the picture in pixels.
        faces: Detector -> how many faces it found.
        repeats: Runs of each stage, after warm-up.
        timings: One for each measured stage.
        skipped: Stage -> why it was not measured.
        machine: See `machine_facts`, and the threads of OpenCV and ONNX Runtime.
    """

    model: str
    size: tuple[int, int]
    faces: dict[str, int]
    repeats: int
    timings: tuple[Timing, ...]
    skipped: dict[str, str]
    machine: dict[str, object]

    def timing(self, stage: str) -> Timing:
        """Return the times of a stage.

        Raises:
            KeyError: It was not measured.
        """
        return {timing.stage: timing for timing in self.timings}[stage]


def bench(
    photo: ImageArray | None = None, model: str = "base", *, models_dir: Path | None = None, repeats: int = 50
) -> BenchResult:
    """Time each stage alone, then all of them together.

    Args:
        photo: RGB uint8 (H, W, 3), brought to 640×480. None takes a drawn face, which detectors pass over sooner than
            a photo, so they are not measured then.
        model: Name from `mien models`, or the path of an .onnx file.
        models_dir: Directory of user models; the default one when None.
        repeats: Runs of each stage; a tenth as many before, which don't count.

    Raises:
        UnknownModel: No such model.
        ModelError: The model file, or the YuNet file at hand, cannot be used.
        ConfigError: `repeats` is less than 1.
    """
    if repeats < 1:
        raise ConfigError(f"repeats is {repeats}; expected at least 1")
    path = find_model(model, models_dir=models_dir)
    picture = fit_picture(_drawn() if photo is None else photo, width=WIDTH, height=HEIGHT)
    timings: list[Timing] = []

    def measure(stage: str, run: Callable[[], object]) -> None:
        timings.append(timing(stage, run, repeats=repeats))

    # Detectors come before ONNX Runtime has threads, which wait busily for a while after each run.
    detectors, skipped = _detectors(photo)
    for name, detector in detectors.items():
        measure(detecting(name), partial(detector.detect, picture))
    found = {name: detector.detect(picture) for name, detector in detectors.items()}

    single = OnnxClassifier(path, threads=1)
    face = next((faces[0] for faces in found.values() if faces), _middle_face())
    crop = crop_faces(picture, [face], geometry=single.spec.crop)[0]
    pixels = preprocess([crop], single.spec.preprocess)[0]  # so that what follows is the network alone
    measure(CROP, partial(crop_faces, picture, [face], geometry=single.spec.crop))
    measure(PREPROCESS, partial(preprocess, [crop], single.spec.preprocess))
    measure(ONE_THREAD, partial(single.predict_proba, [pixels]))
    threaded = OnnxClassifier(path)
    measure(ALL_THREADS, partial(threaded.predict_proba, [pixels]))
    measure(GROUP, partial(threaded.predict_proba, [pixels] * BATCH))

    for name, detector in detectors.items():
        if not found[name]:
            skipped[seeing(name)] = "no face was found; give a photo with one"
            continue
        measure(seeing(name), partial(Recognizer(detector, threaded).recognize, picture))
    return BenchResult(
        model=single.spec.name,
        size=(WIDTH, HEIGHT),
        faces={name: len(faces) for name, faces in found.items()},
        repeats=repeats,
        timings=tuple(timings),
        skipped=skipped,
        machine=machine_facts() | threads(),
    )


def timing(stage: str, run: Callable[[], object], *, repeats: int) -> Timing:
    """Run something `repeats` times, after a tenth as many runs for warm-up."""
    for _ in range(max(1, repeats // 10)):
        run()
    times_ms = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times_ms.append(1000 * (time.perf_counter() - began))
    return Timing(stage, float(np.median(times_ms)), float(np.percentile(times_ms, 90)))


def fit_picture(image: ImageArray, *, width: int, height: int) -> ImageArray:
    """Resize a picture to fit into width × height, whole and undistorted; its edge pixels fill the rest.

    Args:
        image: RGB uint8 (H, W, 3).
        width: Wanted width in pixels.
        height: Wanted height in pixels.

    Returns:
        RGB uint8 (height, width, 3), the picture in its middle.
    """
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    resized = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    right, bottom = width - inner[0] - left, height - inner[1] - top
    return np.asarray(cv2.copyMakeBorder(resized, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8)


def local_yunet() -> Path | None:
    """Return YuNet's file if it is at hand: $MIEN_YUNET, or fetched before. Nothing is fetched now."""
    if given := os.environ.get("MIEN_YUNET"):
        return Path(given)
    fetched = platformdirs.user_cache_path("mien") / YUNET_FILE  # where `vision.detect` keeps it
    return fetched if fetched.is_file() else None


def threads() -> dict[str, object]:
    """Return how many threads OpenCV and ONNX Runtime use."""
    return {"opencv_threads": cv2.getNumThreads(), "onnxruntime_threads": "1, or one a physical core for 'all threads'"}


def _detectors(photo: ImageArray | None) -> tuple[dict[str, FaceDetector], dict[str, str]]:
    """Return the detectors to measure, and the stages of the others with the reason."""
    if photo is None:
        return {}, {detecting(name): "it takes a photo" for name in ("haar", "yunet")}
    detectors: dict[str, FaceDetector] = {"haar": HaarDetector()}
    file = local_yunet()
    if file is None:
        return detectors, {detecting("yunet"): f"{YUNET_FILE} is not at hand; set MIEN_YUNET to its path"}
    return detectors | {"yunet": YuNetDetector(file)}, {}


def _drawn() -> ImageArray:
    return to_rgb(draw_faces(1, seed=0, size=HEIGHT).images[0])


def _middle_face() -> Face:
    """Return a face of 200 pixels in the middle of the picture, for when no detector found one."""
    x, y = WIDTH / 2, HEIGHT / 2
    return Face(Box(x - 100, y - 100, x + 100, y + 100), score=1.0)
