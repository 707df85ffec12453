"""Recordings of speech with a label and a speaker each, in memory.

Readers for RAVDESS (Livingstone & Russo 2018, doi:10.1371/journal.pone.0196391), EmoDB (Burkhardt et al. 2005),
CREMA-D (Cao et al. 2014, doi:10.1109/TAFFC.2014.2336244), and folders of classes.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from mien.data.damage import damage_reported
from mien.data.dataset import NameArray
from mien.data.noise import trimmed
from mien.errors import DatasetError, InputError
from mien.files import as_path, obstacle, printable
from mien.labels import FER2013, LabelSet, canonical
from mien.sources.paths import SOUND_SUFFIXES, walk
from mien.sources.sounds import sounds
from mien.structures import SAMPLE_RATE, BoolArray, FloatArray, IntArray, Progress

Samples: TypeAlias = npt.NDArray[np.int16]
MAX_BYTES = 4 << 30  # of all sounds, 37 hours
SHORTEST = 0.2  # seconds; a shorter file is no sentence
MIN_SPEAKERS = 2  # of a class: with one, it could not be tested on another speaker
MAX_WARNINGS = 20  # of single files


@dataclass(frozen=True)
class Speech:
    """Recordings of speech.

    Args:
        name: Of the data: "ravdess", "emodb", "crema-d", or its folder's.
        clips: Mono at 16 kHz, int16 (n,) each; silence at both ends is cut.
        targets: Class ids, int64 (n,), in [0, len(labels)).
        labels: Class names in the order of the ids.
        speakers: Name of each clip's speaker, str (n,).
        names: File of each clip, its path below the root with "/", str (n,).

    Raises:
        DatasetError: The lengths differ, there is no clip, or a target is out of range.
    """

    name: str
    clips: Sequence[Samples] = field(repr=False)
    targets: IntArray = field(repr=False)
    labels: LabelSet
    speakers: NameArray = field(repr=False)
    names: NameArray = field(repr=False)

    def __post_init__(self) -> None:
        lengths = {len(self.clips), len(self.targets), len(self.speakers), len(self.names)}
        if len(lengths) != 1 or lengths == {0}:
            raise DatasetError(f"speech '{self.name}' has parts of lengths {sorted(lengths)}; expected one, from 1")
        if not (self.targets.min() >= 0 and self.targets.max() < len(self.labels)):
            raise DatasetError(f"speech '{self.name}' has class ids outside 0..{len(self.labels) - 1}")

    def __len__(self) -> int:
        return len(self.clips)

    def sound(self, i: int) -> FloatArray:
        """Return a clip as float32 in [-1, 1]."""
        return np.asarray(self.clips[i], np.float32) / np.float32(32768)

    @property
    def seconds(self) -> float:
        """Length of all clips together."""
        return sum(map(len, self.clips)) / SAMPLE_RATE

    def select(self, index: BoolArray | IntArray) -> Speech:
        """Return the clips that a mask, bool (n,), or indices select."""
        rows = np.arange(len(self))[index]
        return replace(
            self, clips=[self.clips[i] for i in rows], targets=self.targets[rows], speakers=self.speakers[rows],
            names=self.names[rows],
        )  # fmt: skip

    def sample(self, n: int, *, seed: int = 0) -> Speech:
        """Return n clips drawn at random, in their order.

        Corpora repeat few sentences in every class; every k-th file would be the same few of them, and a figure on
        such a subset means nothing.
        """
        return self.select(np.sort(np.random.default_rng(seed).permutation(len(self))[:n]))

    def with_labels(self, labels: LabelSet) -> Speech:
        """Return the clips whose labels are in another set, with its ids.

        Raises:
            DatasetError: There is none.
        """
        ids = np.array([-1 if i is None else i for i in self.labels.mapping_to(labels)])[self.targets]
        if not (ids >= 0).any():
            raise DatasetError(
                f"no clip of '{self.name}' has a label of '{labels.name}': {', '.join(labels)}; its labels are "
                f"{', '.join(self.labels)}"
            )
        known = replace(self, targets=np.maximum(ids, 0), labels=labels)
        return known.select(ids >= 0)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of sounds, labels and speakers, in their order: 64 hexadecimal digits."""
        digest = hashlib.sha256(repr((self.labels.labels, self.targets.tolist(), self.speakers.tolist())).encode())
        for clip in self.clips:
            digest.update(np.ascontiguousarray(clip).data)
        return digest.hexdigest()


class _Labelled(NamedTuple):
    label: str
    speaker: str


def _ravdess(name: str, _: str) -> _Labelled | None:
    """Speech only: not song, and not videos."""
    found = re.fullmatch(r"0[13]-01-(0[1-8])-0[12]-\d\d-\d\d-(\d\d)", name)
    return found and _Labelled(_RAVDESS[int(found[1]) - 1], found[2])


def _emodb(name: str, _: str) -> _Labelled | None:
    found = re.fullmatch(r"(\d\d)[a-z]\d\d([WLEAFTN])[a-z]?", name)
    return found and _Labelled(_EMODB[found[2]], found[1])


def _crema_d(name: str, _: str) -> _Labelled | None:
    found = re.fullmatch(r"(1\d{3})_[A-Z]{3}_(ANG|DIS|FEA|HAP|NEU|SAD)_(?:LO|MD|HI|XX|X)", name)
    return found and _Labelled(_CREMA_D[found[2]], found[1])


def _folder(name: str, parent: str) -> _Labelled | None:
    speaker, underscore, _ = name.partition("_")
    return _Labelled(parent, speaker) if parent and speaker and underscore else None


_RAVDESS = ("neutral", "calm", "happy", "sad", "angry", "fear", "disgust", "surprise")
_EMODB = {"W": "angry", "L": "boredom", "E": "disgust", "A": "fear", "F": "happy", "T": "sad", "N": "neutral"}
_CREMA_D = {"ANG": "angry", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
FOLDERS = "folders"
# How each corpus writes label and speaker into the name of a file; the last one takes whatever is left.
NAMINGS: dict[str, Callable[[str, str], _Labelled | None]] = {
    "ravdess": _ravdess, "emodb": _emodb, "crema-d": _crema_d, FOLDERS: _folder,
}  # fmt: skip
MERGED = {"calm": "neutral"}  # what is read under another name unless the caller says otherwise


def speech_path(argument: str) -> Path:
    """Return a folder of recordings by its path, or by its name in $MIEN_DATA or its folder voice.

    Raises:
        DatasetError: There is none.
    """
    home = Path(os.environ.get("MIEN_DATA") or "")
    places = [as_path(argument), home / argument, home / "voice" / argument]
    for path in places:
        if os.path.isdir(path):
            return path
    raise DatasetError(
        f"no folder '{argument}' of recordings{obstacle(argument)}, nor one of that name in $MIEN_DATA; check the path"
    )


def read_speech(
    source: str | Path, *, merge: Mapping[str, str] = MERGED, trim: bool = True, progress: Progress | None = None
) -> Speech:
    """Read a folder of recordings: RAVDESS, EmoDB or CREMA-D, known by their names of files, or `<class>/<speaker>_*`.

    Files that cannot be read or whose names fit no naming get a warning each, and are left out; so are classes with
    fewer than two speakers.

    Args:
        source: The folder.
        merge: Labels that are read as others; by default RAVDESS' calm as neutral, which has half of the clips
            otherwise.
        trim: Cut silence at both ends, see `noise.trimmed`.
        progress: Called with (files read, total).

    Raises:
        DatasetError: No such folder, no recordings in it, or too many; or fewer than two classes.
    """
    root = as_path(source)
    if not os.path.isdir(root):
        raise DatasetError(f"no folder '{printable(root)}' of recordings{obstacle(root)}; check the path")
    with damage_reported(root):
        files = sorted(path for path, kind in walk(root) if kind is None and path.suffix.lower() in SOUND_SUFFIXES)
    if not files:
        raise DatasetError(
            f"no recordings in '{printable(root)}'; expected files ending in {', '.join(sorted(SOUND_SUFFIXES))}"
        )
    naming, labelled = _named(root, files)
    clips, kept, n_bytes = [], [], 0
    complain = _Complaints()
    for done, path in enumerate(files, start=1):
        if path in labelled:
            try:
                clip = _read_clip(path, trim=trim)
            except InputError as error:
                complain(f"{error}; it is left out")
            else:
                clips.append(clip)
                kept.append(path)
                n_bytes += clip.nbytes
        else:
            complain(f"'{printable(path)}' is named like no recording of {naming}; it is left out")
        if n_bytes > MAX_BYTES:
            raise DatasetError(f"'{printable(root)}' holds more than {MAX_BYTES >> 30} GB of sound; give a part of it")
        if progress is not None:
            progress(done, len(files))
    complain.end()
    found = [labelled[path] for path in kept]
    names = [canonical(merge.get(canonical(one.label), one.label)) for one in found]
    labels = _labels(root, names, [one.speaker for one in found], naming)
    rows = [i for i, name in enumerate(names) if name in labels.labels]
    return Speech(
        name=labels.name,
        clips=[clips[i] for i in rows],
        targets=np.array([labels.index(names[i]) for i in rows], np.int64),
        labels=labels,
        speakers=np.array([found[i].speaker for i in rows], np.str_),
        names=np.array([kept[i].relative_to(root).as_posix() for i in rows], np.str_),
    )


def _named(root: Path, files: Sequence[Path]) -> tuple[str, dict[Path, _Labelled]]:
    """Return the naming that fits most files, and label and speaker of those that fit it."""
    best, most = "", dict[Path, _Labelled]()
    for naming, parse in NAMINGS.items():
        parents = ["" if path.parent == root else path.parent.name for path in files]
        parsed = [parse(path.stem, parent) for path, parent in zip(files, parents, strict=True)]
        fitting = {path: one for path, one in zip(files, parsed, strict=True) if one is not None}
        if len(fitting) > len(most):
            best, most = naming, fitting
    if not most:
        raise DatasetError(
            f"no recording in '{printable(root)}' has a name with label and speaker: '{files[0].name}' …; expected "
            "the names of RAVDESS, EmoDB or CREMA-D, or <class>/<speaker>_<anything>.wav"
        )
    return best, most


def _labels(root: Path, names: Sequence[str], speakers: Sequence[str], naming: str) -> LabelSet:
    """Return the classes that have enough speakers, in the order of FER2013's labels, others after them."""
    of_class = {name: {s for n, s in zip(names, speakers, strict=True) if n == name} for name in dict.fromkeys(names)}
    counts = Counter(names)
    for name, known in sorted(of_class.items()):
        if len(known) < MIN_SPEAKERS:
            warnings.warn(
                f"'{printable(root)}' has {counts[name]} recordings of '{name}' by {len(known)} speaker; a class needs "
                f"{MIN_SPEAKERS} speakers, so it is left out",
                stacklevel=3,
            )
    left = [name for name, known in of_class.items() if len(known) >= MIN_SPEAKERS]
    if len(left) < 2:
        raise DatasetError(f"'{printable(root)}' has {len(left)} classes by two or more speakers; expected two or more")
    order = {label: i for i, label in enumerate(FER2013)}
    set_name = root.resolve().name if naming == FOLDERS else naming
    return LabelSet(set_name, tuple(sorted(left, key=lambda name: (order.get(name, len(order)), name))))


class _Complaints:
    """Warns of the first files that are left out, one line each, and of the number of the others."""

    def __init__(self) -> None:
        self._n = 0

    def __call__(self, text: str) -> None:
        self._n += 1
        if self._n <= MAX_WARNINGS:
            warnings.warn(text, stacklevel=3)

    def end(self) -> None:
        if self._n > MAX_WARNINGS:
            warnings.warn(f"{self._n - MAX_WARNINGS} further files are left out", stacklevel=3)


def _read_clip(path: Path, *, trim: bool) -> Samples:
    """Read a file as 16 kHz mono int16.

    Raises:
        InputError: It cannot be read, or is empty, silent or too short.
    """
    blocks = [block.samples for block in sounds(path)]
    samples = np.concatenate(blocks)
    if len(samples) < SHORTEST * SAMPLE_RATE:
        raise InputError(
            f"'{printable(path)}' has {len(samples) / SAMPLE_RATE:.2f} s; expected {SHORTEST} s of speech or more"
        )
    if not samples.any():
        raise InputError(f"'{printable(path)}' is silent; expected speech")
    clip = trimmed(samples) if trim else samples
    return np.asarray(np.round(clip * 32767).clip(-32768, 32767), np.int16)


def folds_of(speech: Speech, n_folds: int | None = None) -> IntArray:
    """Return a fold per clip, int64 (n,): neighbouring speakers, as they are sorted by name, are in one fold.

    Args:
        speech: The recordings.
        n_folds: Number of folds; when None, each speaker is one, or with more than twelve speakers there are six.

    Raises:
        DatasetError: There are fewer speakers than folds, or fewer than two.
    """
    speakers, ids = np.unique(speech.speakers, return_inverse=True)
    n_folds = n_folds or (len(speakers) if len(speakers) <= 12 else 6)
    if not 2 <= n_folds <= len(speakers):
        raise DatasetError(
            f"'{speech.name}' has {len(speakers)} speakers, which cannot be {n_folds} folds; expected two or more "
            "folds of one speaker or more each"
        )
    return np.asarray(ids * n_folds // len(speakers), np.int64)


def check_apart(train: Speech, test: Speech) -> None:
    """Check that two parts of a corpus share no speaker.

    Raises:
        DatasetError: They do; figures on speakers that a model was trained on mean nothing.
    """
    refuse_shared(train.name, train.speakers.tolist(), test)


def refuse_shared(name: str, speakers: Sequence[str], test: Speech) -> None:
    """Check that none of a corpus' speakers is among those to test on; see `check_apart`."""
    shared = sorted({*speakers} & {*test.speakers.tolist()}) if name == test.name else []
    if shared:
        listed = ", ".join(shared[:5]) + (" …" if len(shared) > 5 else "")
        raise DatasetError(
            f"{len(shared)} speakers of '{name}' are in both the training and the test part: {listed}; expected "
            "other speakers, since a model knows the voices it was trained on"
        )
