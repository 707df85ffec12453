"""The time of each stage on this machine, from face detection to expressions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mien.data.synthetic import draw_faces
from mien.images import to_rgb
from mien.machine.facts import machine_facts
from mien.models.classifier import OnnxClassifier
from mien.models.preprocess import preprocess
from mien.models.spec import DEFAULT_MODEL
from mien.models.store import find_model
from mien.recognizer import Recognizer
from mien.settings import Range
from mien.structures import Box, Face, ImageArray
from mien.vision.crop import crop_faces
from mien.vision.detect import FaceDetector
from mien.vision.fetch import local_yunet
from mien.vision.haar import HaarDetector
from mien.vision.yunet import YuNetDetector

WIDTH, HEIGHT = 640, 480  # the default of most cameras
MAX_REPEATS = 10_000  # a model of 100 ms takes half an hour for them
BATCH = 8  # faces, as in a group photo
CROP, PREPROCESS = "crop", "preprocess"
ONE_THREAD = "classify, 1 face, 1 thread"
ALL_THREADS = "classify, 1 face, all threads"
GROUP = f"classify, {BATCH} faces, all threads"


def detection_stage(detector: str) -> str:
    """Return the name of a detector's stage."""
    return f"detect, {detector}"


def end_to_end_stage(detector: str) -> str:
    """Return the name of all stages together, from an image to its expressions."""
    return f"picture to expressions, {detector}"


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of one stage.

    Args:
        stage: Name of the stage.
        median_ms: Median in milliseconds.
        p90_ms: 90th percentile in milliseconds.
    """

    stage: str
    median_ms: float
    p90_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """Results of `bench`.

    Args:
        model: Name of the model.
        size: Width and height of the image in pixels.
        faces: Detector -> number of faces it found.
        repeats: Runs of each stage, after warm-up.
        timings: One per measured stage.
        skipped: Stage -> reason why it was not measured.
        machine: From `machine_facts`, and the threads of OpenCV and ONNX Runtime.
    """

    model: str
    size: tuple[int, int]
    faces: dict[str, int]
    repeats: int
    timings: tuple[Timing, ...]
    skipped: dict[str, str]
    machine: dict[str, object]

    def timing(self, stage: str) -> Timing:
        """Return the timing of a stage.

        Raises:
            KeyError: It was not measured.
        """
        return {timing.stage: timing for timing in self.timings}[stage]


def bench(
    photo: ImageArray | None = None, model: str = DEFAULT_MODEL, *, models_dir: Path | None = None, repeats: int = 50
) -> BenchResult:
    """Time each stage alone, then all stages together.

    Args:
        photo: RGB uint8 (H, W, 3), fitted into 640×480. None for a drawn face; detectors are then not measured, since
            they reject it sooner than a photo.
        model: Name from `mien models`, or the path of an .onnx file.
        models_dir: Directory of user models; the default one when None.
        repeats: Runs of each stage, after a tenth as many runs of warm-up.

    Raises:
        UnknownModel: No such model.
        ModelError: The model file, or the local YuNet file, cannot be used.
        ConfigError: `repeats` is out of range.
    """
    Range(1, MAX_REPEATS).check("repeats", repeats)
    path = find_model(model, models_dir=models_dir)
    image = fit_image(_drawn() if photo is None else to_rgb(photo), width=WIDTH, height=HEIGHT)
    # Detectors are timed before ONNX Runtime starts its threads, which busy-wait after each run.
    detectors, skipped = _detectors(photo)
    timings = [
        time_stage(detection_stage(name), partial(detector.detect, image), repeats=repeats)
        for name, detector in detectors.items()
    ]
    found = {name: detector.detect(image) for name, detector in detectors.items()}
    face = next((faces[0] for faces in found.values() if faces), _middle_face())
    timings += _time_classification(path, image, face, repeats=repeats)
    classifier = OnnxClassifier(path)
    for name, detector in detectors.items():
        if found[name]:
            recognize = partial(Recognizer(detector, classifier).recognize, image)
            timings.append(time_stage(end_to_end_stage(name), recognize, repeats=repeats))
        else:
            skipped[end_to_end_stage(name)] = "no face was found; give a photo with one"
    return BenchResult(
        model=classifier.spec.name,
        size=(WIDTH, HEIGHT),
        faces={name: len(faces) for name, faces in found.items()},
        repeats=repeats,
        timings=tuple(timings),
        skipped=skipped,
        machine=machine_facts() | threads(),
    )


def _time_classification(path: Path, image: ImageArray, face: Face, *, repeats: int) -> list[Timing]:
    """Time the stages from a face to its probabilities, on one thread and on all."""
    single, threaded = OnnxClassifier(path, threads=1), OnnxClassifier(path)
    spec = single.spec
    crop = crop_faces(image, [face], geometry=spec.crop)[0]
    pixels = preprocess([crop], spec.preprocess)[0]  # so that the classification stages time the network alone
    stages: dict[str, Callable[[], object]] = {
        CROP: partial(crop_faces, image, [face], geometry=spec.crop),
        PREPROCESS: partial(preprocess, [crop], spec.preprocess),
        ONE_THREAD: partial(single.predict_proba, [pixels]),
        ALL_THREADS: partial(threaded.predict_proba, [pixels]),
        GROUP: partial(threaded.predict_proba, [pixels] * BATCH),
    }
    return [time_stage(stage, run, repeats=repeats) for stage, run in stages.items()]


def time_stage(stage: str, run: Callable[[], object], *, repeats: int) -> Timing:
    """Time `repeats` calls of a function, after a tenth as many calls of warm-up."""
    for _ in range(max(1, repeats // 10)):
        run()
    times_ms = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times_ms.append(1000 * (time.perf_counter() - began))
    return Timing(stage, float(np.median(times_ms)), float(np.percentile(times_ms, 90)))


def fit_image(image: ImageArray, *, width: int, height: int) -> ImageArray:
    """Resize an image to fit into width × height, keeping its aspect ratio; its edge pixels are replicated around it.

    Args:
        image: RGB uint8 (H, W, 3).
        width: Target width in pixels.
        height: Target height in pixels.

    Returns:
        RGB uint8 (height, width, 3), with the image in the middle.
    """
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    resized = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    right, bottom = width - inner[0] - left, height - inner[1] - top
    return np.asarray(cv2.copyMakeBorder(resized, top, bottom, left, right, cv2.BORDER_REPLICATE), np.uint8)


def threads() -> dict[str, object]:
    """Return the numbers of threads of OpenCV and ONNX Runtime."""
    return {"opencv_threads": cv2.getNumThreads(), "onnxruntime_threads": "1, or one a physical core for 'all threads'"}


def _detectors(photo: ImageArray | None) -> tuple[dict[str, FaceDetector], dict[str, str]]:
    """Return the detectors to measure, and the stages of the others with the reason why not."""
    if photo is None:
        return {}, {detection_stage(name): "give a photo" for name in ("haar", "yunet")}
    detectors: dict[str, FaceDetector] = {"haar": HaarDetector()}
    file = local_yunet()
    if file is None:
        return detectors, {detection_stage("yunet"): "not fetched yet; run `mien doctor --fetch`"}
    return detectors | {"yunet": YuNetDetector(file)}, {}


def _drawn() -> ImageArray:
    return to_rgb(draw_faces(1, seed=0, size=HEIGHT).images[0])


def _middle_face() -> Face:
    """Return a face of 200 pixels in the middle of the image, in case no detector found one."""
    x, y = WIDTH / 2, HEIGHT / 2
    return Face(Box(x - 100, y - 100, x + 100, y + 100), score=1.0)
