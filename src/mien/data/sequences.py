"""Sequences: crops of one face in the order of time, a label each, to train and measure temporal models on.

They come from cartoons whose expressions come and go, from the pictures of any dataset held before a shaking camera,
and from folders of clips. All are made or read one at a time, since a sequence is used once: to compute its embeddings.
"""

from __future__ import annotations

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
from mien.errors import DatasetError, InputError
from mien.labels import LabelSet
from mien.pixels import resize
from mien.sources.frames import frames
from mien.sources.paths import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from mien.sources.pictures import read_picture
from mien.structures import Frame, ImageArray, IntArray
from mien.vision.crop import crop_faces
from mien.vision.detect import FaceDetector

Times = npt.NDArray[np.float64]  # (t,): seconds
RATES = (10.0, 15.0, 20.0, 30.0)  # frames per second that cameras give, and that are left of them on slow machines
SECONDS = 6.0  # of a sequence
LAYOUT = "expected <class>/<clip> or <split>/<class>/<clip>, a clip being a video or a folder of frames"


@dataclass(frozen=True)
class FaceSequence:
    """Crops of one face.

    Args:
        images: uint8 crops, each (H, W) or (H, W, 3) RGB.
        times: Rising, in seconds, shape (t,).
        targets: What each shows, ids in a label set, int64 (t,).
    """

    images: list[ImageArray] = field(repr=False)
    times: Times = field(repr=False)
    targets: IntArray = field(repr=False)


def moving_stills(pictures: Dataset, n: int, *, seed: int = 0, rate: float | None = None) -> Iterator[FaceSequence]:
    """Yield sequences of labelled pictures, each held for 0.3 to 2 seconds before a camera that is not at rest.

    Half of the time a picture is cut to the next one, else they dissolve within 0.6 seconds at most; the label is that
    of the picture which is seen more. Sequence i depends on seed, i and the pictures alone.

    Args:
        pictures: One split of a dataset; they are drawn as often as one another.
        n: How many.
        seed: Another seed draws others.
        rate: Frames per second; when None, each sequence has one of `RATES`.
    """
    for i in range(n):
        rng = np.random.default_rng([seed, i, 3])
        times = times_of(rate or rng.choice(RATES))
        hold, share = holds(times, rng, stay=(0.3, 2.0), change=(-0.6, 0.6))
        chosen = rng.integers(len(pictures), size=hold[-1] + 2)
        stills = pictures.images[chosen].astype(np.float32)
        images = [
            np.asarray((1 - share[k]) * stills[hold[k]] + share[k] * stills[hold[k] + 1], np.uint8)
            for k in range(len(times))
        ]
        yield FaceSequence(filmed(images, times, rng), times, pictures.targets[chosen[hold + (share > 0.5)]])


def read_clips(
    root: Path, detector: FaceDetector, labels: LabelSet, *, size: int, rate: float = 25.0
) -> Iterator[tuple[Split, FaceSequence]]:
    """Yield the largest face of each clip of a folder, with its split; all its frames have the label of its folder.

    Where there are no split folders, 10 % of the clips each are valid and test, by a hash of class and name. Frames
    without a face are left out; a warning tells of clips that are left out, since they have none or cannot be read.

    Args:
        root: Holds `<class>/<clip>` or `<split>/<class>/<clip>`: videos, or folders of frames in order of their names,
            numbers by their value: 2.jpg comes before 10.jpg.
        detector: Finds the faces.
        labels: What the folders' names are found in, synonyms allowed.
        size: Side of the crops in pixels.
        rate: Frames per second in folders of frames, whose pictures don't tell; videos have their own.

    Raises:
        DatasetError: There are no clips, or they do not lie in class folders of such labels.
    """
    files = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES | VIDEO_SUFFIXES]
    clips = {(path if path.suffix.lower() in VIDEO_SUFFIXES else path.parent).relative_to(root) for path in files}
    if not clips:
        raise DatasetError(f"'{root}' holds no clips; {LAYOUT}")
    _refuse_loose(root, [path.relative_to(root) for path in files], clips)
    placed = folders.hold_out(folders.placed(root, sorted(map(str, map(PurePosixPath, clips))), layout=LAYOUT))
    targets = [labels.index(clip.label) for clip in placed]  # so that a wrong name is told before hours of reading
    for clip, target in zip(placed, targets, strict=True):
        try:
            found = [_largest(frame, detector, size) for frame in _frames_of(root / clip.name, rate)]
        except InputError as error:
            warnings.warn(f"{error}; the clip is left out", stacklevel=2)
            continue
        seen = [(crop, time) for crop, time in found if crop is not None]
        if not seen:
            warnings.warn(f"no face in '{root / clip.name}'; the clip is left out", stacklevel=2)
            continue
        images, times = zip(*seen, strict=True)
        yield clip.split, FaceSequence(list(images), np.array(times), np.full(len(times), target))


def _refuse_loose(root: Path, files: Sequence[Path], clips: set[Path]) -> None:
    """Name a picture that lies where clips should, which would make a clip of the folder of its class."""
    above = {parent for clip in clips for parent in clip.parents}
    for path in files:
        folder = path.parent
        in_split = any(part.lower() in folders.SPLIT_NAMES for part in folder.parts[:1])
        if path.suffix.lower() in PICTURE_SUFFIXES and (folder in above or len(folder.parts) < 2 + in_split):
            raise DatasetError(f"'{path.as_posix()}' in '{root}' lies in no clip's folder; {LAYOUT}; move or remove it")


def _frames_of(clip: Path, rate: float) -> Iterator[Frame]:
    if clip.is_file():
        yield from frames(clip)
        return
    pictures = [path for path in clip.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES]
    for i, path in enumerate(sorted(pictures, key=_by_number)):
        yield Frame(read_picture(path), i / rate, i, str(clip))


def _by_number(path: Path) -> tuple[list[str | int], str]:
    """Return a key that sorts files by name, digits in it by their value, then as they are written."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)], path.name


def _largest(frame: Frame, detector: FaceDetector, size: int) -> tuple[ImageArray | None, float]:
    found = sorted(detector.detect(frame.image), key=lambda face: face.box.area)
    crops = crop_faces(frame.image, found[-1:])
    return (resize(crops[0], size) if crops else None), frame.time


def times_of(rate: float) -> Times:
    return np.arange(round(SECONDS * rate)) / rate


def holds(
    times: Times, rng: np.random.Generator, *, stay: tuple[float, float], change: tuple[float, float]
) -> tuple[IntArray, Times]:
    """Return which hold, counted from 0, each time is in or is leaving, and its share of the next one, 0 to 1.

    Holds last and changes take as long as is drawn from the ranges, in seconds; a change below 0 is a cut.
    """
    hold, share = np.zeros(len(times), np.int64), np.zeros(len(times))
    leave = rng.uniform(*stay)
    while leave < times[-1]:
        takes = max(rng.uniform(*change), 1e-9)
        way = ((times - leave) / takes).clip(0, 1)
        arrived = way == 1
        hold += arrived
        share = np.where(arrived, 0.0, np.where(way > 0, way * way * (3 - 2 * way), share))  # smooth at both ends
        leave += takes + rng.uniform(*stay)
    return hold, share


def wander(times: Times, rng: np.random.Generator, deviation: float) -> Times:
    """Return a smooth random course of mean 0 that changes within seconds."""
    periods, phases = rng.uniform(1.5, 8, 4), rng.uniform(0, 2 * np.pi, 4)
    return np.asarray(deviation * np.sin(2 * np.pi * times[:, None] / periods + phases).sum(1) / np.sqrt(2))


def filmed(images: Sequence[ImageArray], times: Times, rng: np.random.Generator) -> list[ImageArray]:
    """Return crops as a camera and a detector would give them.

    Framing shakes and drifts by some 3 % of the side, 3 % in scale and 4 degrees; the light changes; each frame has
    noise of its own; one moment is blurred, and in a third of the sequences something covers a part for a while.
    """
    side = images[0].shape[0]
    course = [wander(times, rng, deviation) for deviation in (0.02, 0.02, 0.02, 2.0, 0.08)]
    shakes = rng.normal(0, (0.01, 0.01, 0.01, 0.7, 0.0), (len(times), 5))
    noise, covered = rng.uniform(1, 8), rng.random() < 1 / 3  # noise in grey levels
    blurred_at, covered_at = rng.uniform(0, SECONDS, 2)
    x, y = rng.uniform(0, 0.7, 2) * side
    filmed = []
    for image, time, steady, shake in zip(images, times, np.transpose(course), shakes, strict=True):
        right, down, larger, turned, brighter = steady + shake
        matrix = cv2.getRotationMatrix2D((side / 2, side / 2), turned, 1 + larger)
        matrix[:, 2] += np.array([right, down]) * side
        moved = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        if 0 <= time - blurred_at < 0.2:
            moved = cv2.blur(moved, (max(side // 10, 2), 1))
        if covered and 0 <= time - covered_at < 0.5:
            moved[int(y) : int(y + 0.3 * side), int(x) : int(x + 0.3 * side)] = 90
        lit = moved * (1 + brighter) + rng.normal(0, noise, moved.shape)
        filmed.append(np.asarray(lit.clip(0, 255), np.uint8))
    return filmed
