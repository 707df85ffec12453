"""Preprocessing of face crops, the same for training, evaluation and live use."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from mien.models.spec import Preprocess
from mien.pixels import resize, to_grey, to_rgb
from mien.structures import ImageArray


def preprocess(images: Iterable[ImageArray], config: Preprocess) -> ImageArray:
    """Return face crops as the input batch of a network.

    Args:
        images: Crops, uint8, each (H, W), (H, W, 1) grey or (H, W, 3) RGB; sizes may differ.
        config: Size, channels and equalisation of the input.

    Returns:
        uint8 (n, size, size, channels); n may be 0.
    """
    batch = [_preprocess_one(image, config) for image in images]
    if not batch:
        return np.empty((0, config.size, config.size, config.channels), np.uint8)
    return np.stack(batch)


def _preprocess_one(image: ImageArray, config: Preprocess) -> ImageArray:
    if config.channels == 3:
        return resize(to_rgb(image), config.size)
    grey = resize(to_grey(image), config.size)
    if config.equalize:
        grey = np.asarray(cv2.equalizeHist(grey), np.uint8)
    return grey[:, :, None]
