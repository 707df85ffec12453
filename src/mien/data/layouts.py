"""Layouts of public datasets as their users hold them: RAF-DB, AffectNet, ExpW, CK+ and FER+.

The facts were checked against public code that reads these sets (GitHub, 2026) and are cited with each reader.
"""

from __future__ import annotations

import csv
import io
import os
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from mien.data.arrays import read_array
from mien.data.dataset import Dataset, Split
from mien.data.photographs import FaceCropper
from mien.data.pictures import Files, Picture, archive_names, dataset_name, is_picture, open_files, read_pictures, some
from mien.data.reading import AS_CROPS, Reading
from mien.data.splits import split_named
from mien.data.votes import VOTE_COLUMNS, majority_ids, vote_count
from mien.errors import DatasetError
from mien.files import matching, refuse_pipe
from mien.labels import FERPLUS, LabelSet
from mien.settings import shown
from mien.structures import Box, Progress

# Li, Deng and Du 2017, "Reliable crowdsourcing and deep locality-preserving learning for expression recognition in the
# wild"; numbers as in its EmoLabel/list_patition_label.txt.
RAFDB = dict(enumerate(("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"), start=1))
# Mollahosseini, Hasani and Mahoor 2017, arXiv:1708.03985; 8 none, 9 uncertain and 10 no face are no expressions.
AFFECTNET = dict(enumerate(("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")))
AFFECTNET_OTHERS = {8: "none", 9: "uncertain", 10: "no face"}
# Zhang, Luo, Loy and Tang 2018, "From facial expression recognition to interpersonal relation prediction",
# arXiv:1609.06426; numbers as in its label/label.lst.
EXPW = dict(enumerate(("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")))
# Lucey et al. 2010, "The extended Cohn-Kanade dataset (CK+)"; numbers as in its Emotion/*_emotion.txt.
CKPLUS = dict(enumerate(("neutral", "angry", "contempt", "disgust", "fear", "happy", "sad", "surprise")))

RAFDB_LIST = "EmoLabel/list_patition_label.txt"  # sic
RAFDB_FOLDERS = re.compile(r"(?:^|/)(train|test)/([1-7])/(?:train|test)_\d+(?:_aligned)?\.\w+$")
RAFDB_NAME = f"train_{'[0-9]' * 5}*.[jp][pn]g"
AFFECTNET_FIELDS = ("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks",
                    "expression", "valence", "arousal")  # fmt: skip
AFFECTNET_LISTS: dict[str, Split] = {"training": "train", "automatically_annotated": "train", "validation": "valid"}
AFFECTNET_SETS: dict[str, Split] = {"train_set": "train", "val_set": "valid", "test_set": "test"}
AFFECTNET_LABEL = re.compile(r"(?:^|/)(train_set|val_set|test_set)/annotations/([^/]+)_exp\.npy$")
EXPW_FIELDS = 8  # name, number of the face, top, left, right, bottom, confidence of the box, label
# Folders and names that generate_training_data.py of https://github.com/microsoft/FERPlus writes; a line of label.csv
# has name, box and ten votes.
FERPLUS_LABEL = re.compile(r"(?:^|/)FER2013(Train|Valid|Test)/label\.csv$")
CKPLUS_LABEL = re.compile(r"(?:^|/)(S\d+)/(\d+)/\1_\2_\d+_emotion\.txt$")
CKPLUS_FRAME = re.compile(r"(?:^|/)(S\d+)/(\d+)/\1_\2_(\d+)\.(?:png|jpg|tiff?)$")
CKPLUS_PEAK = 3  # last frames of a sequence, which ends at the peak of its expression; the customary number


class Listing(NamedTuple):
    """The labelled pictures of a dataset.

    Args:
        pictures: Pictures, some of which may be missing on the disk.
        framed: Whether they are known to be crops.
        votes: Raters' votes on each picture, by its name, in the order of `VOTE_COLUMNS`; empty if there are none.
        labels: Label set, which names the dataset too; None for that of the classes.
        left_out: Pictures that the layout leaves out on purpose; a warning counts all others that it doesn't list.
    """

    pictures: list[Picture]
    framed: bool = False
    votes: Mapping[str, list[int]] = {}
    labels: LabelSet | None = None
    left_out: Collection[str] = ()


class Layout(NamedTuple):
    """Layout of a dataset.

    Args:
        form: Description, for messages.
        marks: Patterns of paths in a folder by which it is recognised, directly or in one folder below.
        list_pictures: Returns the pictures; takes the root, its files, and whether faces will be detected.
        head: Start of a .csv by which it is recognised, since its name is common.
    """

    form: str
    marks: tuple[str, ...]
    list_pictures: Callable[[Path, Files, bool], Listing]
    head: str = ""


def can_read(layout: Layout, path: Path) -> bool:
    """Return whether a folder, zip or tar has the marks of a layout."""
    if os.path.isdir(path):
        found = (matching(path, f"{depth}{mark}") for mark in layout.marks for depth in ("", "*/"))
        return any(file.suffix != ".csv" or _starts_with(file, layout.head) for file in chain.from_iterable(found))
    marks = [mark for mark in layout.marks if not (layout.head and mark.endswith(".csv"))]
    return any(PurePosixPath(name).match(mark) for name in archive_names(path) for mark in marks)


def _starts_with(file: Path, head: str) -> bool:
    try:
        refuse_pipe(file)
        with file.open(encoding="utf-8-sig", errors="replace") as opened:
            return opened.read(len(head)) == head
    except OSError:
        return False


def read(
    layout: Layout,
    path: Path,
    reading: Reading = AS_CROPS,
    *,
    votes: Path | None = None,
    cropper: FaceCropper | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read a dataset in a layout; warnings count listed pictures that are missing, and pictures that aren't listed.

    Args:
        layout: A value of `LAYOUTS`.
        path: Folder, zip or tar.
        reading: As in `read_pictures`.
        votes: Must be None.
        cropper: As in `read_pictures`; without it faces are cropped by the boxes that the data gives, if it does.
        progress: As in `read_pictures`.

    Raises:
        DatasetError: A list is malformed, all pictures are missing, or as `read_pictures`.
    """
    if votes is not None:
        raise DatasetError(f"'{path}' is {layout.form}, which takes no other votes; leave them out")
    with open_files(path) as files:
        listing = layout.list_pictures(path, files, cropper is not None)
        pictures = _present(path, files, listing.pictures)
        _warn_of_unlisted(layout, path, files, listing)
        dataset = read_pictures(
            path, files, pictures, reading, name=listing.labels.name if listing.labels else dataset_name(path),
            labels=listing.labels, framed=listing.framed, cropper=cropper, progress=progress,
        )  # fmt: skip
    if not listing.votes or dataset.names is None:
        return dataset
    return replace(dataset, votes=np.array([listing.votes[name] for name in dataset.names], np.float32))


def list_rafdb(root: Path, files: Files, photographs: bool) -> Listing:
    """List RAF-DB's basic set: train and test, with its list or in Kaggle's numbered folders.

    `EmoLabel/list_patition_label.txt` has lines like "train_00001.jpg 5"; pictures are in `Image/original`, and aligned
    crops in `Image/aligned` as train_00001_aligned.jpg. Kaggle's copy holds the crops as
    `DATASET/train/5/train_00001_aligned.jpg`. To detect faces, the originals are taken where they are there.
    """
    found = next((name for name in files.names if name.endswith(RAFDB_LIST)), None)
    if found is None:
        parsed = ((name, RAFDB_FOLDERS.search(name)) for name in files.names if is_picture(name))
        pictures = [Picture(name, _split(match[1]), RAFDB[int(match[2])]) for name, match in parsed if match]
        return Listing(pictures, framed=True)
    folder, names = found.removesuffix(RAFDB_LIST), set(files.names)
    forms = {True: f"{folder}Image/original/{{}}.jpg", False: f"{folder}Image/aligned/{{}}_aligned.jpg"}
    rows = list(_lines(root, files, found, 2))
    original = photographs
    if not any(forms[original].format(PurePosixPath(name).stem) in names for _, (name, _) in rows):
        original = not original
    pictures = [
        Picture(forms[original].format(PurePosixPath(name).stem), _split(name), _label(root, found, line, label, RAFDB))
        for line, (name, label) in rows
    ]
    other = str(PurePosixPath(forms[not original]).parent)
    return Listing(pictures, framed=not original, left_out=[name for name in names if name.startswith(f"{other}/")])


def list_affectnet(root: Path, files: Files, photographs: bool) -> Listing:
    """List AffectNet: its csv lists with pictures and boxes, or its numpy annotations with cropped faces.

    The lists training.csv, validation.csv and automatically_annotated.csv name pictures as folder/file, with the box of
    the face; `train_set/images/7.jpg` has its label in `train_set/annotations/7_exp.npy`. AffectNet's validation set is
    the valid split. Rows without an expression (8 to 10) are counted in a warning and left out.
    """
    others: Counter[int] = Counter()
    lists = [name for name in files.names if _affectnet_split(name) is not None]
    left_out: set[str] = set()
    pictures = list(_affectnet_arrays(root, files, others, left_out))
    framed = bool(pictures)
    by_end = {"/".join(PurePosixPath(name).parts[-2:]): name for name in files.names if is_picture(name)}
    for name in [] if pictures else lists:
        pictures += _affectnet_list(root, files, name, by_end, others, left_out)
    _warn_of_others(root, {AFFECTNET_OTHERS[number]: n for number, n in sorted(others.items())})
    return Listing(pictures, framed=framed, left_out=left_out)


def list_expw(root: Path, files: Files, photographs: bool) -> Listing:
    """List ExpW: faces in photographs, by `label/label.lst`.

    A line has name, number of the face, top, left, right and bottom of its box, confidence of the box, and label. Faces
    of one picture stay in one split.
    """
    found = next((name for name in files.names if PurePosixPath(name).name == "label.lst"), None)
    if found is None:
        return Listing([])
    by_name = {PurePosixPath(name).name: name for name in files.names if is_picture(name)}
    pictures = []
    for line, (name, face, top, left, right, bottom, _, label) in _lines(root, files, found, EXPW_FIELDS):
        try:
            box = Box(float(left), float(top), float(right), float(bottom))
        except ValueError:
            raise DatasetError(f"'{found}' in '{root}', line {line} has a box that is not four numbers") from None
        expression = _label(root, found, line, label, EXPW)
        pictures.append(Picture(by_name.get(name, name), "train", expression, name, box, face))
    return Listing(pictures)


def list_ckplus(root: Path, files: Files, photographs: bool) -> Listing:
    """List CK+: the last three frames of each labelled sequence; subjects are groups.

    `cohn-kanade-images/S005/001/S005_001_00000011.png` is a frame, and `Emotion/S005/001/…_emotion.txt` holds the label
    of the sequence, like "3.0000000e+00".
    """
    frames: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for name in files.names:
        if is_picture(name) and (match := CKPLUS_FRAME.search(name)):
            frames[match[1], match[2]].append((int(match[3]), name))
    pictures = []
    for name in files.names:
        if match := CKPLUS_LABEL.search(name):
            text = files.read(name).decode("ascii", "replace").strip()
            label = _label(root, name, 1, text, CKPLUS)
            peak = [frame for _, frame in sorted(frames[match[1], match[2]])[-CKPLUS_PEAK:]]
            missing = name.replace("_emotion.txt", ".png")
            pictures += [Picture(frame, "train", label, match[1]) for frame in peak or [missing]]
    return Listing(pictures, left_out={name for sequence in frames.values() for _, name in sequence})


def list_ferplus(root: Path, files: Files, photographs: bool) -> Listing:
    """List FER+ as its own tool writes it: `FER2013Train/fer0000000.png`, with the votes in `FER2013Train/label.csv`.

    The label is the answer of the majority, as in `mien.data.votes.majority`. Pictures whose majority is no expression
    are counted in a warning and left out.
    """
    others: Counter[str] = Counter()
    votes: dict[str, list[int]] = {}
    splits: dict[str, Split] = {}
    for found in filter(None, map(FERPLUS_LABEL.search, files.names)):
        folder, split = PurePosixPath(found.string).parent, split_named(found[1])
        for line, row in _csv_rows(root, files, found.string):
            try:
                counts = list(map(vote_count, row[2:]))
            except ValueError:
                counts = []
            if len(counts) != len(VOTE_COLUMNS) or split is None:
                raise DatasetError(
                    f"'{found.string}' in '{root}', line {line} is {shown(','.join(row))}; expected a name, a box and "
                    "ten whole numbers"
                )
            name = str(folder / row[0])
            votes[name], splits[name] = counts, split
    answers = majority_ids(np.array(list(votes.values()), np.float32).reshape(-1, len(VOTE_COLUMNS)))
    pictures, there = [], set(files.names)
    for name, answer in zip(votes, answers, strict=True):
        if answer < len(FERPLUS):
            pictures.append(Picture(name, splits[name], VOTE_COLUMNS[answer]))
        elif name in there:
            others[VOTE_COLUMNS[answer]] += 1
    _warn_of_others(root, others)
    return Listing(pictures, framed=True, votes=votes, labels=FERPLUS, left_out=votes.keys())


def _csv_rows(root: Path, files: Files, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield number and fields of each line of a csv in a folder, zip or tar."""
    rows = csv.reader(io.StringIO(files.read(name).decode("utf-8-sig", "replace")))
    try:
        yield from ((rows.line_num, row) for row in rows if row)
    except csv.Error as error:
        raise DatasetError(f"'{name}' in '{root}' is no table: {error}") from error


def _warn_of_others(root: Path, others: Mapping[str, int]) -> None:
    if others:
        counts = ", ".join(f"{n:,} {name}" for name, n in others.items())
        warnings.warn(f"'{root}' has pictures without an expression, which are left out: {counts}", stacklevel=4)


def _present(root: Path, files: Files, pictures: Sequence[Picture]) -> list[Picture]:
    """Return the pictures that are there, each once, by name; warn of others."""
    names = set(files.names)
    missing = [picture.name for picture in pictures if picture.name not in names]
    if len(missing) == len(pictures):
        such = f", such as {missing[0]}" if missing else ""
        raise DatasetError(f"none of the {len(pictures):,} labelled pictures is in '{root}'{such}; put them there")
    if missing:
        warnings.warn(
            f"{len(missing):,} of {len(pictures):,} labelled pictures are missing in '{root}', such as {missing[0]}; "
            "they are left out",
            stacklevel=3,
        )
    there = {picture.key: picture for picture in pictures if picture.name in names}
    return [there[key] for key in sorted(there)]


def _warn_of_unlisted(layout: Layout, root: Path, files: Files, listing: Listing) -> None:
    """Warn of pictures that the layout neither lists nor leaves out on purpose."""
    known = {*listing.left_out, *(picture.name for picture in listing.pictures)}
    if unlisted := [name for name in files.names if is_picture(name) and name not in known]:
        warnings.warn(
            f"passed over {len(unlisted):,} pictures in '{root}', read as {layout.form}, that its lists or names of "
            f"files don't cover: {some(unlisted)}",
            stacklevel=3,
        )


def _lines(root: Path, files: Files, name: str, n_fields: int) -> Iterator[tuple[int, list[str]]]:
    """Yield number and fields of each line of a list separated by blanks; only the first field may hold blanks."""
    for number, line in enumerate(files.read(name).decode("utf-8", "replace").splitlines(), start=1):
        if line.strip():
            fields = line.rsplit(maxsplit=n_fields - 1)
            if len(fields) != n_fields:
                raise DatasetError(f"'{name}' in '{root}', line {number} is {shown(line)}; expected {n_fields} fields")
            yield number, fields


def _number(text: str) -> int | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() else None


def _label(root: Path, name: str, line: int, text: str, labels: Mapping[int, str]) -> str:
    number = _number(text)
    if number is None or number not in labels:
        known = ", ".join(f"{i} {label}" for i, label in labels.items())
        raise DatasetError(f"'{name}' in '{root}', line {line} has the label {shown(text)}; expected {known}")
    return labels[number]


def _split(name: str) -> Split:
    return "test" if name.startswith("test") else "train"


def _affectnet_split(name: str) -> Split | None:
    """Return the split of an AffectNet list by its name; None for other files."""
    path = PurePosixPath(name)
    if path.suffix.lower() != ".csv":
        return None
    return next((split for end, split in AFFECTNET_LISTS.items() if path.stem.lower().endswith(end)), None)


def _affectnet_list(
    root: Path, files: Files, name: str, by_end: Mapping[str, str], others: Counter[int], left_out: set[str]
) -> Iterator[Picture]:
    """Yield the pictures of a csv list, with or without header; count and note those without an expression."""
    split = _affectnet_split(name)
    assert split is not None
    for line, row in _csv_rows(root, files, name):
        if row[0] == AFFECTNET_FIELDS[0]:
            continue
        cells = dict(zip(AFFECTNET_FIELDS, row, strict=False))
        number = _number(cells.get("expression", ""))
        file = cells["subDirectory_filePath"].replace("\\", "/")
        if number in AFFECTNET_OTHERS:
            others[number] += 1
            left_out.add(by_end.get(file, file))
            continue
        label = _label(root, name, line, cells.get("expression", ""), AFFECTNET)
        yield Picture(by_end.get(file, file), split, label, box=_affectnet_box(cells))


def _affectnet_box(cells: Mapping[str, str]) -> Box | None:
    """Return the box of the face; None where a picture has none (NULL or -1)."""
    try:
        x, y, width, height = (float(cells[name]) for name in AFFECTNET_FIELDS[1:5])
    except ValueError:
        return None
    return Box(x, y, x + width, y + height) if width > 0 and height > 0 else None


def _affectnet_arrays(root: Path, files: Files, others: Counter[int], left_out: set[str]) -> Iterator[Picture]:
    """Yield the pictures whose label is in an .npy file; count and note those without an expression."""
    by_stem = {str(PurePosixPath(name).with_suffix("")): name for name in files.names if is_picture(name)}
    for name in files.names:
        match = AFFECTNET_LABEL.search(name)
        if match is None:
            continue
        try:
            text = str(read_array(files.read(name)).item())
        except ValueError as error:
            raise DatasetError(f"'{name}' in '{root}' is not a label of AffectNet ({error}); get it again") from error
        number = _number(text)
        stem = str(PurePosixPath(name).parent.parent / "images" / match[2])
        picture = by_stem.get(stem, f"{stem}.jpg")
        if number in AFFECTNET_OTHERS:
            others[number] += 1
            left_out.add(picture)
            continue
        label = _label(root, name, 1, text, AFFECTNET)
        yield Picture(picture, AFFECTNET_SETS[match[1]], label)


LAYOUTS: dict[str, Layout] = {
    "raf-db": Layout(
        "RAF-DB (basic)", (RAFDB_LIST, f"DATASET/train/[1-7]/{RAFDB_NAME}", f"train/[1-7]/{RAFDB_NAME}"), list_rafdb
    ),
    "affectnet": Layout(
        "AffectNet", ("train_set/annotations/*_exp.npy", "val_set/annotations/*_exp.npy", *(
            f"{folder}{name}.csv" for folder in ("", "Manually_Annotated_file_lists/") for name in AFFECTNET_LISTS
        )), list_affectnet, head=AFFECTNET_FIELDS[0],
    ),
    "expw": Layout("ExpW", ("label/label.lst", "label.lst"), list_expw),
    "ferplus": Layout("FER+ in its own folders", ("FER2013Train/label.csv", "FER2013Test/label.csv"), list_ferplus),
    "ck+": Layout("CK+", ("Emotion/S*/*/*_emotion.txt",), list_ckplus),
}  # fmt: skip
