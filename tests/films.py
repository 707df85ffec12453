"""Small films of the kinds that people have: of constant and variable rate, cut off, damaged, joined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def write_film(
    path: Path, *, n: int = 60, codec: str = "libx264", rate: int = 20, pts: Sequence[int] | None = None
) -> Path:
    """Write frames of noise, with two B frames between others and a key frame every 12.

    Args:
        path: The suffix is the container.
        n: Number of frames.
        codec: An encoder of FFmpeg.
        rate: Frames per second.
        pts: Time of each frame in milliseconds, increasing; by the rate when None.
    """
    from fractions import Fraction

    import av

    options = {"movflags": "faststart"} if path.suffix in {".mp4", ".mov"} else {}
    rng = np.random.default_rng(n)
    with av.open(str(path), "w", options=options) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"g": "12", "bf": "2", "threads": "1"}
        if pts is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(n):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = (i, Fraction(1, rate)) if pts is None else (pts[i], Fraction(1, 1000))
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def variable(path: Path) -> Path:
    """Write a film whose frames come at 40 ms, then at 150 ms, with a pause of two seconds."""
    return write_film(path, pts=[40 * i if i < 30 else 3200 + 150 * (i - 30) for i in range(60)])


def cut(path: Path) -> Path:
    """Write a film whose file ends in its middle, while the header announces all of it."""
    data = write_film(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def damaged(path: Path) -> Path:
    """Write a film with zeros in its middle."""
    data = bytearray(write_film(path).read_bytes())
    start, stop = len(data) * 45 // 100, len(data) * 52 // 100
    data[start:stop] = bytes(stop - start)
    path.write_bytes(data)
    return path


def joined(path: Path) -> Path:
    """Write two films one after the other, so that the timestamps start again in the middle."""
    write_film(path, n=30)
    path.write_bytes(path.read_bytes() * 2)
    return path


def animated(path: Path) -> Path:
    """Write a GIF, whatever the suffix says."""
    from PIL import Image

    pictures = [Image.fromarray(np.full((48, 64, 3), 8 * i, np.uint8)) for i in range(30)]
    pictures[0].save(path, "GIF", save_all=True, append_images=pictures[1:], duration=100)
    return path


FILMS = {
    "constant.mp4": write_film, "constant.mkv": write_film, "constant.ts": write_film, "constant.avi": write_film,
    "variable.mp4": variable, "variable.mkv": variable, "cut.mp4": cut, "cut.mkv": cut, "damaged.mp4": damaged,
    "damaged.ts": damaged, "joined.ts": joined, "animated.mp4": animated,
}  # fmt: skip
