"""What a picture file says of itself before it is decoded: format, size, whether it is all there.

A few kilobytes can announce a picture that fills the memory, so the size is read before any pixel is.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

WEBP_ALPHA = 0x10  # flag in the VP8X chunk
JPEG_START_OF_SCAN = 0xDA
# Start-of-frame markers C0..CF hold the size, but for C4 (Huffman tables), C8 (reserved), CC (arithmetic coding).
JPEG_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
TIFF_WIDTH, TIFF_HEIGHT, TIFF_EXTRA_SAMPLES = 256, 257, 338


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """What the first bytes tell.

    Args:
        format: "JPEG", "PNG", "GIF", "BMP", "WebP", "TIFF" or "PNM".
        width: In pixels as stored, before any rotation by EXIF.
        height: Likewise.
        alpha: Whether pixels may be transparent.
        complete: False when the end of the file is missing, as far as the format shows it.
    """

    format: str
    width: int
    height: int
    alpha: bool = False
    complete: bool = True


def picture_format(start: bytes) -> str | None:
    """Return the format that the first 16 bytes or more of a file show; None if it is no picture we read."""
    return next((name for name, signature in SIGNATURES.items() if signature.match(start)), None)


def read_header(data: bytes) -> PictureHeader | None:
    """Read the header of a picture.

    Args:
        data: The whole file.

    Returns:
        The header; None if the format is none of ours.

    Raises:
        ValueError: The format is known but the header is damaged or cut short.
    """
    name = picture_format(data)
    if name is None:
        return None
    try:
        header = READERS[name](data)
    except (struct.error, IndexError) as error:
        raise ValueError(f"the {name} header is cut short") from error
    if header.width < 1 or header.height < 1:
        raise ValueError(f"the {name} header gives {header.width}x{header.height} pixels")
    return header


def count_gif_frames(data: bytes) -> int:
    """Count the pictures in a GIF by walking its blocks (GIF89a specification, 1990).

    Raises:
        ValueError: The file ends before its trailer, or a block is none the format has.
    """
    try:
        position = 13 + _gif_colours(data[10])
        frames = 0
        while data[position] != 0x3B:  # the trailer
            if data[position] == 0x2C:  # a picture: descriptor, colours, one byte, blocks
                frames += 1
                position = _skip_gif_blocks(data, position + 11 + _gif_colours(data[position + 9]))
            elif data[position] == 0x21:  # an extension: label, blocks
                position = _skip_gif_blocks(data, position + 2)
            else:
                raise ValueError("the GIF is damaged")
    except IndexError:
        raise ValueError("the GIF is truncated") from None
    return frames


def _gif_colours(flags: int) -> int:
    """Return the bytes of the colour table that the flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_gif_blocks(data: bytes, position: int) -> int:
    while data[position]:
        position += data[position] + 1
    return position + 1


def _read_jpeg(data: bytes) -> PictureHeader:
    position, width, height = 2, 0, 0
    while True:
        if data[position] != 0xFF:
            raise ValueError("the JPEG header is damaged")
        marker = data[position + 1]
        if marker == 0xFF or marker in JPEG_WITHOUT_LENGTH:
            position += 1 if marker == 0xFF else 2
            continue
        if marker in JPEG_START_OF_FRAME:
            height, width = struct.unpack_from(">HH", data, position + 5)
        if marker == JPEG_START_OF_SCAN:
            break
        position += 2 + int(struct.unpack_from(">H", data, position + 2)[0])
    # A thumbnail in the EXIF block ends with the same two bytes, so only those after the scan's start count.
    return PictureHeader("JPEG", width, height, complete=data.find(b"\xff\xd9", position) >= 0)


def _read_png(data: bytes) -> PictureHeader:
    width, height, _, colour_type = struct.unpack_from(">IIBB", data, 16)
    before_pixels = data[: data.find(b"IDAT")]
    alpha = colour_type in (4, 6) or b"tRNS" in before_pixels
    return PictureHeader("PNG", width, height, alpha=alpha, complete=data.rfind(b"IEND") >= 0)


def _read_gif(data: bytes) -> PictureHeader:
    return PictureHeader("GIF", *struct.unpack_from("<HH", data, 6))


def _read_bmp(data: bytes) -> PictureHeader:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the header of OS/2
        return PictureHeader("BMP", *struct.unpack_from("<HH", data, 18))
    width, height = struct.unpack_from("<ii", data, 18)
    return PictureHeader("BMP", width, abs(height))  # negative: stored top row first


def _read_webp(data: bytes) -> PictureHeader:
    complete = len(data) >= struct.unpack_from("<I", data, 4)[0] + 8
    chunk = data[12:16]
    if chunk == b"VP8X":
        flags, width, height = data[20], _little24(data, 24) + 1, _little24(data, 27) + 1
        return PictureHeader("WebP", width, height, alpha=bool(flags & WEBP_ALPHA), complete=complete)
    if chunk == b"VP8L":  # 14 bits width - 1, 14 bits height - 1, one bit alpha
        bits = struct.unpack_from("<I", data, 21)[0]
        alpha = bool(bits >> 28 & 1)
        return PictureHeader("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, alpha=alpha, complete=complete)
    width, height = struct.unpack_from("<HH", data, 26)
    return PictureHeader("WebP", width & 0x3FFF, height & 0x3FFF, complete=complete)


def _little24(data: bytes, position: int) -> int:
    return int.from_bytes(data[position : position + 3], "little")


def _read_tiff(data: bytes) -> PictureHeader:
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(f"{order}I", data, 4)
    (n,) = struct.unpack_from(f"{order}H", data, directory)
    tags: dict[int, int] = {}
    for entry in range(directory + 2, directory + 2 + 12 * n, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        tags[tag] = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, entry + 8)[0]
    return PictureHeader("TIFF", tags.get(TIFF_WIDTH, 0), tags.get(TIFF_HEIGHT, 0), alpha=TIFF_EXTRA_SAMPLES in tags)


def _read_pnm(data: bytes) -> PictureHeader:
    found = re.match(rb"P[1-6](?:\s+|#[^\n]*\n)+(\d{1,9})(?:\s+|#[^\n]*\n)+(\d{1,9})\s", data[:4096])
    if not found:
        raise ValueError("the PNM header is damaged")
    return PictureHeader("PNM", int(found[1]), int(found[2]))


SIGNATURES = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM.{4}\0{4}", re.DOTALL),  # two reserved fields are zero
    "WebP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "TIFF": re.compile(rb"II\*\0|MM\0\*"),
    "PNM": re.compile(rb"P[1-6][\s#]"),
}
READERS: dict[str, Callable[[bytes], PictureHeader]] = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "GIF": _read_gif,
    "BMP": _read_bmp,
    "WebP": _read_webp,
    "TIFF": _read_tiff,
    "PNM": _read_pnm,
}
