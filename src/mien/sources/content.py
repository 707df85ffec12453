"""Kinds of files by their first bytes: the content decides, not the suffix."""

from __future__ import annotations

import re

from PIL import AvifImagePlugin, Image, TiffImagePlugin, WebPImagePlugin

# Pillow's names of the formats that are read; the plugins imported above register the last three.
DECODERS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "AVIF")
PLUGINS = (AvifImagePlugin, TiffImagePlugin, WebPImagePlugin)
HEADER_BYTES = 256  # enough for every decoder to recognise its files, and for all brands of a first box
# Brands of pictures (ISO 23008-12), the main one or a compatible one: FFmpeg would read one tile of them.
HEIF_BRANDS = frozenset({
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1",
})  # fmt: skip
AVIF_BRANDS = frozenset({b"avif", b"avis"})
TEXT = frozenset(b"\t\n\f\r" + bytes(range(32, 127)))
TEXT_PICTURE = re.compile(rb"P[1-6]\s")  # PNM
VIDEO = re.compile(
    rb"\x1aE\xdf\xa3|RIFF.{4}AVI |FLV\x01|OggS|\0\0\x01[\xb3\xba]|0&\xb2u|.{4}(ftyp|moov|mdat|wide)"
    rb"|G.{187}G|.{4}G.{191}G",
    re.DOTALL,
)
CAMERA_RAW = "a camera's raw file"
KINDS = (  # that people give in place of pictures and videos
    (rb"version https://git-lfs", "a Git LFS pointer, which `git lfs pull` replaces by the file"),
    (rb"\s*<(!doctype html|html|head)", "a web page"),
    (rb"\s*(<\?xml[^>]*>\s*)?<svg", "an SVG drawing"),
    (rb"%PDF", "a PDF document"),
    (rb"PK\x03\x04", "a zip archive or office document"),
    (rb"\x1f\x8b|BZh|7z\xbc\xaf|Rar!|\xfd7zXZ", "a compressed archive"),
    (rb"8BPS", "a Photoshop document"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "JPEG XL"),
    (rb"ID3|fLaC|RIFF.{4}WAVE|\xff[\xf2\xf3\xfb]", "sound"),
    (rb"II\*\0.{4}CR|.{4}ftypcrx |FUJIFILMCCD-RAW|IIR[OS]|IIU\0", CAMERA_RAW),
    (rb"\x93NUMPY", "a NumPy array"),
    (rb"\x89HDF", "an HDF5 file"),
    (rb"\xff\xfe|\xfe\xff", "a text file"),
)
_KINDS = tuple((re.compile(pattern, re.DOTALL | re.IGNORECASE), kind) for pattern, kind in KINDS)


def decoder_of(start: bytes) -> str | None:
    """Return the name of the decoder for a picture by its first bytes; None where it is no known picture.

    `PIL.Image.open` isn't used: its limit against decompression bombs is global, and below the size of today's phones.
    """
    if start[4:8] == b"ftyp":
        box = start[8 : max(int.from_bytes(start[:4], "big"), 16)]
        brands = {box[i : i + 4] for i in range(0, len(box), 4)}
        if brands & (HEIF_BRANDS | AVIF_BRANDS):
            return "AVIF" if brands & AVIF_BRANDS else "HEIF"
    if kind_of(start) is not None:  # a camera's raw file may be TIFF
        return None
    Image.preinit()
    return next((name for name in DECODERS if (accept := Image.OPEN[name][1]) and accept(start) is True), None)


def is_video(start: bytes) -> bool:
    """Return whether the first bytes are those of a container of videos."""
    return VIDEO.match(start) is not None


def kind_of(start: bytes) -> str | None:
    """Return the kind of a file that is neither a picture nor a video, for a message: "a web page"; None if unknown."""
    for pattern, kind in _KINDS:
        if pattern.match(start):
            return kind
    if start and all(byte in TEXT for byte in start) and not TEXT_PICTURE.match(start):
        return "a text file"
    return None
