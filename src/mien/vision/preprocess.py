"""The one place where pixels become network input: for training, evaluation and live use alike.

What follows inside the graph (normalisation, softmax, temperature) is in `models.nets` and `models.export`.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from mien.models.spec import Preprocess
from mien.structures import ImageArray


def preprocess(images: Iterable[ImageArray], config: Preprocess) -> ImageArray:
    """Bring face crops into the form that a network reads.

    Args:
        images: Crops, uint8, each (H, W), (H, W, 1) grey or (H, W, 3) RGB; sizes may differ.
        config: Wanted size, channels and equalisation.

    Returns:
        uint8 (n, size, size, channels); n may be 0.
    """
    batch = [_preprocess_one(image, config) for image in images]
    if not batch:
        return np.empty((0, config.size, config.size, config.channels), np.uint8)
    return np.stack(batch)


def resize(image: ImageArray, size: int) -> ImageArray:
    """Resize to size × size pixels: by area when shrinking, bilinear when enlarging."""
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    shrinks = height > size or width > size
    resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def to_grey(image: ImageArray) -> ImageArray:
    """Return the grey picture (H, W) of an RGB or grey one, by the luma weights of BT.601."""
    if image.ndim == 2:
        return image
    if image.shape[2] == 1:
        return image[:, :, 0]
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def to_rgb(image: ImageArray) -> ImageArray:
    """Return the picture as (H, W, 3), a grey one three times."""
    if image.ndim == 3 and image.shape[2] == 3:
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)


def _preprocess_one(image: ImageArray, config: Preprocess) -> ImageArray:
    if config.channels == 3:
        return resize(to_rgb(image), config.size)
    grey = resize(to_grey(image), config.size)
    if config.equalize:
        grey = np.asarray(cv2.equalizeHist(grey), np.uint8)
    return grey[:, :, None]
