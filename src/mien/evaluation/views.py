"""Views: the looks at a picture whose probabilities are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from mien.errors import ConfigError
from mien.structures import ImageArray

Look: TypeAlias = Callable[[ImageArray], ImageArray]
CORNERS = {  # where a crop lies: share of the room above it, and to the left of it
    "top left": (0.0, 0.0),
    "top right": (0.0, 1.0),
    "bottom left": (1.0, 0.0),
    "bottom right": (1.0, 1.0),
    "centre": (0.5, 0.5),
}
CROP_RATIO = 42 / 48  # 224 / 256 in Krizhevsky et al. 2012


def mirrored(images: ImageArray) -> ImageArray:
    """Return the mirror images of pictures (n, H, W, C)."""
    return np.ascontiguousarray(images[:, :, ::-1])


def cropped(images: ImageArray, *, down: float, right: float, mirror: bool) -> ImageArray:
    """Return the same part of each picture; the model's preprocessing enlarges it again.

    Args:
        images: uint8 (n, H, W, C).
        down: Where it lies: 0 at the top, 1 at the bottom.
        right: 0 on the left, 1 on the right.
        mirror: Whether to mirror it afterwards.

    Returns:
        uint8 (n, h, w, C), its sides `CROP_RATIO` of the picture's, rounded.
    """
    height, width = images.shape[1:3]
    h, w = round(CROP_RATIO * height), round(CROP_RATIO * width)
    y, x = round(down * (height - h)), round(right * (width - w))
    crops = images[:, y : y + h, x : x + w]
    return mirrored(crops) if mirror else crops


# What is done to a stack of pictures (n, H, W, C) before the classifier sees it.
CROPS: dict[str, Look] = {
    name: partial(cropped, down=down, right=right, mirror=mirror)
    for corner, (down, right) in CORNERS.items()
    for name, mirror in ((corner, False), (f"{corner}, mirrored", True))
}
LOOKS: dict[str, Look] = {"plain": lambda images: images, "mirrored": mirrored, **CROPS}
# A view is the arithmetic mean of the probabilities of these looks at a picture.
VIEWS: dict[str, tuple[str, ...]] = {
    "single": ("plain",),
    "flip": ("plain", "mirrored"),
    "tencrop": tuple(CROPS),  # Krizhevsky et al. 2012, section 4.1
}


def looks_of(views: Sequence[str]) -> list[str]:
    """Return each look that the views need, once."""
    unknown = [view for view in views if view not in VIEWS]
    if unknown or not views:
        raise ConfigError(f"no view '{', '.join(unknown)}'; choose from {', '.join(VIEWS)}")
    return [look for look in LOOKS if any(look in VIEWS[view] for view in views)]
