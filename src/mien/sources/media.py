"""Properties of picture and video files, and the choice of a video's frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mien.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Media:
    """The properties of a picture or video file, as far as its header gives them.

    Args:
        kind: "video" has moving pictures: animated GIF, WebP, PNG and AVIF files too.
        size: Width and height in pixels of the upright frames, whose pixels are square.
        frames: Number of frames, 1 for a picture; None where unknown.
        rate: Frames per second: a video's average (25 where the file gives none), an animation's first; None for a
            picture.
    """

    kind: Literal["picture", "video"]
    size: tuple[int, int]
    frames: int | None
    rate: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSelection:
    """The frames of a video or animation that are read; pictures are always read.

    Args:
        fps: Frames per second, at most: the first frame in each interval of 1 / fps seconds; all when None.
        start: Time of the first frame, in seconds from the video's start.
        stop: Time in seconds before which reading stops; the end of the video when None.

    Raises:
        ConfigError: fps is not positive, a time is negative, or stop is not after start.
    """

    fps: float | None = None
    start: float = 0.0
    stop: float | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise ConfigError(f"fps is {self.fps:g}; expected a positive number of frames per second")
        if not (math.isfinite(self.start) and self.start >= 0):
            raise ConfigError(f"start is {self.start:g}; expected seconds from the video's start, 0 or more")
        if self.stop is not None and not (math.isfinite(self.stop) and self.stop > self.start):
            raise ConfigError(f"stop is {self.stop:g}; expected seconds after start, which is {self.start:g}")

    def __str__(self) -> str:
        end = "the end" if self.stop is None else f"{self.stop:g} s"
        return f"from {self.start:g} s to {end}"

    def ends_before(self, time: float) -> bool:
        """Return whether no frame from this time on is read, in seconds."""
        return self.stop is not None and time >= self.stop

    def chooser(self) -> Callable[[float], bool]:
        """Return a function that is called with each frame's time in seconds, in order: whether it is read."""
        last = -1

        def wanted(time: float) -> bool:
            nonlocal last
            if time < self.start or self.ends_before(time):
                return False
            if self.fps is None:
                return True
            interval = int((time - self.start) * self.fps + 1e-6)  # times in containers are rounded
            if interval == last:
                return False
            last = interval
            return True

        return wanted


ALL_FRAMES = FrameSelection()


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A piece of a video: the selected frames whose time is in [start, stop).

    Args:
        start: In seconds; 0 for the first range of a video.
        stop: In seconds; None for the last range, which ends with the video.
    """

    start: float = 0.0
    stop: float | None = None

    def __str__(self) -> str:
        return f"from {self.start:g} s to {'the end' if self.stop is None else f'{self.stop:g} s'}"


WHOLE = TimeRange()
