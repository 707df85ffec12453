"""Label sets: the ordered class names of a dataset or a model."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mien.errors import ConfigError, DatasetError

NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?")
NUMBERED = re.compile(r"(\d{1,9})[\s:,;]+(\S.*)")  # a line of a list
MAX_CHARACTERS = 1 << 16  # of a file of labels

# Names in other datasets and papers -> canonical name.
SYNONYMS = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "afraid": "fear",
    "scared": "fear",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}


def canonical(name: str) -> str:
    """Return the canonical name of an expression: lower case, synonyms replaced ("Joy" -> "happy")."""
    name = unicodedata.normalize("NFC", name.strip().lower())  # macOS decomposes the names of files
    return SYNONYMS.get(name, name)


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Class names in the order of their ids.

    Args:
        name: Name of the set ("fer2013").
        labels: Canonical class names by id, without duplicates.

    Raises:
        DatasetError: There are fewer than two names, duplicates, or empty names.
    """

    name: str
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise DatasetError(
                f"label set '{self.name}' is {', '.join(self.labels) or 'empty'}; expected two or more different names"
            )
        if not all(map(str.strip, self.labels)):
            raise DatasetError(
                f"label set '{self.name}' is {list(self.labels)}; expected no empty name: remove its comma"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[str]:
        return iter(self.labels)

    def index(self, label: str) -> int:
        """Return the id of a label; synonyms are accepted.

        Raises:
            DatasetError: Unknown label.
        """
        try:
            return self.labels.index(canonical(label))
        except ValueError:
            raise DatasetError(
                f"unknown label '{label}' for '{self.name}'; expected one of {', '.join(self.labels)}"
            ) from None

    def mapping_to(self, other: LabelSet) -> list[int | None]:
        """Return the id in `other` for each label of this set, by name; None where it is missing."""
        return [other.labels.index(name) if name in other.labels else None for name in self.labels]


FER2013 = LabelSet("fer2013", ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"))
# Column order of fer2013new.csv: Barsoum et al. 2016, arXiv:1608.01041.
FERPLUS = LabelSet("ferplus", ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt"))

LABEL_SETS = {labels.name: labels for labels in (FER2013, FERPLUS)}


def label_set_for(names: Iterable[str], *, name: str) -> LabelSet:
    """Return the known set of exactly these names, in its order, or a new set in alphabetical order.

    Args:
        names: Class names of a dataset; synonyms are accepted.
        name: Name of a new set.
    """
    found = {canonical(label) for label in names}
    for known in LABEL_SETS.values():
        if found == set(known.labels):
            return known
    return LabelSet(name, tuple(sorted(found)))


def named_label_set(text: str, *, name: str) -> LabelSet:
    """Parse a label set.

    Args:
        text: Name of a known set, or class names in the order of their ids, separated by commas, also as a list of
            Python, or the path of a text file with one per line, also after its number; synonyms are accepted.
        name: Name of a new set.

    Raises:
        ConfigError: The text is a single word, but not the name of a known set; the names are numbers; or the file
            cannot be read.
        DatasetError: See `LabelSet`.
    """
    names = tuple(canonical(label.strip(" \t'\"")) for label in _listed(text).split(","))
    for known in LABEL_SETS.values():
        if names in (known.labels, (known.name,)):
            return known
    if all(map(NUMBER.fullmatch, names)):
        raise ConfigError(f"the labels are numbers, {text[:40]}; give the names of the classes: angry,disgust,…")
    if len(names) == 1:
        raise ConfigError(
            f"unknown label set '{text}'; choose from {', '.join(LABEL_SETS)}, or list the classes in the order of the "
            "outputs, separated by commas: angry,disgust,…"
        )
    return LabelSet(f"{name}-labels" if name in LABEL_SETS else name, names)


def _listed(text: str) -> str:
    """Return the labels in a text or in the file that it names, separated by commas."""
    path = Path(text)
    if "," in text or not path.suffix or not os.path.isfile(path):
        return text.strip().strip("[](){}")
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = file.read(MAX_CHARACTERS).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the labels in '{path}': {error}; expected a text file with one label per line"
        ) from error
    lines = [line.strip() for line in lines if line.strip()]
    numbered = [found for line in lines if (found := NUMBERED.fullmatch(line))]
    if len(numbered) == len(lines):
        lines = [found[2] for found in sorted(numbered, key=lambda found: int(found[1]))]
    return ",".join(lines)
