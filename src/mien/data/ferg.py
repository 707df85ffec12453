"""FERG-DB, rendered faces of six characters (Aneja et al. 2016), and drawn ones that are laid out like it.

The layout is `<character>/<character>_<emotion>/<character>_<emotion>_<number>.png`. Pictures of one character and
emotion are frames of one film and nearly alike, so a random split puts almost the same picture on both sides. What
says how well a model does on a face it has never seen is to hold out a whole character.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from mien.data.dataset import SPLITS, Dataset, Split
from mien.data.folders import MOST_BYTES, Picture, decode, decode_all, drawn, is_picture, name_of, opened
from mien.errors import DatasetError
from mien.labels import FER2013

CHARACTERS = frozenset({"aia", "bonnie", "jules", "malcolm", "mery", "ray"})
FOLDER = re.compile(r"([a-z0-9]+)_(anger|disgust|fear|joy|neutral|sadness|surprise)")
LAYOUT = "expected a folder or zip with <character>/<character>_<emotion>/<character>_<emotion>_<number>.png"
TEST = 0.25  # share of the random split; 75:25 is the usual one of FERG-DB
VALID = 0.1  # share of what is not test
SIZE_OF_MANY = 100  # pixels a side where the pictures in their own size would not fit into memory


def can_read(path: Path) -> bool:
    """Tell whether the path is a folder or zip with a folder of one character's emotion in it."""
    try:
        if path.is_dir():
            folders: Iterable[str] = (f.name for depth in ("", "*/", "*/*/") for f in path.glob(f"{depth}*_*"))
            return any(map(FOLDER.fullmatch, folders))
        with zipfile.ZipFile(path) as archive:
            return any(FOLDER.fullmatch(PurePosixPath(name).parent.name) for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def read(
    path: Path,
    *,
    size: int | None = None,
    votes: Path | None = None,
    hold_out: Sequence[str] = (),
    valid: Sequence[str] = (),
) -> Dataset:
    """Read pictures of characters, in the order of their names, with the labels of FER2013.

    Without characters to hold out, a quarter of the pictures is test and a tenth of the others valid: each goes by the
    hash of its own name, so that it stays where it is when others are added. Hidden and empty files are passed over,
    and so are files that are no pictures or lie elsewhere, with a warning where they look like pictures.

    Args:
        path: A folder or a zip; the zip is not unpacked to disk.
        size: Resize the pictures to this many pixels a side. None keeps the size they share; those of mixed sizes
            become 112 pixels a side, and more than memory should hold, like the whole of FERG-DB, 100.
        votes: Must be None: nobody has voted on them.
        hold_out: Characters that are test, all of them and nobody else.
        valid: Characters that are valid; if there are none, a tenth of the pictures that are not test is.

    Raises:
        DatasetError: There are no pictures in this layout, a character is unknown or named twice, none is left to
            train on, or votes are given.
    """
    if votes is not None:
        raise DatasetError(f"'{path}' holds drawn faces and cannot take the votes '{votes}'; leave them out")
    with opened(path) as files:
        names = [name for name in files.names if is_picture(name)]
        placed = {name: found for name in names if (found := _character_and_emotion(name))}
        if not placed:
            raise DatasetError(f"'{path}' holds no pictures of characters; {LAYOUT}")
        characters = {character for character, _ in placed.values()}
        _check_characters(characters, hold_out, valid)
        pictures = [
            Picture(name, _split(name, character, hold_out, valid), emotion)
            for name, (character, emotion) in placed.items()
        ]
        if size is None:
            first = decode(files.read(pictures[0].name))
            size = SIZE_OF_MANY if first is not None and first.nbytes * len(pictures) > MOST_BYTES else None
        pictures, images = decode_all(path, pictures, files.read, size)
    if len(names) > len(placed):
        astray = next(name for name in names if name not in placed)
        warnings.warn(
            f"{len(names) - len(placed)} of {len(names)} pictures in '{path}' lie in no character's folder: {astray}; "
            f"they are left out; {LAYOUT}",
            stacklevel=2,
        )
    return Dataset(
        name="-".join(["ferg" if characters <= CHARACTERS else name_of(path), *hold_out]),
        images=images,
        targets=np.array([FER2013.index(picture.label) for picture in pictures], np.int64),
        labels=FER2013,
        splits=np.array([SPLITS.index(picture.split) for picture in pictures], np.int8),
    )


def _character_and_emotion(name: str) -> tuple[str, str] | None:
    path = PurePosixPath(name)
    found = FOLDER.fullmatch(path.parent.name)
    if found is None or not re.fullmatch(rf"{found[0]}_\d+", path.stem):
        return None
    return found[1], found[2]


def _check_characters(known: set[str], hold_out: Sequence[str], valid: Sequence[str]) -> None:
    named = [*hold_out, *valid]
    for character in named:
        if character not in known:
            raise DatasetError(f"unknown character '{character}'; choose from {', '.join(sorted(known))}")
    if len(set(named)) < len(named):
        raise DatasetError(f"a character occurs twice in {', '.join(named)}; each can be in one split only")
    if set(named) == known:
        raise DatasetError(f"with {', '.join(named)} held out nobody is left to train on; leave one of them in")


def _split(name: str, character: str, hold_out: Sequence[str], valid: Sequence[str]) -> Split:
    """Return the split of a picture: by its character, or drawn by the hash of its folder and name."""
    if character in hold_out:
        return "test"
    if character in valid:
        return "valid"
    test = 0.0 if hold_out else TEST
    held = 0.0 if valid else VALID * (1 - test)
    draw = drawn(name)
    return "test" if draw < test else "valid" if draw < test + held else "train"
