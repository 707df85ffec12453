"""FERG-DB: rendered faces of six characters (Aneja et al. 2016), and drawn faces in its layout.

The layout is `<character>/<character>_<emotion>/<character>_<emotion>_<number>.png`. Images of one character and
emotion are frames of one film and nearly identical, so a random split puts the same image, almost, on both sides.
Accuracy on unseen faces is measured by holding out a whole character.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from mien.data.dataset import MAX_BYTES, Dataset, Split
from mien.data.photographs import FaceCropper
from mien.data.pictures import (
    Files,
    Picture,
    archive_names,
    dataset_name,
    decode,
    is_picture,
    open_files,
    read_pictures,
)
from mien.data.reading import AS_CROPS, Reading
from mien.data.splits import name_hash
from mien.errors import DatasetError, UnreadablePicture
from mien.files import matching
from mien.labels import FER2013
from mien.structures import Progress

CHARACTERS = frozenset({"aia", "bonnie", "jules", "malcolm", "mery", "ray"})
FOLDER = re.compile(r"([a-z0-9]+)_(anger|disgust|fear|joy|neutral|sadness|surprise)")
LAYOUT = "expected a folder, zip or tar with <character>/<character>_<emotion>/<character>_<emotion>_<number>.png"
TEST_SHARE = 0.25  # of the random split; 75:25 is the usual one of FERG-DB
VALID_SHARE = 0.1  # of the images that are not test
REDUCED_SIZE = 100  # side in pixels where the original size would exceed the memory limit


def can_read(path: Path) -> bool:
    """Return whether the path is a folder, zip or tar with an image in the folder of one character's emotion."""
    if not os.path.isdir(path):
        return any(_character_and_emotion(path, name) for name in archive_names(path))
    folders = (folder for depth in ("", "*/", "*/*/") for folder in matching(path, f"{depth}*_*"))
    files = (
        file.relative_to(path).as_posix()
        for folder in folders
        if FOLDER.fullmatch(folder.name)
        for file in matching(folder, f"{folder.name}_*")
    )
    return any(_character_and_emotion(path, name) for name in files)


def read(
    path: Path,
    reading: Reading = AS_CROPS,
    *,
    votes: Path | None = None,
    hold_out: Sequence[str] = (),
    valid: Sequence[str] = (),
    cropper: FaceCropper | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read images of characters, sorted by name, with the labels of FER2013.

    Without characters to hold out, a quarter of the images is test and a tenth of the others valid, drawn by the hash
    of each file's name, so an image keeps its split when others are added. Hidden and empty files are ignored; a
    warning names images that cannot be decoded or are outside the layout.

    Args:
        path: A folder, zip or tar; an archive is not unpacked to disk.
        reading: Only `size` counts: squares of this side in pixels. None keeps the common size; mixed sizes become 112
            pixels, and images that would exceed 4 GB, like the whole of FERG-DB, 100.
        votes: Must be None: FER+ has no votes on these images.
        hold_out: Characters of the test split.
        valid: Characters of the valid split; if empty, it is a tenth of the images that are not test.
        cropper: Finds the faces; the images fill the picture when None.
        progress: Called with (done, all) after each image.

    Raises:
        DatasetError: There are no images in this layout, a character is unknown or named twice, none is left for
            training, or votes are given.
    """
    if votes is not None:
        raise DatasetError(f"'{path}' holds drawn faces and cannot take the votes '{votes}'; leave them out")
    with open_files(path) as files:
        pictures, characters = _list_pictures(path, files, hold_out, valid)
        if reading.size is None and _exceeds_memory(pictures, files):
            reading = replace(reading, size=REDUCED_SIZE)
        name = "-".join(["ferg" if characters <= CHARACTERS else dataset_name(path), *hold_out])
        return read_pictures(
            path, files, pictures, reading, name=name, labels=FER2013, has_splits=True, framed=True, cropper=cropper,
            progress=progress,
        )  # fmt: skip


def _list_pictures(
    path: Path, files: Files, hold_out: Sequence[str], valid: Sequence[str]
) -> tuple[list[Picture], set[str]]:
    """Return the images in the layout, and the names of all characters."""
    names = [name for name in files.names if is_picture(name)]
    found = {name: parsed for name in names if (parsed := _character_and_emotion(path, name))}
    if not found:
        raise DatasetError(f"'{path}' holds no images of characters; {LAYOUT}")
    if len(names) > len(found):
        stray = next(name for name in names if name not in found)
        warnings.warn(
            f"{len(names) - len(found)} of {len(names)} images in '{path}' are in no character's folder: {stray}; "
            f"they are skipped; {LAYOUT}",
            stacklevel=3,
        )
    characters = {character for character, _ in found.values()}
    _check_characters(characters, hold_out, valid)
    pictures = [
        Picture(name, _split(name, character, hold_out, valid), emotion) for name, (character, emotion) in found.items()
    ]
    return pictures, characters


def _exceeds_memory(pictures: Sequence[Picture], files: Files) -> bool:
    try:
        first = decode(files.read(pictures[0].name), pictures[0].name)
    except UnreadablePicture:
        return False
    return first.nbytes * len(pictures) > MAX_BYTES


def _character_and_emotion(root: Path, name: str) -> tuple[str, str] | None:
    """Return character and emotion of an image in the layout; None for others: a folder "very_anger" is a class."""
    path = PurePosixPath(name)
    found = FOLDER.fullmatch(path.parent.name)
    if found is None or not re.fullmatch(rf"{found[0]}_\d+", path.stem):
        return None
    character = path.parent.parent.name or root.resolve().name
    return (found[1], found[2]) if character == found[1] else None


def _check_characters(known: set[str], hold_out: Sequence[str], valid: Sequence[str]) -> None:
    named = [*hold_out, *valid]
    for character in named:
        if character not in known:
            raise DatasetError(f"unknown character '{character}'; choose from {', '.join(sorted(known))}")
    if len(set(named)) < len(named):
        raise DatasetError(f"a character occurs twice in {', '.join(named)}; each can be in one split only")
    if set(named) == known:
        raise DatasetError(f"with {', '.join(named)} held out no character is left for training; leave one in")


def _split(name: str, character: str, hold_out: Sequence[str], valid: Sequence[str]) -> Split:
    """Return the split of an image: by its character, or drawn by the hash of its name."""
    if character in hold_out:
        return "test"
    if character in valid:
        return "valid"
    test = 0.0 if hold_out else TEST_SHARE
    held = 0.0 if valid else VALID_SHARE * (1 - test)
    draw = name_hash(name)
    return "test" if draw < test else "valid" if draw < test + held else "train"
