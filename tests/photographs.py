"""Photographs for tests: grey squares as faces, and a detector that finds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from mien.data.dataset import NameArray
from mien.data.synthetic import draw_faces
from mien.pixels import to_grey
from mien.structures import Box, Face, ImageArray


class SquareDetector:
    """Finds bright squares; their left upper corner gives the place, and the width the score."""

    name = "square"

    def __init__(self, *, min_score: float = 0.0) -> None: ...

    def detect(self, image: ImageArray) -> list[Face]:
        bright = (to_grey(image) > 200).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(bright)
        boxes = [(float(x), float(y), float(w), float(h)) for x, y, w, h, _ in stats[1:]]
        return [Face(Box(x, y, x + w, y + h), score=0.5 + w / 1000) for x, y, w, h in boxes]


def square_photo(*faces: tuple[int, int, int], size: tuple[int, int] = (140, 140), colour: bool = False) -> ImageArray:
    """Draw a dark photograph with a bright square for each face: x, y and side."""
    image = np.full((size[1], size[0]), 40, np.uint8)
    for x, y, side in faces:
        image[y : y + side, x : x + side] = 230
    return np.dstack([image, image, image // 2 + 60]) if colour else image


def scene(i: int, *, side: int = 96, size: tuple[int, int] = (320, 240)) -> ImageArray:
    """Return a grey photograph with the drawn face number i in it, which the Haar detector finds."""
    face = draw_faces(i + 1, seed=3, size=side).images[i, ..., 0]
    image = np.full((size[1], size[0]), int(face[0].mean()), np.uint8)
    image[60 : 60 + side, 100 : 100 + side] = face
    return image


def write_pictures(root: Path, pictures: Mapping[str, ImageArray]) -> Path:
    """Write pictures, grey or RGB, under their names."""
    for name, image in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(path.suffix, image[..., ::-1] if image.ndim == 3 else image)[1].tobytes())
    return root


def names_of(names: NameArray | None) -> list[str]:
    assert names is not None
    return [str(name) for name in names]
