"""Files: written whole or not at all, folders made, paths printable on any terminal."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import chain, count, takewhile
from pathlib import Path
from typing import Literal, TextIO

import platformdirs

from mien.errors import InputError, OutputError
from mien.escape import visible

TEMPORARY = ".mien-"  # begins the names of the folders that files are written in before they take their places


def as_path(path: object) -> Path:
    """Return a path that a caller handed over.

    Raises:
        InputError: It is neither a str nor a path (such as None or the bytes of a file), or has a null byte.
    """
    if isinstance(path, (str, os.PathLike)) and isinstance(text := os.fspath(path), str):
        if "\0" in text:
            raise InputError(f"the path '{printable(Path(text))}' has a null byte, which no file's name has")
        return Path(text)
    hint = "; decode the bytes of a picture file with mien.sources.decode" if isinstance(path, bytes) else ""
    raise InputError(f"the path is of type {type(path).__name__}; expected a str or a pathlib.Path{hint}")


def refuse_pipe(path: Path) -> None:
    """Refuse to read a pipe, socket or device, which may wait forever; files, folders and missing paths pass.

    Raises:
        OSError: It is one.
    """
    mode = path.stat().st_mode if os.path.exists(path) else stat.S_IFREG
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
        raise OSError(errno.EINVAL, f"it is {kind}, neither a file nor a folder; save its content as a file")


def obstacle(path: str | Path) -> str:
    """Return why a path cannot be looked at, for a message that it is missing: " (Permission denied)".

    `os.path.exists` and its kin answer False there; those of `Path` raise.

    Returns:
        "" for one that is there, or simply missing.
    """
    try:
        os.stat(path)
    except OSError as error:
        return "" if isinstance(error, (FileNotFoundError, NotADirectoryError)) else f" ({error.strerror})"
    except ValueError:  # a null byte
        pass
    return ""


def matching(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield what a folder holds of a pattern, as `Path.glob` does; nothing from a folder that cannot be entered."""
    with suppress(OSError):
        yield from folder.glob(pattern)


@contextmanager
def atomic_path(path: str | Path, *, within: Path | None = None) -> Iterator[Path]:
    """Yield a path to write to, whose file takes the place of `path` once the block has ended well.

    The temporary file has the same name, by which writers choose a format, in a hidden folder beside `path`. When the
    block fails, both are removed, and a file already at `path` stays as it was. A killed process leaves them behind,
    and the next one that writes there removes them, where folders can be locked, as on Unix. A link stays: the file
    that it leads to is replaced. A pipe or device, such as /dev/null, gets the bytes.

    Args:
        path: The file.
        within: Folder for the hidden one, on the same file system; that of `path` when None.

    Raises:
        InputError: It is not a path.
        OutputError: The file cannot be written: no such folder, no permission, disk full.
    """
    path = as_path(path)
    try:
        if is_device(path):
            with tempfile.TemporaryDirectory(prefix="mien-") as name:
                yield (temporary := Path(name) / path.name)
                with temporary.open("rb") as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)
            return
        place = path.resolve() if os.path.islink(path) else path
        with _temporary_folder(within or place.parent) as folder:
            temporary = folder / path.name
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            with suppress(OSError):
                temporary.chmod(mode)  # as the umask says, since some libraries put a file of their own in its place
            os.replace(temporary, place)
    except OSError as error:
        raise _output_error(path, error) from error


def is_device(path: Path) -> bool:
    """Return whether a path is there but neither a file nor a folder, as /dev/null is: nothing can be lost in it."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a folder to write to, whose files take their places in `path` together once the block has ended well.

    `path` is made if missing. Its other files stay, and so do all when the block fails; see `atomic_path`.

    Raises:
        OutputError: A file cannot be written.
    """
    folder = make_folder(path)
    try:
        with _temporary_folder(folder) as temporary:
            try:
                yield temporary
            except OutputError as error:
                raise OutputError(str(error).replace(str(temporary), str(folder))) from error
            with locked(folder):  # two processes at a time would mix their files
                _move_all(temporary, folder)
    except OSError as error:
        raise _output_error(folder, error) from error


@contextmanager
def _temporary_folder(parent: Path) -> Iterator[Path]:
    """Make a hidden folder, which is locked during the block and removed after it."""
    _remove_abandoned(parent.absolute())
    with ExitStack() as stack:
        folder = parent
        while folder == parent or not os.path.exists(folder):
            folder = _hidden_folder(parent)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            with suppress(FileNotFoundError):  # another process took it for an abandoned one before it was locked
                stack.enter_context(locked(folder))
        yield folder


def _hidden_folder(parent: Path) -> Path:
    """Make a hidden folder; of its owner alone, except on Windows, where results moved out of it would stay so."""
    if sys.platform != "win32":
        return Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=parent))
    folder = parent / f"{TEMPORARY}{secrets.token_hex(6)}"
    folder.mkdir()  # `mkdtemp` restricts it to its owner since Python 3.12.4, which files inherit
    return folder


@cache  # once per folder, which may hold many results
def _remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders of processes that have ended."""
    with suppress(OSError):
        for folder in filter(os.path.isdir, matching(parent, f"{TEMPORARY}*")):
            with suppress(BlockingIOError), locked(folder, wait=False) as is_locked:
                if is_locked:
                    shutil.rmtree(folder, ignore_errors=True)


def _move_all(source: Path, target: Path) -> None:
    for entry in sorted(source.iterdir()):
        if os.path.isdir(entry) and os.path.isdir(target / entry.name):
            _move_all(entry, target / entry.name)
        else:
            os.replace(entry, target / entry.name)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Lock a file or folder during a block, see `lock`; yield whether that was possible.

    Raises:
        BlockingIOError: Another process holds the lock, and `wait` is false.
        OSError: It cannot be opened.
    """
    if sys.platform == "win32":  # it cannot open folders
        yield False
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield lock(descriptor, wait=wait)
    finally:
        os.close(descriptor)


def lock(descriptor: int, *, wait: bool = False) -> bool:
    """Lock an open file or folder until it is closed or the process ends, however it ends.

    Returns:
        Whether it could be locked: not on Windows, nor on some network file systems.

    Raises:
        BlockingIOError: Another process holds the lock, and `wait` is false.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _output_error(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(f"cannot write '{path}': {reason}; choose another place or make room there")


def unused(path: Path) -> Path:
    """Return the path, or where there is such a file the first of path-2, path-3 … that is none."""
    others = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return next(other for other in chain([path], others) if not os.path.exists(other))


def user_folder(kind: Literal["cache", "config", "data", "pictures"]) -> Path:
    """Return the platform's place for mien's files of a user.

    It begins with "~" where the user has no home folder, as in some containers; `make_folder` refuses such a path.
    """
    try:
        if kind == "pictures":
            return platformdirs.user_pictures_path() / "mien"
        return Path(getattr(platformdirs, f"user_{kind}_path")("mien"))
    except RuntimeError:
        return Path("~") / kind / "mien"


def make_folder(path: str | Path) -> Path:
    """Make a folder and its missing parents; return its path.

    Raises:
        InputError: It is not a path.
        OutputError: It cannot be made.
    """
    folder = as_path(path)
    if folder.parts[:1] == ("~",):
        raise OutputError(f"cannot make folder '{folder}': the home folder is unknown; set HOME, or name it in full")
    missing = list(takewhile(lambda place: not os.path.isdir(place), (folder, *folder.parents)))
    try:
        for place in reversed(missing or [folder]):  # not by mkdir's `parents`, which is recursive
            place.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make folder '{folder}': {error.strerror}; choose another place") from error
    return folder


def check_folder_of(path: Path) -> None:
    """Make sure that the folder of a file to write is there, before the work whose result it gets.

    Raises:
        OutputError: It isn't.
    """
    if not os.path.isdir(path.parent):
        raise OutputError(
            f"cannot write '{path}': there is no such folder{obstacle(path.parent)}; make it or choose another place"
        )


def make_empty_folder(path: str | Path) -> Path:
    """Make a folder and its missing parents, or accept an empty one; return its path.

    Raises:
        OutputError: It holds something already, or cannot be made or read.
    """
    folder = make_folder(path)
    _remove_abandoned(folder.absolute())
    try:
        found = next(folder.iterdir(), None)
    except OSError as error:
        raise OutputError(f"cannot read folder '{folder}': {error.strerror}; choose another place") from error
    if found is not None and found.name.startswith(TEMPORARY):
        raise OutputError(f"another process is writing to '{folder}'; choose another folder")
    if found is not None:
        raise OutputError(f"'{folder}' holds '{found.name}' already; choose a new or an empty folder")
    return folder


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all, as UTF-8 with plain line ends."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """Yield standard output, which is flushed at the end of the block.

    Raises:
        OutputError: It is closed or full, or its reader has gone.
    """
    if sys.stdout is None:
        raise OutputError("cannot write to standard output: it is closed; name a file instead")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        raise lost_output(error) from error


def lost_output(error: OSError) -> OutputError:
    """Return the error about standard output; what is still to be written to it goes nowhere, as Python tries again."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    reason = "it is closed" if error.errno == errno.EBADF else error.strerror or error
    return OutputError(f"cannot write to standard output: {reason}; make room, or name a file instead")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file of any size, in hexadecimal digits."""
    refuse_pipe(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def counted(n: int, noun: str) -> str:
    """Return a number with its noun: "1 face", "1,200 faces"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def printable(path: Path) -> str:
    """Return a path as one line of visible text, shortened where it is long."""
    text = visible(str(path))
    return text if len(text) <= 200 else f"{text[:120]}…{text[-70:]}"
