"""Write docs/guides/formats.md, the list of formats that are read and written, by trying each.

Usage: python scripts/formats.py     (part of make docs)

Pictures are drawn and written by Pillow and pillow-heif, videos by PyAV, sound by both PyAV and libsndfile, so the
extras `heic`, `video` and `voice` are needed.
"""

from __future__ import annotations

import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pillow_heif
import soundfile
from PIL import Image

from mien.errors import MienError
from mien.pixels import WRITABLE_PICTURES, write_picture
from mien.sinks.encoders import CODECS, OpenCvEncoder
from mien.sinks.videos import VideoSink
from mien.sources.content import KINDS, TEXT_FILE
from mien.sources.frames import frames, open_media
from mien.sources.paths import MAX_PIXELS, PICTURE_SUFFIXES, SOUND_SUFFIXES, VIDEO_SUFFIXES
from mien.sources.pictures import DECODER_BYTES, FULL_SIZE_PIXELS, MAX_DECODER_BYTES, read_picture
from mien.sources.sounds import sounds
from mien.sources.videos import MAX_FRAME_PIXELS
from mien.structures import ImageArray

PAGE = Path(__file__).parent.parent / "docs" / "guides" / "formats.md"
SIZE, N_FRAMES, FPS = 64, 8, 10
Save = Callable[[Path], object]

PICTURES = {  # name -> suffixes, Pillow's format
    "JPEG": (".jpg .jpeg .jpe .jif .jfif .jfi .pjpeg .pjp .mpo .jps", "JPEG"),
    "PNG": (".png .apng", "PNG"),
    "WebP": (".webp", "WEBP"),
    "AVIF": (".avif .avifs", "AVIF"),
    "HEIC": (".heic .heics .heif .heifs .hif", "HEIF"),
    "TIFF": (".tif .tiff", "TIFF"),
    "BMP": (".bmp .dib", "BMP"),
    "PNM": (".pbm .pgm .ppm .pnm", "PPM"),
    "GIF": (".gif", "GIF"),
}
VIDEOS = (  # container, suffixes, codecs: as FFmpeg names them, and as people do
    ("mp4", ".mp4 .m4v .mp4v", {"libx264": "H.264", "libx265": "H.265", "libsvtav1": "AV1", "mpeg4": "MPEG-4 Part 2"}),
    ("mov", ".mov .qt", {"libx264": "H.264", "prores_ks": "ProRes", "mjpeg": "Motion JPEG"}),
    ("matroska", ".mkv", {"libx264": "H.264", "libvpx-vp9": "VP9", "ffv1": "FFV1"}),
    ("webm", ".webm", {"libvpx": "VP8", "libvpx-vp9": "VP9", "libsvtav1": "AV1"}),
    ("avi", ".avi .divx", {"mjpeg": "Motion JPEG", "mpeg4": "MPEG-4 Part 2"}),
    ("mpegts", ".ts .m2t .mts .m2ts", {"libx264": "H.264", "mpeg2video": "MPEG-2"}),
    ("mpeg", ".mpg .mpeg .mpe .vob", {"mpeg1video": "MPEG-1", "mpeg2video": "MPEG-2"}),
    ("3gp", ".3gp .3gpp .3g2", {"mpeg4": "MPEG-4 Part 2"}),
    ("flv", ".flv .f4v", {"flv": "Sorenson H.263", "libx264": "H.264"}),
    ("asf", ".wmv .asf", {"wmv2": "WMV 8"}),
    ("ogg", ".ogv .ogm", {"libtheora": "Theora"}),
    ("mxf", ".mxf", {"mpeg2video": "MPEG-2"}),
    ("dv", ".dv", {"dvvideo": "DV"}),
    ("mpeg2video", ".m2v", {"mpeg2video": "MPEG-2"}),
    ("h264", ".h264", {"libx264": "H.264"}),
    ("hevc", ".hevc", {"libx265": "H.265"}),
    ("mjpeg", ".mjpg .mjpeg", {"mjpeg": "Motion JPEG"}),
    ("yuv4mpegpipe", ".y4m", {"wrapped_avframe": "raw"}),
)

SOUNDS = (  # name, suffixes, libsndfile's format and codec, or PyAV's container and codec
    ("WAV", ".wav .wave", "WAV", "PCM_16"),
    ("FLAC", ".flac", "FLAC", "PCM_16"),
    ("Ogg Vorbis", ".ogg .oga", "OGG", "VORBIS"),
    ("Ogg Opus", ".opus", "OGG", "OPUS"),
    ("MP3", ".mp3", "MP3", "MPEG_LAYER_III"),
    ("AIFF", ".aif .aiff .aifc", "AIFF", "PCM_16"),
    ("AU", ".au", "AU", "PCM_16"),
    ("CAF", ".caf", "CAF", "PCM_16"),
    ("AAC", ".m4a", "ipod", "aac"),
    ("AAC", ".aac", "adts", "aac"),
    ("WMA", ".wma", "asf", "wmav2"),
    ("Matroska", ".mka", "matroska", "libopus"),
    ("AMR", ".amr", "amr", "libopencore_amrnb"),
)

TEXT = """\
# Formats

<!-- written by scripts/formats.py, which tries each format; `make docs` renews it -->

`mien predict`, `mien live` and the window read pictures and videos, from files and folders; `mien listen` reads sound;
datasets are made of pictures. The content of a file decides how it is read, not its suffix: a PNG named `.jpg` is read,
and so is a picture without suffix. In folders, files are chosen by the suffixes below; the others are counted
in a warning.

## Pictures that are read

{pictures}

Grey, palette, CMYK, transparent and 16-bit pictures are converted to RGB with 8 bits; grey pictures with 10, 12 or 14
bits in 16 are stretched. EXIF orientation is applied. Of a TIFF or HEIC with several pictures the first is read, with
a warning. Animations are read as videos. A JPEG that lacks its last bytes is read, with a warning.

Pictures of more than {halved} megapixels are read at half their width and height, and the boxes in results are in
pixels of the file. Larger ones than those of the table are refused before they are decoded.

## Videos that are read

OpenCV's FFmpeg decodes them, and more codecs than these. No test file could be encoded for those in the last column.

{videos}

The file's rotation and pixel aspect ratio are applied, and frames keep their times. Frames may have up to {frame}
megapixels. A video that ends before its header says is read as far as it goes, with a warning.

## Sound that is read

`mien listen` and the voice in `mien predict` and `mien live` read sound files, and the sound of the videos above.

{sounds}

Without the extras, WAV of 8, 16, 24 or 32 bits at 16 kHz is read. Channels become their mean, or the loudest one where
they cancel each other; any rate from 4 kHz to 1 MHz becomes 16 kHz. A file that is cut off is read as far as it goes,
and NaN or infinite samples are read as silence, both with a warning. Videos need the extra `video`.

## What is written

| result | formats |
| --- | --- |
| annotated pictures, saved faces | {written} |
| annotated videos with the extra `video` | {browser} |
| annotated videos without it | {plain} |
| recordings of `mien live` | as above; an `.mkv` of Motion JPEG grows frame by frame |
| recordings of `mien listen` | WAV: 16 bits, mono, 16 kHz |
| tables | CSV, JSON, JSON lines |
| parts of jobs (`--parts`) | CSV, JSON lines, Parquet |
| reports | Markdown, HTML, PNG |

Other suffixes get one appended: a copy of `clip.gif` is `clip.gif.mp4`.

## What is refused

{refused}
"""
REFUSED = "Files of other kinds are refused in one line that names the kind: {kinds}. Export them as JPEG, PNG or MP4."


def main() -> None:
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    after = page()
    PAGE.write_text(after, encoding="utf-8", newline="\n")
    print(f"{PAGE.name}: {'renewed' if after != before else 'was fresh'}")


def page() -> str:
    """Return the page about formats."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        place = Path(folder)
        kinds = dict.fromkeys([*(kind.partition(",")[0] for _, kind in KINDS), TEXT_FILE])
        return TEXT.format(
            pictures=_table(["format", "suffixes", "read", "animated", "megapixels", "needs"], _pictures(place)),
            videos=_table(["suffixes", "codecs read", "not read", "not tried here"], _videos(place)),
            sounds=_table(["format", "suffixes", "read", "needs"], _sounds(place)),
            halved=FULL_SIZE_PIXELS // 10**6,
            frame=MAX_FRAME_PIXELS // 10**6,
            written=_codes(suffix for suffix in WRITABLE_PICTURES if _picture_is_written(place / f"out{suffix}")),
            browser=_codes(suffix for suffix in CODECS if _video_is_written(place / f"out{suffix}")),
            plain=_codes(suffix for suffix in CODECS if _video_is_written_plainly(place / f"plain{suffix}")),
            refused=textwrap.fill(REFUSED.format(kinds=", ".join(kinds)), 120),
        )


def _pictures(place: Path) -> Iterable[list[str]]:
    listed = {suffix for suffixes, _ in PICTURES.values() for suffix in suffixes.split()}
    _check_listed(listed - {".gif"}, PICTURE_SUFFIXES)
    for name, (suffixes, kind) in PICTURES.items():
        path = place / f"still-{kind}"  # without suffix, as the content decides
        save = pillow_heif.from_pillow(_image(0)).save if kind == "HEIF" else _image(0).save
        read = _is_read(path, lambda p, save=save, kind=kind: save(p, **({} if kind == "HEIF" else {"format": kind})))
        limit = min(MAX_PIXELS, MAX_DECODER_BYTES // DECODER_BYTES.get(kind, 1)) // 10**6
        needs = "extra `heic`" if kind == "HEIF" else ""
        yield [name, _codes(suffixes.split()), read, _animated(place / f"moving-{kind}", kind), str(limit), needs]


def _is_read(path: Path, save: Save) -> str:
    save(path)
    try:
        return "yes" if np.abs(read_picture(path).astype(int) - np.asarray(_image(0))).mean() < 20 else "wrong"
    except MienError:
        return "no"


def _animated(path: Path, kind: str) -> str:
    if kind not in ("GIF", "PNG", "WEBP", "AVIF"):
        return ""
    more = [_image(i) for i in range(1, N_FRAMES)]
    _image(0).save(path, format=kind, save_all=True, append_images=more, duration=1000 // FPS)
    return "yes" if len(list(frames(path))) == N_FRAMES else "no"


def _videos(place: Path) -> Iterable[list[str]]:
    _check_listed({suffix for _, suffixes, _ in VIDEOS for suffix in suffixes.split()} | {".gif"}, VIDEO_SUFFIXES)
    for container, suffixes, codecs in VIDEOS:
        found: dict[str, list[str]] = {"yes": [], "no": [], "–": []}
        for codec, name in codecs.items():
            path = place / f"{container}-{codec}{suffixes.split()[0]}"
            found[_video_is_read(path, container, codec)].append(name)
        yield [_codes(suffixes.split()), *(", ".join(names) for names in found.values())]


def _sounds(place: Path) -> Iterable[list[str]]:
    _check_listed({suffix for _, suffixes, *_ in SOUNDS for suffix in suffixes.split()}, SOUND_SUFFIXES)
    for name, suffixes, container, codec in SOUNDS:
        path = place / f"sound-{container}-{codec}"  # without suffix, as the content decides
        by_libsndfile = container.isupper()
        needs = "extra `voice`" if by_libsndfile else "extra `video`"
        yield [name, _codes(suffixes.split()), _sound_is_read(path, container, codec), needs]


def _sound_is_read(path: Path, container: str, codec: str) -> str:
    rate = 48_000 if codec != "libopencore_amrnb" else 8_000
    tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(2 * rate) / rate).astype(np.float32)
    try:
        if container.isupper():
            soundfile.write(path, tone, rate, format=container, subtype=codec)
        else:
            _write_sound(path, tone, rate, container, codec)
    except (av.FFmpegError, ValueError, TypeError):
        return "not tried here"
    try:
        seconds = sum(block.end - block.time for block in sounds(path))
    except MienError:
        return "no"
    return "yes" if abs(seconds - 2) < 0.2 else "wrong"


def _write_sound(path: Path, samples: Any, rate: int, container: str, codec: str) -> None:
    with av.open(str(path), "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=rate, layout="mono")
        resampler = av.AudioResampler(stream.codec_context.format, "mono", rate, frame_size=960)
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.rate, frame.pts = rate, 0
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            file.mux(stream.encode(piece))


def _video_is_read(path: Path, container: str, codec: str) -> str:
    try:
        _write_video(path, container, codec)
    except (av.FFmpegError, ValueError, TypeError):
        return "–"
    try:
        with open_media(path) as (media, stream):
            n = len(list(stream))
    except MienError:
        return "no"
    return "yes" if media.kind == "video" and n >= N_FRAMES - 1 else "no"


def _write_video(path: Path, container: str, codec: str) -> None:
    size = (720, 576) if codec == "dvvideo" or container in ("mxf", "mpeg") else (128, 96)
    with av.open(str(path), "w", format=container) as file:
        stream: Any = file.add_stream(codec, rate=25)
        stream.width, stream.height = size
        formats = stream.codec_context.codec.video_formats or []
        known = [each.name for each in formats]
        wanted = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.pix_fmt = wanted if not known or wanted in known else known[0]
        for i in range(N_FRAMES):
            image = np.full((size[1], size[0], 3), 20 * i, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())


def _picture_is_written(path: Path) -> bool:
    write_picture(path, np.asarray(_image(0)))
    return read_picture(path).shape == (SIZE, SIZE, 3)


def _video_is_written(path: Path) -> bool:
    with VideoSink(path, fps=FPS) as sink:
        for i in range(N_FRAMES):
            sink.write(np.asarray(_image(i)))
    return len(list(frames(path))) == N_FRAMES


def _video_is_written_plainly(path: Path) -> bool:
    encoder = OpenCvEncoder(path, fps=FPS, size=(SIZE, SIZE))
    for i in range(N_FRAMES):
        encoder.write(np.asarray(_image(i)), i / FPS)
    encoder.close()
    return len(list(frames(path))) == N_FRAMES


def _image(i: int) -> Image.Image:
    """Draw a grey picture with a square that moves."""
    image: ImageArray = np.full((SIZE, SIZE, 3), 90, np.uint8)
    image[16:32, 4 * i : 4 * i + 16] = (200, 60, 60)
    return Image.fromarray(image)


def _check_listed(listed: set[str], known: Iterable[str]) -> None:
    if missing := set(known) ^ listed:
        raise SystemExit(f"suffixes of mien and of this script differ: {', '.join(sorted(missing))}")


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *rows))


def _codes(suffixes: Iterable[str]) -> str:
    return " ".join(f"`{suffix}`" for suffix in suffixes)


if __name__ == "__main__":
    main()
