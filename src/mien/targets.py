"""Targets: the files to be written, compared with those to be read before any of them is opened."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from mien.errors import ConfigError, InputError, OutputError
from mien.files import as_path, is_device
from mien.pixels import WRITABLE_PICTURES
from mien.sources.paths import PICTURE_SUFFIXES, SOUND_SUFFIXES, VIDEO_SUFFIXES, find_files

STANDARD_OUTPUT = Path("-")
MODEL_SUFFIXES = frozenset({".onnx", ".h5", ".hdf5", ".keras", ".npz", ".zip"})  # of models and datasets
NO_TEXT = PICTURE_SUFFIXES | VIDEO_SUFFIXES | SOUND_SUFFIXES | MODEL_SUFFIXES
START_BYTES = 8192  # of an old file, searched for a null byte, which a text has not

FileId: TypeAlias = "tuple[int, int] | str"


def check_targets(
    sources: Iterable[str | Path | None],
    *,
    texts: Iterable[Path | None] = (),
    pictures: Iterable[Path | None] = (),
    files: Iterable[Path | None] = (),
    folders: Iterable[Path | None] = (),
    glob: str | None = None,
) -> None:
    """Make sure that results overwrite neither a source nor each other.

    The file system decides whether two names are one file, so links and names in another case are found. None stands
    for an option that is not given.

    Args:
        sources: Files that are read, and folders whose pictures and videos are read; a camera or address has no file.
        texts: Tables and other texts to write; "-" is standard output.
        pictures: Pictures to write.
        files: Other files to write.
        folders: Folders that get a report or a run.
        glob: Pattern for the sources in folders; see `sources.list_files`.

    Raises:
        InputError: A target is not a path.
        ConfigError: Two targets are the same file or differ only in case, or a target's suffix is of another kind.
        OutputError: A target is one of the sources, a text would replace a file that is none, or a folder is in the
            place of a file, a file in that of a folder, or either is read-only.
    """
    texts, pictures, files, folders = (_given(paths) for paths in (texts, pictures, files, folders))
    targets = [path for path in (*texts, *pictures, *files) if path != STANDARD_OUTPUT]
    places = [Path(source) for source in sources if source]
    _check_sources(places, targets, folders, glob)
    _check_each_other([*targets, *folders])
    for path in targets:
        if os.path.isdir(path):
            raise OutputError(f"cannot write '{path}': it is a folder; name a file")
    for path in folders:
        if os.path.exists(path) and not os.path.isdir(path):
            raise OutputError(f"cannot make folder '{path}': it is a file; choose another name")
    for path in (*targets, *folders):
        _check_writable(path)
    for path in texts:
        _check_text(path)
    for path in pictures:
        if path.suffix.lower() not in WRITABLE_PICTURES:
            raise ConfigError(f"cannot write '{path}': unknown suffix; choose from {', '.join(WRITABLE_PICTURES)}")


def folded(path: str | Path) -> str:
    """Return a path in the form that is the same for all its spellings on a file system that ignores case."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _given(paths: Iterable[Path | None]) -> list[Path]:
    return [as_path(path) for path in paths if path is not None]


def _check_sources(sources: Sequence[Path], targets: Sequence[Path], folders: Sequence[Path], glob: str | None) -> None:
    """Compare targets with sources; folders are searched only where a target exists, as no other can be in them."""
    for folder in folders:
        if any(_id_of(source) == _id_of(folder) for source in sources if os.path.isdir(source)):
            raise OutputError(f"'{folder}' is read, so nothing is written to it; choose another folder")
    existing = {number: target for target in targets if (number := _id_of(target)) is not None}
    for source in sources if existing else ():
        with suppress(InputError):
            for file in find_files(source, glob=glob).files:
                if (number := _id_of(file)) in existing:
                    raise OutputError(f"'{existing[number]}' would overwrite one of the sources; choose another name")


def _check_each_other(targets: Sequence[Path]) -> None:
    known: dict[FileId, int] = {}
    for i, target in enumerate(targets):
        for key in () if is_device(target) else (_id_of(target), folded(os.path.realpath(target))):
            if key is not None and (other := known.setdefault(key, i)) != i:
                raise ConfigError(
                    f"two results for one file: '{targets[other]}' and '{target}'; choose different ones, not only in "
                    "upper and lower case"
                )


def _check_writable(path: Path) -> None:
    """Ask whether a file or folder may be changed, or made in the nearest folder that is there."""
    places = (path, *Path(os.path.abspath(path)).parents)
    place = next((place for place in places if os.path.exists(place)), None)
    if place is None:  # on Windows: a drive or share that is not there
        raise OutputError(f"cannot write '{path}': there is no '{path.absolute().anchor}'; choose another place")
    if not os.access(place, os.W_OK) or (place != path and not os.path.isdir(place)):
        raise OutputError(f"cannot write '{path}': '{place}' is read-only or not a folder; choose another place")


def _check_text(path: Path) -> None:
    if path == STANDARD_OUTPUT or is_device(path):
        return
    if path.suffix.lower() in NO_TEXT:
        raise ConfigError(
            f"'{path}' does not have the suffix of a table or text file; expected a name such as '{path.stem}.csv'"
        )
    with suppress(OSError), path.open("rb") as file:
        if b"\0" in file.read(START_BYTES):
            raise OutputError(f"'{path}' is there and is not a text; choose another name, or remove it")


def _id_of(path: Path) -> FileId | None:
    """Return device and number of a file, the same for all its names and links; None if there is none."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return (
        (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)
    )  # some network drives number no files
