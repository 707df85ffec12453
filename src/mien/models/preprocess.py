"""Preprocessing of face crops, the same for training, evaluation and live use."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from mien.errors import InputError
from mien.images import ImageLike, each_image, to_rgb
from mien.models.spec import Preprocess
from mien.pixels import resize, to_grey
from mien.structures import ImageArray


def preprocess(images: Iterable[ImageLike], config: Preprocess) -> ImageArray:
    """Return face crops as the input batch of a network.

    Args:
        images: Crops, each as for `mien.to_rgb`; sizes may differ.
        config: Size, channels and equalisation of the input.

    Returns:
        uint8 (n, size, size, channels); n may be 0.

    Raises:
        InputError: It is a single crop, or one that is no image or empty.
    """
    batch = [_preprocess_one(to_rgb(image, keep_grey=True), config) for image in each_image(images, name="crops")]
    if not batch:
        return np.empty((0, config.size, config.size, config.channels), np.uint8)
    return np.stack(batch)


def _preprocess_one(image: ImageArray, config: Preprocess) -> ImageArray:
    if image.size == 0:
        raise InputError(f"a crop has shape {image.shape}; expected at least one pixel")
    if config.channels == 3:
        return resize(to_rgb(image), config.size)
    grey = resize(to_grey(image), config.size)
    if config.equalize:
        grey = np.asarray(cv2.equalizeHist(grey), np.uint8)
    return grey[:, :, None]
