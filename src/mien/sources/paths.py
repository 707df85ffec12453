"""Picture, video and sound files of a folder, and opening them."""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import BinaryIO

from mien.errors import InputError, UnreadablePicture
from mien.files import as_path, matching, printable
from mien.sources.address import without_credentials

PICTURE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".jfi", ".pjpeg", ".pjp", ".mpo", ".jps", ".png", ".apng", ".webp",
    ".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif", ".bmp", ".dib", ".tif", ".tiff", ".pbm", ".pgm",
    ".ppm", ".pnm",
})  # fmt: skip
VIDEO_SUFFIXES = frozenset({
    ".gif", ".mp4", ".m4v", ".mp4v", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".avi", ".divx", ".mkv", ".webm", ".mpg",
    ".mpeg", ".mpe", ".m2v", ".vob", ".ts", ".m2t", ".mts", ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogm",
    ".mxf", ".dv", ".mjpg", ".mjpeg", ".y4m", ".h264", ".hevc",
})  # fmt: skip
SOUND_SUFFIXES = frozenset({
    ".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff", ".aifc", ".au", ".caf",
    ".wma", ".amr", ".mka",
})  # fmt: skip
SILENT_SUFFIXES = frozenset({".gif", ".m2v", ".mjpg", ".mjpeg", ".y4m", ".h264", ".hevc"})  # of videos without sound
TYPESCRIPT = frozenset({".ts", ".mts"})  # suffixes of videos and of TypeScript
SYSTEM_FILES = frozenset({".ds_store", "thumbs.db", "desktop.ini", ".directory"})  # files that systems put into folders
MAX_KINDS = 5  # named in a message
FORMATS = "JPEG, PNG, WebP, AVIF, HEIC, TIFF, BMP, GIF or PNM"
MAX_PIXELS = 250_000_000  # 750 MB as RGB; the largest cameras of phones take 200 million


@dataclass(frozen=True, slots=True)
class Wanted:
    """Files that are read.

    Args:
        one: What they are, in the singular, for messages.
        many: Likewise in the plural.
        suffixes: Their suffixes in lower case.
        pictures: Whether pictures without suffix are among them.
    """

    one: str
    many: str
    suffixes: frozenset[str]
    pictures: bool


IMAGES = Wanted("a picture, video", "pictures or videos", PICTURE_SUFFIXES | VIDEO_SUFFIXES, True)
AUDIBLE_SUFFIXES = SOUND_SUFFIXES | VIDEO_SUFFIXES - SILENT_SUFFIXES
SOUNDS = Wanted("a sound file, video", "sound files or videos", AUDIBLE_SUFFIXES, False)


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """Files of a folder.

    Args:
        files: Those that are wanted, sorted.
        passed_over: Number of its other files, by kind: ".txt", "hidden", "linked folder".
    """

    files: list[Path]
    passed_over: Counter[str] = field(default_factory=Counter)


def list_files(source: str | Path, *, glob: str | None = None, sound: bool = False) -> list[Path]:
    """Return a folder's pictures and videos, or its sound files and videos, at any depth, sorted; a file as itself.

    A warning counts the files that are passed over.

    Args:
        source: Path of a file or folder.
        glob: Pattern for a folder's files ("*.jpg", "day1/*"); without one, all of `PICTURE_SUFFIXES` and
            `VIDEO_SUFFIXES`, and pictures without suffix. Hidden files are left out.
        sound: Return sound files and videos: all of `SOUND_SUFFIXES` and `VIDEO_SUFFIXES`, but formats without sound,
            such as GIF.

    Raises:
        InputError: There is no such path, it cannot be read, or no file fits.
    """
    found = find_files(source, glob=glob, wanted=SOUNDS if sound else IMAGES)
    if found.passed_over:
        warnings.warn(passed_over_message(as_path(source), found.passed_over), stacklevel=2)
    return found.files


def find_files(source: str | Path, *, glob: str | None = None, wanted: Wanted = IMAGES) -> FoundFiles:
    """Return a folder's files as `list_files` does, without its warning.

    Raises:
        InputError: See `list_files`.
    """
    path = as_path(source)
    if not stat.S_ISDIR(status_of(path, expected=f"{wanted.one} or folder").st_mode):
        return FoundFiles([path])
    if glob is not None and PurePath(glob).is_absolute():
        raise InputError(f"the pattern '{glob}' is a path in full; expected one below the folder, such as *.jpg")
    try:
        found = _walk(path, wanted) if glob is None else FoundFiles(_matches(path, glob))
    except (OSError, ValueError, NotImplementedError, RecursionError) as error:
        pattern = f" for '{glob}'" if glob else ""
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot search folder '{printable(path)}'{pattern}: {reason}") from error
    if not found.files:
        expected = f"files that match '{glob}'" if glob else f"files ending in {', '.join(sorted(wanted.suffixes))}"
        others = f" (it holds {_counts(found.passed_over)})" if found.passed_over else ""
        raise InputError(f"no {wanted.many} in folder '{printable(path)}'{others}; expected {expected}")
    return found


def passed_over_message(place: Path, passed_over: Mapping[str, int]) -> str:
    """Return the message about files of a folder or archive that are not read.

    Args:
        place: The folder or archive.
        passed_over: Number of files by kind; see `kind_passed_over`.
    """
    n = sum(passed_over.values())
    return f"passed over {n:,} {'file' if n == 1 else 'files'} in '{printable(place)}': {_counts(passed_over)}"


def kind_passed_over(name: PurePath) -> str | None:
    """Return the kind of a file that is not read, by its name: ".txt", "hidden", "without suffix".

    None for files that systems put into folders, which aren't counted.

    Args:
        name: Path below the folder that was searched.
    """
    if name.name.lower() in SYSTEM_FILES or name.name.startswith("._") or "__MACOSX" in name.parts:
        return None
    return "hidden" if is_hidden(name) else printable(Path(name.suffix.lower())) if name.suffix else "without suffix"


def status_of(path: Path, *, expected: str) -> os.stat_result:
    """Return the status of a file or folder.

    Args:
        path: Its path.
        expected: What should be there, for messages.

    Raises:
        InputError: There is none, or it is something else.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        raise _not_found(printable(path)) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte
        raise cannot_read(path, error) from error
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise InputError(f"'{printable(path)}' is neither a file nor a folder; expected {expected}")
    return status


@contextmanager
def opened_file(path: Path, *, expected: str = "a picture or video file") -> Iterator[BinaryIO]:
    """Open a file to read its bytes; close it at the end.

    Args:
        path: Its path.
        expected: What it should be, for messages.

    Raises:
        InputError: There is no such file, it is a folder, or it cannot be read.
    """
    if stat.S_ISDIR(status_of(path, expected=expected).st_mode):
        raise InputError(f"'{printable(path)}' is a folder; expected {expected}")
    try:
        file = path.open("rb")
    except OSError as error:
        raise cannot_read(path, error) from error
    with file:
        yield file


def check_size(name: str, width: int, height: int, *, most: int = MAX_PIXELS) -> None:
    """Refuse images of more than `most` pixels.

    Raises:
        UnreadablePicture: It is too large.
    """
    if width * height > most:
        raise UnreadablePicture(
            f"'{name}' has {width}x{height} pixels; at most {most // 10**6} million are read: make it smaller"
        )


def cannot_read(path: Path, error: OSError | ValueError) -> InputError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(f"cannot read '{printable(path)}': {reason}; check the path and its permissions")


def _not_found(path: str) -> InputError:
    if re.match("https?:/", path):
        return InputError(f"'{without_credentials(path)}' is an address; expected a file or folder: download it first")
    if re.search(r"[*?\[]", path):
        return InputError(
            f"no file or folder '{path}'; a shell expands no quoted pattern: remove the quotes, or give a folder and "
            f"--glob '{Path(path).name}'"
        )
    return InputError(f"no file or folder '{path}'; check the path")


def walk(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield the files below a folder, unsorted, with None, and with its kind whatever cannot be read or is not entered.

    The kinds: "linked folder", "unreadable folder", "empty folder", "broken link or device".

    Raises:
        OSError: The folder itself cannot be searched.
    """
    for place, entries in _searched(folder):
        if entries is None:
            yield place, "unreadable folder"
            continue
        if not entries and place != folder:
            yield place, "empty folder"
        for entry in entries:
            path = Path(entry.path)
            if not _leads_to_folder(entry):
                yield path, None if os.path.isfile(path) else "broken link or device"
            elif not _is_folder(entry):
                yield path, "linked folder"


def _searched(folder: Path) -> Iterator[tuple[Path, list[os.DirEntry[str]] | None]]:
    """Yield a folder and those below it at any depth, but no linked ones, with their entries; None if unreadable.

    Python before 3.12 walks by recursion, which ends at a thousand folders.

    Raises:
        OSError: The folder itself cannot be searched.
    """
    todo = [folder]
    while todo:
        place = todo.pop()
        try:
            with os.scandir(place) as found:
                entries = list(found)
        except OSError:
            if place == folder:
                raise
            yield place, None
            continue
        yield place, entries
        todo += [Path(entry.path) for entry in entries if _is_folder(entry)]


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link into a folder that may not be entered
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder itself, no link and no junction of Windows."""
    try:
        return entry.is_dir(follow_symlinks=False) and not getattr(entry, "is_junction", bool)()
    except OSError:
        return False


def _walk(folder: Path, wanted: Wanted) -> FoundFiles:
    passed_over: Counter[str] = Counter()
    files = []
    for path, kind in walk(folder):
        if kind is None and _is_read(path, folder, wanted):
            files.append(path)
        elif kind in ("linked folder", "unreadable folder"):
            passed_over[kind] += 1
        elif kind != "empty folder" and (by_name := kind_passed_over(path.relative_to(folder))):
            passed_over[kind or by_name] += 1
    return FoundFiles(sorted(files), passed_over)


def _matches(folder: Path, glob: str) -> list[Path]:
    """Return the files that match in a folder or below, as `Path.rglob` does, which fails in very deep folders."""
    parts = PurePath(glob).parts
    start = next((i for i, part in enumerate(parts) if part != "**"), 0)  # what any folder may take the place of
    pattern = glob if not start else str(PurePath(*parts[start:]))
    if "**" in parts[start:]:
        found = set(folder.rglob(pattern))
    else:
        found = {path for place, entries in _searched(folder) if entries for path in matching(place, pattern)}
    return sorted(path for path in found if os.path.isfile(path) and not is_hidden(path.relative_to(folder)))


def _is_read(path: Path, folder: Path, wanted: Wanted) -> bool:
    """Return whether a folder's file is wanted, by its suffix; without suffix, a picture by its content."""
    suffix = path.suffix.lower()
    if suffix not in wanted.suffixes and not (wanted.pictures and not suffix):
        return False
    if is_hidden(path.relative_to(folder)):
        return False
    if suffix and suffix not in TYPESCRIPT:
        return True
    try:
        with path.open("rb") as file:
            start = file.read(256)
    except OSError:  # reading it says why
        return bool(suffix)
    if suffix:  # packets of MPEG transport streams begin with G (ISO 13818-1), some after four bytes of time
        return b"G" in (start[:1], start[4:5])
    from mien.sources.content import decoder_of

    return decoder_of(start) is not None


def _counts(passed_over: Mapping[str, int]) -> str:
    most = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(n for _, n in most[MAX_KINDS:])
    named = [f"{n:,} {kind}" for kind, n in most[:MAX_KINDS]]
    return ", ".join([*named, f"{rest:,} of other kinds"] if rest else named)


def is_hidden(path: PurePath) -> bool:
    """Return whether a path below the folder that is searched is hidden: it, or a folder around it."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
