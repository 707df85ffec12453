"""Kinds of files by their first bytes: the content decides, not the suffix."""

from __future__ import annotations

import re

from PIL import AvifImagePlugin, Image, TiffImagePlugin, WebPImagePlugin

# Pillow's names of the formats that are read; the plugins imported above register the last three.
DECODERS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "AVIF")
PLUGINS = (AvifImagePlugin, TiffImagePlugin, WebPImagePlugin)
HEADER_BYTES = (
    512  # enough for every decoder to recognise its files, for all brands of a first box, and for a tar's mark
)
# Brands of pictures (ISO 23008-12), the main one or a compatible one: FFmpeg would read one tile of them.
HEIF_BRANDS = frozenset({
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1",
})  # fmt: skip
AVIF_BRANDS = frozenset({b"avif", b"avis"})
TEXT = frozenset(b"\t\n\f\r" + bytes(range(32, 127)))
TEXT_PICTURE = re.compile(rb"P[1-6]\s|YUV4MPEG2 ")  # PNM, and raw video, whose dark pixels are letters
VIDEO = re.compile(
    rb"\x1aE\xdf\xa3|RIFF.{4}AVI |FLV\x01|OggS|\0\0\x01[\xb3\xba]|0&\xb2u|.{4}(ftyp|moov|mdat|wide)"
    rb"|G.{187}G|.{4}G.{191}G",
    re.DOTALL,
)
MARKUP = rb"(?i:(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?%b)"  # after a byte order mark, blanks, an XML declaration
TAR = "a tar archive"
GZIP = "a file packed by gzip"
ZIP = "a zip archive or office document"
SOUND = "sound"
PICKLE = "a pickle, which could run any program"
TEXT_FILE = "a text file"
UTF_16 = "text in UTF-16"
KINDS = (  # that people give in place of pictures, videos and datasets; the first that matches counts
    (rb".{257}ustar", TAR),  # POSIX 1003.1; before it is the name of a file, which may begin in any way
    (rb"(?i:version https://git-lfs)", "a Git LFS pointer, which `git lfs pull` replaces by the file"),
    (MARKUP % rb"<(?:!doctype )?svg", "an SVG drawing"),
    (MARKUP % rb"<(?:!doctype|html|head)", "a web page"),
    (MARKUP % rb"<\?xml", "XML, often an error message of a web server"),
    (rb"%PDF", "a PDF document"),
    (rb"PK(?:\x03\x04|\x05\x06)", ZIP),
    (rb"\x1f\x8b", GZIP),
    (rb"BZh[1-9]", "a file packed by bzip2"),
    (rb"\xfd7zXZ", "a file packed by xz"),
    (rb"\x28\xb5\x2f\xfd", "a file packed by Zstandard"),
    (rb"7z\xbc\xaf", "a 7z archive"),
    (rb"Rar!\x1a\x07", "a RAR archive"),
    (rb"8BPS", "a Photoshop document"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "JPEG XL"),
    (rb"ID3[\2-\4]|fLaC|RIFF.{4}WAVE|\xff[\xf2\xf3\xfb]", SOUND),
    (rb"II\*\0.{4}CR|.{4}ftypcrx |FUJIFILMCCD-RAW|II(?:R[OS]|U\0)\x08\0", "a camera's raw file"),
    (rb"\x93NUMPY", "a NumPy array"),
    (rb"\x89HDF", "an HDF5 file"),
    (rb"MATLAB 5\.0 MAT-file", "a MATLAB file"),
    (rb"PAR1\x15", "a Parquet table"),
    (rb"SQLite format 3", "an SQLite database"),
    (rb"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (rb"\x80[\2-\5]", PICKLE),
    (rb"\xff\xfe|\xfe\xff", UTF_16),
)
_KINDS = tuple((re.compile(pattern, re.DOTALL), kind) for pattern, kind in KINDS)


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
        return TEXT_FILE
    return None
