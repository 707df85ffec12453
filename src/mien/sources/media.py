"""Properties of picture and video files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Media:
    """The properties of a picture or video file, as far as its header gives them.

    Args:
        kind: "video" has moving pictures: animated GIF, WebP, PNG and AVIF files too.
        size: Width and height in pixels of the upright frames.
        frames: Number of frames, 1 for a picture; None where unknown.
        rate: Frames per second: a video's average (25 where the file gives none), an animation's first; None for a
            picture.
    """

    kind: Literal["picture", "video"]
    size: tuple[int, int]
    frames: int | None
    rate: float | None
