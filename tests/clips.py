"""Drawn videos."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np

from mien.quiet import quiet


def write_video(path: Path, *, n: int = 10, fps: float = 10, size: tuple[int, int] = (64, 48)) -> Path:
    """Write up to 12 frames, frame i of grey 20 * i, the left half red-tinted."""
    with quiet():  # FFmpeg keeps for good the log level that the first video of a process opens with
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    for i in range(n):
        image = np.full((size[1], size[0], 3), 20 * i, np.uint8)
        image[:, : size[0] // 2, 2] = 255
        writer.write(image)
    writer.release()
    return path


def turn_clockwise(path: Path) -> Path:
    """Make an MP4 of 48 pixels' height say that it is to be shown after a quarter turn."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # ISO 14496-12, 8.3.2: 16.16 fixed point, and 2.30 in the last column
    one, unit = 1 << 16, 1 << 30
    data[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 48 << 16, 0, unit)
    path.write_bytes(data)
    return path
