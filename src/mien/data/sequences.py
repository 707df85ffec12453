"""Sequences: crops of one face over time, one label per frame, to train and evaluate temporal models.

Sources: cartoons with changing expressions, still images of any dataset seen by a simulated shaky camera, and folders
of clips. Each sequence is made or read on demand, since it is used once: to compute its embeddings.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import numpy.typing as npt

from mien.data import folders
from mien.data.dataset import Dataset, Split
from mien.data.pictures import Picture, hold_out
from mien.data.splits import split_within
from mien.errors import DatasetError, InputError
from mien.files import as_path
from mien.labels import LabelSet
from mien.pixels import resize
from mien.sources.frames import frames
from mien.sources.paths import PICTURE_SUFFIXES, VIDEO_SUFFIXES, list_files
from mien.sources.pictures import read_picture
from mien.structures import Frame, ImageArray, IntArray
from mien.vision.crop import crop_faces
from mien.vision.detect import FaceDetector

Times = npt.NDArray[np.float64]  # (t,): seconds
RATES = (10.0, 15.0, 20.0, 30.0)  # frames per second of cameras, also on machines too slow for all their frames
SECONDS = 6.0  # of a sequence
LAYOUT = "expected <class>/<clip> or <split>/<class>/<clip>, a clip being a video or a folder of frames"


@dataclass(frozen=True)
class FaceSequence:
    """Crops of one face over time.

    Args:
        images: uint8 crops, each (H, W) or (H, W, 3) RGB.
        times: Increasing, in seconds, shape (t,).
        targets: Class id of each crop, int64 (t,).
    """

    images: list[ImageArray] = field(repr=False)
    times: Times = field(repr=False)
    targets: IntArray = field(repr=False)


def moving_stills(dataset: Dataset, n: int, *, seed: int = 0, rate: float | None = None) -> Iterator[FaceSequence]:
    """Yield sequences of still images, each shown for 0.3 to 2 seconds to a simulated shaky camera.

    Half of the changes are cuts, the others cross-fades of up to 0.6 seconds; a frame has the label of the image with
    the larger weight. Sequence i depends on seed, i and the images alone.

    Args:
        dataset: One split of a dataset; all are equally probable.
        n: Number of sequences.
        seed: Of the draw.
        rate: Frames per second; None draws one of `RATES` per sequence.
    """
    for i in range(n):
        rng = np.random.default_rng([seed, i, 3])
        times = sample_times(rate or rng.choice(RATES))
        hold, share = hold_schedule(times, rng, stay=(0.3, 2.0), change=(-0.6, 0.6))
        chosen = rng.integers(len(dataset), size=hold[-1] + 2)
        stills = dataset.images[chosen].astype(np.float32)
        images = [
            np.asarray((1 - share[k]) * stills[hold[k]] + share[k] * stills[hold[k] + 1], np.uint8)
            for k in range(len(times))
        ]
        yield FaceSequence(simulate_camera(images, times, rng), times, dataset.targets[chosen[hold + (share > 0.5)]])


def read_clips(
    root: str | Path, detector: FaceDetector, labels: LabelSet, *, size: int, rate: float = 25.0
) -> Iterator[tuple[Split, FaceSequence]]:
    """Yield the split and the largest face of each clip; all its frames have the label of its class folder.

    A missing valid or test split is held out of train, 10 % of each class: see `mien.data.splits.hold_out`. Frames
    without a face are skipped; warnings name clips without any face and clips that cannot be read, and count other
    files.

    Args:
        root: Holds `<class>/<clip>` or `<split>/<class>/<clip>`: videos, or folders of frames, sorted by name and
            numbers by value: 2.jpg comes before 10.jpg.
        detector: Of the faces.
        labels: Label set of the class folders, synonyms allowed.
        size: Side of the crops in pixels.
        rate: Frames per second of frame folders; videos have their own.

    Raises:
        DatasetError: There are no clips, or one is not in the class folder of such a label.
    """
    root = as_path(root)
    clips = _list_clips(root)
    targets = [labels.index(clip.label) for clip in clips]  # an unknown label fails before hours of reading
    for clip, target in zip(clips, targets, strict=True):
        try:
            crops = [_largest(frame, detector, size) for frame in _frames_of(root / clip.name, rate)]
        except InputError as error:
            warnings.warn(f"{error}; the clip is skipped", stacklevel=2)
            continue
        found = [(crop, time) for crop, time in crops if crop is not None]
        if not found:
            warnings.warn(f"no face in '{root / clip.name}'; the clip is skipped", stacklevel=2)
            continue
        images, times = zip(*found, strict=True)
        yield clip.split, FaceSequence(list(images), np.array(times), np.full(len(times), target))


def _list_clips(root: Path) -> list[Picture]:
    """Return the clips with their splits and labels, sorted by name."""
    try:
        files = [path for path in list_files(root) if path.suffix]
    except InputError as error:
        raise DatasetError(f"'{root}' holds no clips; {LAYOUT}") from error
    clips = {(path if path.suffix.lower() in VIDEO_SUFFIXES else path.parent).relative_to(root) for path in files}
    _check_pictures(root, [path.relative_to(root) for path in files], clips)
    names = sorted(str(PurePosixPath(clip)) for clip in clips)
    return hold_out(folders.parse_layout(root, names, layout=LAYOUT))[0]


def _check_pictures(root: Path, files: Sequence[Path], clips: set[Path]) -> None:
    """Refuse an image directly in a class folder, which would turn that folder into a clip."""
    above = {parent for clip in clips for parent in clip.parents}
    for path in files:
        folder = path.parent
        in_split = any(map(split_within, folder.parts[:1]))
        if path.suffix.lower() in PICTURE_SUFFIXES and (folder in above or len(folder.parts) < 2 + in_split):
            raise DatasetError(
                f"'{path.as_posix()}' in '{root}' is not in a clip's folder; {LAYOUT}; move or remove it"
            )


def _frames_of(clip: Path, rate: float) -> Iterator[Frame]:
    if os.path.isfile(clip):
        yield from frames(clip)
        return
    pictures = [path for path in clip.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES]
    for i, path in enumerate(sorted(pictures, key=_by_number)):
        yield Frame(read_picture(path), i / rate, i, str(clip))


def _by_number(path: Path) -> tuple[list[str | int], str]:
    """Return a sort key: the name with its numbers by value, then the name as written."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)], path.name


def _largest(frame: Frame, detector: FaceDetector, size: int) -> tuple[ImageArray | None, float]:
    found = sorted(detector.detect(frame.image), key=lambda face: face.box.area)
    crops = crop_faces(frame.image, found[-1:])
    return (resize(crops[0], size) if crops else None), frame.time


def sample_times(rate: float) -> Times:
    return np.arange(round(SECONDS * rate)) / rate


def hold_schedule(
    times: Times, rng: np.random.Generator, *, stay: tuple[float, float], change: tuple[float, float]
) -> tuple[IntArray, Times]:
    """Draw a schedule of holds and the changes between them.

    Args:
        times: In seconds, shape (t,).
        rng: Of the draw.
        stay: Shortest and longest hold in seconds.
        change: Shortest and longest change in seconds; a negative one is a cut.

    Returns:
        Index of the current hold, int64 (t,), and the weight of the next one, in [0, 1], shape (t,).
    """
    hold, share = np.zeros(len(times), np.int64), np.zeros(len(times))
    leave = rng.uniform(*stay)
    while leave < times[-1]:
        takes = max(rng.uniform(*change), 1e-9)
        progress = ((times - leave) / takes).clip(0, 1)
        arrived = progress == 1
        hold += arrived
        share = np.where(arrived, 0.0, np.where(progress > 0, progress**2 * (3 - 2 * progress), share))  # smoothstep
        leave += takes + rng.uniform(*stay)
    return hold, share


def random_drift(times: Times, rng: np.random.Generator, deviation: float) -> Times:
    """Return a smooth random signal of mean 0: a sum of four sines with periods of 1.5 to 8 seconds."""
    periods, phases = rng.uniform(1.5, 8, 4), rng.uniform(0, 2 * np.pi, 4)
    return np.asarray(deviation * np.sin(2 * np.pi * times[:, None] / periods + phases).sum(1) / np.sqrt(2))


def simulate_camera(images: Sequence[ImageArray], times: Times, rng: np.random.Generator) -> list[ImageArray]:
    """Distort crops as a camera and a detector do.

    The frame jitters and drifts by about 3 % of its side, 3 % in scale and 4 degrees; the light changes; each frame has
    its own noise; 0.2 seconds are blurred, and in a third of the sequences 0.5 seconds are partly occluded.
    """
    side = images[0].shape[0]
    drifts = [random_drift(times, rng, deviation) for deviation in (0.02, 0.02, 0.02, 2.0, 0.08)]
    jitters = rng.normal(0, (0.01, 0.01, 0.01, 0.7, 0.0), (len(times), 5))
    noise, occluded = rng.uniform(1, 8), rng.random() < 1 / 3  # standard deviation of the noise in grey levels
    blurred_at, occluded_at = rng.uniform(0, SECONDS, 2)
    x, y = rng.uniform(0, 0.7, 2) * side
    distorted = []
    for image, time, drift, jitter in zip(images, times, np.transpose(drifts), jitters, strict=True):
        right, down, larger, turned, brighter = drift + jitter
        matrix = cv2.getRotationMatrix2D((side / 2, side / 2), turned, 1 + larger)
        matrix[:, 2] += np.array([right, down]) * side
        moved = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        if 0 <= time - blurred_at < 0.2:
            moved = cv2.blur(moved, (max(side // 10, 2), 1))
        if occluded and 0 <= time - occluded_at < 0.5:
            moved[int(y) : int(y + 0.3 * side), int(x) : int(x + 0.3 * side)] = 90
        lit = moved * (1 + brighter) + rng.normal(0, noise, moved.shape)
        distorted.append(np.asarray(lit.clip(0, 255), np.uint8))
    return distorted
