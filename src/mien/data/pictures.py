"""Picture files with labels, from a folder, zip or tar, as a dataset: decoded, or cropped to the face in them."""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from mien.data import splits
from mien.data.classes import name_classes
from mien.data.damage import damage_reported
from mien.data.dataset import SPLITS, Dataset, FoundFaces, NameArray, PictureLabel, Split, check_memory
from mien.data.photographs import MIN_OVERLAP, SAMPLE, FaceCropper, crop_box, sign_of_photograph
from mien.data.reading import Reading
from mien.data.tars import TARS, check_file_size, open_tar
from mien.errors import DatasetError, UnreadablePicture
from mien.files import counted, refuse_pipe
from mien.labels import LabelSet, label_set_for
from mien.pixels import resize, to_rgb
from mien.sources.paths import PICTURE_SUFFIXES, is_hidden, kind_passed_over, passed_over_message, walk
from mien.sources.pictures import decode as decode_picture
from mien.structures import Box, ImageArray, Progress
from mien.vision.haar import HaarDetector

MIXED_SIZE = 112  # side in pixels where the images differ in size; the input of face recognition networks
PERSON = re.compile(r"(.+)_\d+")  # file names of Labeled Faces in the Wild: Ada_Lovelace_0001
N_NAMED = 3  # files named in a message


@dataclass(slots=True)
class Files:
    """The files of a folder, zip or tar.

    Args:
        names: Paths below it, with "/", of all files that are not empty.
        read_bytes: Returns the bytes of one.
        used: Names of the files that were read.
        others: Number of empty files and folders, and of whatever is not a file, by kind.
    """

    names: list[str]
    read_bytes: Callable[[str], bytes]
    used: set[str] = field(default_factory=set)
    others: Counter[str] = field(default_factory=Counter)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        self.used.add(name)
        return self.read_bytes(name)

    def passed_over(self) -> Counter[str]:
        """Return the number of files that were not read, by kind; see `sources.paths.kind_passed_over`."""
        kinds = (kind_passed_over(PurePosixPath(name)) for name in self.names if name not in self.used)
        return Counter(filter(None, kinds)) + self.others


class Picture(NamedTuple):
    """A picture file with its split and label.

    Args:
        name: Path below the root, with "/".
        split: "train" where the data has no splits.
        label: Name of the class.
        group: Person, or other group that belongs in one split; empty if unknown.
        box: Of the labelled face in pixels, where the data gives it.
        face: Number of the face, where a picture has several labelled ones.
    """

    name: str
    split: Split
    label: str
    group: str = ""
    box: Box | None = None
    face: str = ""

    @property
    def key(self) -> str:
        """The name, with the number of the face: unique."""
        return f"{self.name}#{self.face}" if self.face else self.name


@dataclass(slots=True)
class _Loaded:
    """Result of `_load`; `images` correspond to `kept`.

    Args:
        kept: Pictures in the dataset.
        images: uint8 (H, W) or (H, W, 3), of one size.
        left_out: Pictures without a face, or with several that are skipped.
        crowded: Pictures with several faces.
        n_elsewhere: Number of pictures left out though faces were found, all apart from the box that the data gives.
    """

    kept: list[Picture] = field(default_factory=list)
    images: list[ImageArray] = field(default_factory=list)
    left_out: list[Picture] = field(default_factory=list)
    crowded: list[Picture] = field(default_factory=list)
    n_elsewhere: int = 0


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """List a folder, zip or tar, sorted.

    Raises:
        DatasetError: Pictures are in a folder that is a link or cannot be read; or damage is found, also while reading.
    """
    with damage_reported(path):
        refuse_pipe(path)
        if os.path.isdir(path):
            yield _list_folder(path)
        elif path.name.lower().endswith(TARS):
            with open_tar(path) as tar:
                names = sorted(name for name, member in tar.members.items() if not member.isreg() or member.size)
                yield Files(names, tar.read, others=+Counter({"empty": len(tar.members) - len(names)}))
        else:
            with zipfile.ZipFile(path) as archive:
                entries = [entry for entry in archive.infolist() if not entry.is_dir()]
                sizes = {entry.filename: entry.file_size for entry in entries if entry.file_size}
                n_empty = sum(not entry.file_size for entry in entries)
                others = +Counter({"empty": n_empty, "repeated": len(entries) - n_empty - len(sizes)})
                yield Files(sorted(sizes), lambda name: _read_member(archive, name, sizes[name]), others=others)


def _list_folder(root: Path) -> Files:
    names, others, lost = [], Counter[str](), defaultdict[str, list[str]](list)
    for path, kind in walk(root):
        name = path.relative_to(root)
        is_folder = kind is not None and kind.endswith("folder")
        if kind is None and path.stat().st_size:
            names.append(name.as_posix())
        elif not (is_hidden(name) if is_folder else kind_passed_over(name) is None):
            others[kind or "empty"] += 1
            if kind == "unreadable folder" or (kind == "linked folder" and _leads_to_pictures(path)):
                lost[kind].append(name.as_posix())
    for kind, folders in lost.items():  # classes, splits or pictures would be missing
        way_out = (
            "put the folders themselves there" if kind == "linked folder" else "make them readable, or remove them"
        )
        raise DatasetError(
            f"'{root}' holds {counted(len(folders), kind)}, which {'is' if len(folders) == 1 else 'are'} not searched: "
            f"{some(sorted(folders))}; {way_out}"
        )
    return Files(sorted(names), lambda name: _read_file(root / name), others=others)


def _leads_to_pictures(link: Path) -> bool:
    """Return whether a linked folder holds pictures, unless it leads back to a folder around it."""
    target = link.resolve()
    if target in link.parent.resolve().parents or target == link.parent.resolve():
        return False
    return any(kind is None and is_picture(path.relative_to(target).as_posix()) for path, kind in walk(target))


def _read_file(path: Path) -> bytes:
    check_file_size(str(path), path.stat().st_size)
    return path.read_bytes()


def _read_member(archive: zipfile.ZipFile, name: str, size: int) -> bytes:
    """Read as many bytes as the directory of the zip announces; `ZipFile.read` unpacks all that there are."""
    check_file_size(name, size)
    with archive.open(name) as stream:
        return stream.read(size)


def warn_of_passed_over(root: Path, files: Files) -> None:
    """Warn of the files in a folder, zip or tar of a user's own layout that were not read, if there are any."""
    if passed_over := files.passed_over():
        warnings.warn(passed_over_message(root, passed_over), stacklevel=3)


def archive_names(path: Path) -> tuple[str, ...]:
    """Return the names in a zip or tar; none if it is neither by its suffix, or damaged."""
    if not path.name.lower().endswith((".zip", *TARS)):
        return ()
    try:
        with damage_reported(path):
            return _archive_names(path, path.stat().st_mtime_ns)
    except DatasetError:
        return ()


@lru_cache(1)  # every reader asks, and a packed tar is unpacked for its names
def _archive_names(path: Path, _changed: int) -> tuple[str, ...]:
    with open_files(path) as files:
        return tuple(files.names)


def dataset_name(path: Path) -> str:
    """Return the name of a folder, or of a zip or tar without its suffix."""
    return path.resolve().name if os.path.isdir(path) else path.stem.removesuffix(".tar")


def is_picture(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in PICTURE_SUFFIXES and not is_hidden(path)


def some(names: Sequence[str]) -> str:
    """Return the first names for a message."""
    return ", ".join(names[:N_NAMED]) + (", …" if len(names) > N_NAMED else "")


def read_pictures(
    root: Path,
    files: Files,
    pictures: Sequence[Picture],
    reading: Reading,
    *,
    name: str,
    labels: LabelSet | None = None,
    has_splits: bool = False,
    framed: bool = False,
    cropper: FaceCropper | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Decode labelled pictures, crop them, and fill missing splits.

    A missing valid or test split is held out of train, 10 % of each class: see `mien.data.splits.hold_out`. Pictures
    without a face keep a place in a split, so that the splits are the same for every detector.

    Images of one size keep it, others become squares of `size` or 112 pixels. The images are grey if all images
    are, else RGB. A warning names files that cannot be decoded.

    Args:
        root: Folder, zip or tar, for messages.
        files: Its files.
        pictures: In the order of the dataset.
        reading: `size`; `group_by`, which is "name" for the person in file names like Ada_Lovelace_0001.jpg, or None
            to keep the pictures' groups; and `classes`.
        name: Of the dataset, and of its label set unless that is a known one.
        labels: Label set; that of the classes when None.
        has_splits: Whether the splits are complete, so that none is held out.
        framed: Whether the pictures are known to be crops; else a warning says if they seem to be photographs.
        cropper: Finds the faces; the pictures are crops, or have boxes, when None.
        progress: Called with (number, all) for each picture.

    Raises:
        DatasetError: No picture can be decoded, none has a face, classes are only numbered, a file name has no person,
            or the images exceed 4 GB.
    """
    names = name_classes(root, dict.fromkeys(picture.label for picture in pictures), reading.classes or None)
    named = [picture._replace(label=names[picture.label]) for picture in pictures]
    pictures = _grouped(root, named, reading.group_by)
    sample = set() if framed or cropper is not None else set(np.linspace(0, len(pictures) - 1, SAMPLE).astype(int))
    loaded = _load(root, pictures, files.read, reading.size, cropper, sample, progress)
    if cropper is not None and not loaded.kept:
        raise DatasetError(
            f"the detector '{cropper.name}' found {'no face' if cropper.several == 'largest' else 'no single face'} in "
            f"any of {len(loaded.left_out):,} pictures of '{root}'; choose another --detector, or leave it out if the "
            "images are crops"
        )
    if cropper is not None:
        _warn_of_lost_classes(cropper, loaded)
        if loaded.n_elsewhere:
            warnings.warn(
                f"in {loaded.n_elsewhere:,} of {len(loaded.left_out):,} pictures of '{root}' without a face, the "
                f"detector '{cropper.name}' found faces, but none that overlaps the given box by {MIN_OVERLAP} or more "
                "(intersection over union)",
                stacklevel=3,
            )
    everything = [*loaded.kept, *loaded.left_out]
    splits_of, held_out = _splits(everything, has_splits=has_splits)
    kept = [picture._replace(split=splits_of[picture.key]) for picture in loaded.kept]
    labels = labels or label_set_for({picture.label for picture in everything}, name=name)
    return Dataset(
        name=name,
        images=_stacked(loaded.images),
        targets=np.array([labels.index(picture.label) for picture in kept], np.int64),
        labels=labels,
        splits=np.array([SPLITS.index(picture.split) for picture in kept], np.int8),
        held_out=held_out,
        names=np.array([picture.key for picture in kept], np.str_),
        groups=_groups(root, kept),
        found=None if cropper is None else _found(cropper, loaded, splits_of),
    )


def _grouped(root: Path, pictures: list[Picture], group_by: str | None) -> list[Picture]:
    """Group the pictures by the person in their file names, or keep their groups."""
    if group_by is None:
        return pictures
    if group_by != "name":
        raise DatasetError(
            f"--group-by is '{group_by}', but '{root}' has no label table with such a column; expected name, for file "
            "names like Ada_Lovelace_0001.jpg"
        )
    persons = [PERSON.fullmatch(PurePosixPath(picture.name).stem) for picture in pictures]
    without = [picture.name for picture, person in zip(pictures, persons, strict=True) if person is None]
    if without:
        raise DatasetError(
            f"{len(without):,} of {len(pictures):,} file names in '{root}' hold no person: {some(without)}; expected "
            "names like Ada_Lovelace_0001.jpg"
        )
    return [picture._replace(group=person[1]) for picture, person in zip(pictures, persons, strict=True) if person]


def _splits(pictures: list[Picture], *, has_splits: bool) -> tuple[dict[str, Split], tuple[Split, ...]]:
    """Return the split of each picture by its key, and the splits that were held out."""
    held_out: tuple[Split, ...] = ()
    if not has_splits:
        pictures, held_out = hold_out(pictures)
    return {picture.key: picture.split for picture in pictures}, held_out


def hold_out(pictures: list[Picture]) -> tuple[list[Picture], tuple[Split, ...]]:
    """Move images of train to valid and test where these are missing; return also the splits that were missing."""
    present = {picture.split for picture in pictures}
    missing = tuple(split for split in SPLITS[1:] if split not in present)
    train = [picture for picture in pictures if picture.split == "train"]
    names = [picture.key for picture in train]
    groups = [picture.group for picture in train] if train and train[0].group else None
    drawn = splits.hold_out(names, [picture.label for picture in train], missing, groups)
    split_of = dict(zip(names, drawn, strict=True))
    return [picture._replace(split=split_of.get(picture.key, picture.split)) for picture in pictures], missing


def _groups(root: Path, pictures: Sequence[Picture]) -> NameArray | None:
    """Return the groups of the pictures, if they are known; warn of groups in several splits."""
    if not pictures[0].group:
        return None
    groups = [picture.group for picture in pictures]
    if shared := splits.shared_groups(groups, [picture.split for picture in pictures]):
        group, places = next(iter(shared.items()))
        warnings.warn(
            f"{len(shared):,} of {len(set(groups)):,} persons or groups in '{root}' are in several splits, such as "
            f"'{group}' in {' and '.join(places)}; accuracy on known persons exceeds that on new ones",
            stacklevel=4,
        )
    return np.array(groups, np.str_)


def _found(cropper: FaceCropper, loaded: _Loaded, splits_of: Mapping[str, Split]) -> FoundFaces:
    several = {picture.key for picture in loaded.crowded}
    missed, crowded = (
        tuple(PictureLabel(picture.key, splits_of[picture.key], picture.label) for picture in part)
        for part in ([picture for picture in loaded.left_out if picture.key not in several], loaded.crowded)
    )
    n = len(loaded.kept) + len(loaded.left_out)
    return FoundFaces(detector=cropper.name, several=cropper.several, n_pictures=n, missed=missed, crowded=crowded)


def _load(
    root: Path,
    pictures: Sequence[Picture],
    read: Callable[[str], bytes],
    size: int | None,
    cropper: FaceCropper | None,
    sample: Collection[int],
    progress: Progress | None,
) -> _Loaded:
    """Decode the pictures, crop them, and bring the images to one size; look for photographs in a sample, by index.

    Raises:
        DatasetError: None can be decoded, or they exceed `MAX_BYTES`.
    """
    loaded = _Loaded()
    failures: dict[str, UnreadablePicture] = {}
    haar, looked, signs = HaarDetector() if sample else None, 0, Counter[str]()
    for i, picture in enumerate(pictures):
        if progress is not None:
            progress(i + 1, len(pictures))
        try:
            decoded = decode_picture(read(picture.name), name=picture.name, keep_grey=True, drop_alpha=cropper is None)
        except UnreadablePicture as error:
            failures[picture.name] = error
            continue
        image = _image_of(picture, decoded, cropper, loaded)
        if image is None:
            continue
        if haar is not None and i in sample:
            looked += 1
            signs[sign_of_photograph(decoded, haar) if picture.box is None else ""] += 1
        if size is None and loaded.images and image.shape[:2] != loaded.images[0].shape[:2]:
            size = MIXED_SIZE
            loaded.images = [resize(other, size) for other in loaded.images]
        if size is not None:
            image = resize(image, size)
        check_memory(root, len(pictures), *image.shape)
        loaded.kept.append(picture)
        loaded.images.append(image)
    if failures:
        _report_failures(root, failures, n_read=len(loaded.kept) + len(loaded.left_out))
    del signs[""]
    if signs and signs.total() >= looked / 2:
        _warn_of_photographs(root, signs, looked)
    return loaded


def _image_of(picture: Picture, decoded: ImageArray, cropper: FaceCropper | None, loaded: _Loaded) -> ImageArray | None:
    """Return the image for a decoded picture; None, noted in `loaded`, if it is left out."""
    if cropper is None:
        return decoded if picture.box is None else crop_box(decoded, picture.box)
    crop, n_faces = cropper.crop(decoded, near=picture.box)
    if n_faces > 1:
        loaded.crowded.append(picture)
    if crop is None:
        loaded.left_out.append(picture)
        loaded.n_elsewhere += picture.box is not None and cropper.crop(decoded)[1] > 0
    return crop


def decode(content: bytes, name: str) -> ImageArray:
    """Return an image as grey (H, W) or RGB (H, W, 3); raise UnreadablePicture if it cannot be decoded."""
    return decode_picture(content, name=name, keep_grey=True, drop_alpha=True)


def _stacked(images: Sequence[ImageArray]) -> ImageArray:
    """Return images of one size as uint8 (n, H, W, 1) if all are grey, else (n, H, W, 3)."""
    if all(image.ndim == 2 for image in images):
        return np.stack(images)[..., None]
    return np.stack([to_rgb(image) for image in images])


def _report_failures(root: Path, failures: dict[str, UnreadablePicture], *, n_read: int) -> None:
    found = f"{len(failures)} of {n_read + len(failures)} files in '{root}' cannot be decoded: {some(list(failures))}"
    reason = next(iter(failures.values()))
    if not n_read:
        raise DatasetError(f"{found}; {reason}")
    warnings.warn(f"{found}; they are skipped: {reason}", stacklevel=4)


def _warn_of_photographs(root: Path, signs: Counter[str], looked: int) -> None:
    seen = ", ".join(f"{n} {sign}" for sign, n in sorted(signs.items()))
    warnings.warn(
        f"'{root}' seems to hold photographs, not crops: of {looked} images looked at, {seen}; find and crop the faces "
        "with --detector auto, or in Python with FaceCropper('auto')",
        stacklevel=5,
    )


def _warn_of_lost_classes(cropper: FaceCropper, loaded: _Loaded) -> None:
    """Warn of classes that lose all their pictures to the detector."""
    left = {picture.label for picture in loaded.kept}
    lost = Counter(picture.label for picture in loaded.left_out if picture.label not in left)
    if lost:
        counts = ", ".join(f"{label} (of {n:,} pictures)" for label, n in sorted(lost.items()))
        warnings.warn(
            f"the detector '{cropper.name}' leaves no picture of {counts}; try another --detector, or add pictures",
            stacklevel=4,
        )
