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

# Normalisation of pixels, 0 to 255, in front of a model of another origin: whether RGB becomes BGR; mean; deviation.
NORMALIZATIONS: dict[str, tuple[bool, tuple[float, ...], tuple[float, ...]]] = {
    "unit": (False, (0,), (255,)),
    "signed": (False, (127.5,), (127.5,)),
    "none": (False, (0,), (1,)),
    # the modes of preprocess_input in keras.applications, where "signed" is called "tf"
    "torch": (False, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": (True, (103.939, 116.779, 123.68), (1,)),
    # mean colours of the training images of VGGFace (Parkhi et al. 2015; Cao et al. 2018), as in keras_vggface
    "vggface": (True, (93.5940, 104.7624, 129.1863), (1,)),
    "vggface2": (True, (91.4953, 103.8827, 131.0912), (1,)),
}


def preprocess(images: Iterable[ImageLike], config: Preprocess) -> ImageArray:
    """Return face crops as the input batch of a network.

    Args:
        images: Crops, each as for `mien.to_rgb`; sizes may differ.
        config: Size, channels and equalisation of the input.

    Returns:
        uint8 (n, size, size, channels); n may be 0.

    Raises:
        InputError: It is a single crop, or one is not an image or is empty.
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
