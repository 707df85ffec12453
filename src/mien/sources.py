"""Where frames come from: pictures, animated GIFs, videos, folders, live sources. BGR ends here and in `camera`."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from mien.errors import InputError, UnreadablePicture
from mien.picture_header import PictureHeader, count_gif_frames, picture_format, read_header
from mien.structures import Frame, ImageArray

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pnm"})
VIDEO_SUFFIXES = frozenset({".gif", ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv"})
FORMATS = "JPEG, PNG, WebP, TIFF, BMP, GIF or PNM"
MAX_PIXELS = 100_000_000  # 300 MB as RGB; twice what cameras of 2026 take
MAX_BYTES = 1 << 30  # of a picture file; 100 million pixels of 16-bit RGB take 600 MB
TEXT = frozenset(b"\t\n\r" + bytes(range(32, 127)))
FALLBACK_FPS = 25.0  # for containers that give neither times nor a rate
LIVE = re.compile(r"[a-z][a-z0-9+.-]+://|/dev/video\d+$|/dev/v4l/", re.IGNORECASE)
MAX_CAMERA = 9999  # OpenCV takes the number of a backend in an index too: 1400 is MSMF's first camera


def frames(source: int | str | Path, *, glob: str | None = None) -> Iterator[Frame]:
    """Yield the frames of a picture, an animated GIF, a video, a folder of these, or a live source, one at a time.

    The time of a video's frame is its own timestamp, so it is right with variable frame rates too; videos
    filmed upright are turned as their file says. In a folder every file is a source of its own: `source`
    is its path, and `time` and `index` start at 0 again. A file that cannot be read ends the stream; to
    skip it, go over `list_files` and call `frames` for each.

    A camera or stream never ends, and gives the newest frame each time; see `camera.Camera`.

    Args:
        source: Path of a file or folder; a camera's index or "/dev/video…"; a URL. See `parse_source`.
        glob: Which files of a folder, at any depth ("*.jpg"); see `list_files`.

    Raises:
        InputError: There is no such path, the folder holds nothing to read, or a video has no frames.
        CameraError: The camera or stream gives nothing; raised when the first frame is asked for.
        UnreadablePicture: See `read_picture`; raised when the file's turn comes.
    """
    parsed = parse_source(source)
    if not isinstance(parsed, Path):
        return _live_frames(parsed)
    return chain.from_iterable(map(_frames_of_file, list_files(parsed, glob=glob)))


def parse_source(source: int | str | Path) -> int | str | Path:
    """Return what a user's words mean: a camera's index (int), a live source's address (str), or a path.

    An address is a URL ("rtsp://…", "http://…") or a device ("/dev/video0", "/dev/v4l/by-id/…"). A text of digits is
    an index, unless a file or folder of that name exists.

    Raises:
        InputError: An index out of range, or an address that no system takes.
    """
    if isinstance(source, int):
        if not 0 <= source <= MAX_CAMERA:  # OpenCV crashes at some negative ones
            raise InputError(f"no camera {source}; expected a number from 0 to {MAX_CAMERA}, the first camera is 0")
        return source
    text = str(source)
    if LIVE.match(text):
        if not text.isprintable():  # OpenCV crashes at text that UTF-8 cannot hold
            raise InputError(f"{text!r} is no address; expected one without control characters, in UTF-8")
        return text
    if re.fullmatch("[0-9]{1,4}", text) and not Path(text).exists():
        return int(text)
    return Path(source)


def list_files(source: str | Path, *, glob: str | None = None) -> list[Path]:
    """Return the files that a path means: itself, or a folder's pictures and videos at any depth, sorted.

    Args:
        source: Path of a file or folder.
        glob: Pattern for a folder's files ("*.jpg", "day1/*"). Without one, known suffixes are taken.
            Hidden files never are.

    Raises:
        InputError: There is no such path, it cannot be read, or no file fits.
    """
    path = Path(source)
    if not stat.S_ISDIR(_status(path).st_mode):
        return [path]
    wanted = PICTURE_SUFFIXES | VIDEO_SUFFIXES
    try:
        found = sorted(p for p in path.rglob(glob or "*") if p.is_file() and not _is_hidden(p.relative_to(path)))
    except (OSError, ValueError, NotImplementedError) as error:
        pattern = f" for '{glob}'" if glob else ""
        raise InputError(f"cannot search folder '{_shown(path)}'{pattern}: {error}") from error
    files = found if glob else [p for p in found if p.suffix.lower() in wanted]
    if not files:
        expected = f"files that match '{glob}'" if glob else f"files ending in {', '.join(sorted(wanted))}"
        raise InputError(f"no pictures or videos in folder '{_shown(path)}'; expected {expected}")
    return files


def read_picture(path: str | Path) -> ImageArray:
    """Read one picture as RGB uint8 (H, W, 3), whatever it is stored as.

    Turned upright as EXIF says; grey, palette, CMYK and 16-bit pictures are converted; transparent pixels
    lie on white (there the EXIF rotation is not applied). Of an animation the first picture is read.

    Args:
        path: A JPEG, PNG, WebP, TIFF, BMP, GIF or PNM file of at most 100 million pixels.

    Raises:
        InputError: There is no such file, or no permission.
        UnreadablePicture: It is empty, not a picture, truncated, damaged, or too large to decode.
    """
    path = Path(path)
    data = _read_bytes(path)
    header = _checked_header(path, data)
    if header.format == "GIF":
        return next(_video_frames(path)).image
    with quiet():
        image = _decode(data, alpha=header.alpha)
    if image is None:
        raise UnreadablePicture(
            f"cannot decode '{_shown(path)}': the {header.format} is damaged or of a rare kind; "
            "save it again as 8-bit JPEG or PNG"
        )
    return image


def is_video(path: str | Path) -> bool:
    """Tell whether a file holds moving pictures: a GIF with several, or a file that is no picture.

    Raises:
        InputError: The file cannot be read.
        UnreadablePicture: It is a damaged GIF.
    """
    path = Path(path)
    kind = _kind(path)
    return kind == "video" or (kind == "GIF" and _gif_length(path) > 1)


def frame_count(path: str | Path) -> int | None:
    """Return how many frames a file announces (a progress bar's total), 1 for a picture, None if it is unknown.

    Raises:
        InputError: The file cannot be read.
        UnreadablePicture: It is a damaged GIF.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "GIF":
        return _gif_length(path)
    if kind != "video":
        return 1
    with _opened(path) as video:
        count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    return count if count > 0 else None


def frame_rate(path: str | Path) -> float:
    """Return the frames per second of a video or GIF on average; 25 where the file does not tell.

    Raises:
        InputError: The file cannot be read as a video.
    """
    with _opened(Path(path)) as video:
        return _rate(video)


def _live_frames(source: int | str) -> Iterator[Frame]:
    from mien.camera import Camera  # which reads files by this module

    with Camera(source) as camera:
        yield from camera


def _frames_of_file(path: Path) -> Iterator[Frame]:
    kind = _kind(path)
    if kind == "GIF":
        _checked_header(path, _read_bytes(path))
    if kind in ("GIF", "video"):
        return _video_frames(path)
    return iter([Frame(read_picture(path), time=0.0, index=0, source=str(path))])


def _kind(path: Path) -> str:
    """Return "GIF", "picture" or "video", by the first bytes; where they tell nothing, by the suffix."""
    _status(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise _cannot_read(path, error) from error
    if found := picture_format(start):
        return "GIF" if found == "GIF" else "picture"
    if not start or path.suffix.lower() in PICTURE_SUFFIXES:
        return "picture"  # an empty or false one; reading it says so
    if all(byte in TEXT for byte in start):  # FFmpeg would draw a text, and open what a playlist names
        raise InputError(f"'{_shown(path)}' is a text; expected a video or a picture ({FORMATS})")
    return "video"


def _status(path: Path) -> os.stat_result:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise InputError(f"no file or folder '{_shown(path)}'; check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte
        raise _cannot_read(path, error) from error
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise InputError(f"'{_shown(path)}' is neither a file nor a folder; expected a picture, video or folder")
    return status


def _read_bytes(path: Path) -> bytes:
    status = _status(path)
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"'{_shown(path)}' is a folder; expected a picture file")
    if status.st_size > MAX_BYTES:
        raise UnreadablePicture(
            f"'{_shown(path)}' has {status.st_size / 1e9:.1f} GB; a picture may have {MAX_BYTES / 1e9:.1f} GB: "
            "is it a video with a picture's suffix?"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise _cannot_read(path, error) from error


def _checked_header(path: Path, data: bytes) -> PictureHeader:
    """Return the header of a picture that is whole, of a known format and not too large."""
    if not data:
        raise UnreadablePicture(f"'{_shown(path)}' is empty (0 bytes); expected a picture")
    try:
        header = read_header(data)
        if header is not None and header.format == "GIF":
            count_gif_frames(data)  # FFmpeg gives grey pixels for what is missing
    except ValueError as error:
        raise UnreadablePicture(f"cannot decode '{_shown(path)}': {error}; get the file again") from error
    if header is None:
        raise UnreadablePicture(f"'{_shown(path)}' is not a picture mien reads; expected {FORMATS}: convert it")
    if not header.complete:
        raise UnreadablePicture(f"'{_shown(path)}' is a truncated {header.format}: its end is missing; get it again")
    _check_size(path, header.width, header.height)
    return header


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadablePicture(
            f"'{_shown(path)}' has {width}x{height} pixels; at most {MAX_PIXELS // 10**6} million are read: "
            "make it smaller"
        )


def _decode(data: bytes, *, alpha: bool) -> ImageArray | None:
    """Decode to RGB uint8 (H, W, 3); None when OpenCV cannot."""
    coded = np.frombuffer(data, np.uint8)
    try:
        if alpha:
            stored = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)
            if stored is not None and stored.ndim == 3 and stored.shape[2] == 4 and stored.dtype != np.float32:
                return _on_white(stored)
        bgr = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if bgr is None else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _on_white(bgra: cv2.typing.MatLike) -> ImageArray:
    """Lay BGRA of 8 or 16 bits on white; return RGB uint8."""
    scale = 255.0 if bgra.dtype == np.uint8 else 65535.0
    rgba = np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA)).astype(np.float32) / scale
    alpha = rgba[:, :, 3:]
    return np.asarray(np.rint((rgba[:, :, :3] * alpha + (1 - alpha)) * 255), np.uint8)


def _gif_length(path: Path) -> int:
    data = _read_bytes(path)
    _checked_header(path, data)
    return count_gif_frames(data)


def _video_frames(path: Path) -> Iterator[Frame]:
    with _opened(path) as video:
        rate = _rate(video)
        index, time = 0, 0.0
        while True:
            with quiet():
                there, bgr = video.read()
            if not there:
                break
            time = _next_time(video, index, time, rate)
            yield Frame(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8), time, index, str(path))
            index += 1
    if index == 0:
        raise InputError(f"'{_shown(path)}' has no frame that can be decoded; expected a video or a picture")


def _next_time(video: cv2.VideoCapture, index: int, last: float, rate: float) -> float:
    """Return the time of the frame just read, in seconds; later than the last one, whatever the file says."""
    time = float(video.get(cv2.CAP_PROP_POS_MSEC)) / 1000
    if index == 0:
        return max(time, 0.0)
    return time if time > last else last + 1 / rate


def _rate(video: cv2.VideoCapture) -> float:
    rate = float(video.get(cv2.CAP_PROP_FPS))
    return rate if 0 < rate <= 1000 else FALLBACK_FPS


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    """Open a video with its rotation applied; close it at the end."""
    if stat.S_ISDIR(_status(path).st_mode):
        raise InputError(f"'{_shown(path)}' is a folder; expected a video file")
    with _plain_name(path) as name:
        with quiet():
            video = cv2.VideoCapture(name)
        try:
            if not video.isOpened():
                raise InputError(
                    f"cannot open '{_shown(path)}' as a video; expected one that FFmpeg reads, or a picture "
                    f"({FORMATS}): is it whole?"
                )
            video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
            width, height = video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)
            _check_size(path, int(width), int(height))
            yield video
        finally:
            video.release()


@contextmanager
def _plain_name(path: Path) -> Iterator[str]:
    """Yield a name of the file that OpenCV takes: absolute, so that "a:b.mp4" is no protocol, and UTF-8."""
    name = os.path.abspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="mien-") as folder:
            link = Path(folder) / "video"
            link.symlink_to(name)
            yield str(link)
    else:
        yield name


class _Silence:
    """OpenCV's log level belongs to all threads: the first block silences it, the last one to end brings it back."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._blocks = 0
        self._undo = ExitStack()

    def begin(self) -> None:
        with self._lock:
            self._blocks += 1
            if self._blocks > 1:
                return
            log = getattr(cv2.utils, "logging", cv2)  # before OpenCV 4.13 its functions were in cv2 itself
            self._undo.callback(log.setLogLevel, log.getLogLevel())
            log.setLogLevel(0)  # silent
            if "OPENCV_FFMPEG_LOGLEVEL" not in os.environ:  # OpenCV reads it once, when it opens the first video
                os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"  # AV_LOG_QUIET
                self._undo.callback(os.environ.pop, "OPENCV_FFMPEG_LOGLEVEL", None)

    def end(self) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                self._undo.close()


_SILENCE = _Silence()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep OpenCV and FFmpeg from printing to stderr what the caller learns by an error; any thread may."""
    _SILENCE.begin()
    try:
        yield
    finally:
        _SILENCE.end()


def _cannot_read(path: Path, error: OSError | ValueError) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(f"cannot read '{_shown(path)}': {reason}; check the path and its permissions")


def _shown(path: Path) -> str:
    """Return a path as text that every terminal and file takes, also where its bytes are not UTF-8."""
    text = str(path).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 200 else f"{text[:120]}…{text[-70:]}"


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
