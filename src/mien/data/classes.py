"""Names of classes, as datasets spell and number them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from mien.errors import DatasetError
from mien.escape import INVISIBLE
from mien.labels import canonical

MAX_LISTED = 12  # numbers in a message


def name_classes(root: Path, labels: Iterable[str], classes: Mapping[str, str] | None) -> dict[str, str]:
    """Name the classes of a dataset, and warn of names that belong to none.

    Args:
        root: Folder or file of the data, for messages.
        labels: Labels as the data spells them; "3.0" is the number 3.
        classes: Names of labels: {"3": "surprise"}.

    Returns:
        The name of each label.

    Raises:
        DatasetError: A number has no name, a label is neither among the numbers that are named nor a name, or a label
            holds a control character.
    """
    classes = {plain_number(label) or label: name for label, name in (classes or {}).items()}
    given = {label: plain_number(label) or label for label in labels}
    for label in [*given, *classes.values()]:
        check_name(root, label)
    if unused := [label for label in classes if label not in given.values()]:
        warnings.warn(f"'{root}' has no class {', '.join(unused)}, to which a name was given", stacklevel=4)
    if classes and all(map(plain_number, classes)):
        known = {*classes, *map(canonical, classes.values())}
        unknown = sorted({label for label in given.values() if canonical(label) not in known})
        if unknown and not all(map(plain_number, unknown)):
            raise DatasetError(
                f"unknown label '{unknown[0]}' in '{root}'; --classes names {', '.join(classes.values())}"
            )
    names = {label: classes.get(plain, plain) for label, plain in given.items()}
    if numbers := sorted({name for name in names.values() if plain_number(name)}, key=float):
        raise DatasetError(
            f"classes of '{root}' are numbers without a name: {', '.join(numbers[:MAX_LISTED])}; name them all: "
            "--classes 1=surprise,2=fear,…"
        )
    return names


def plain_number(label: str) -> str | None:
    """Return the plain spelling of a number ("3.0" and "03" are "3"); None for a name."""
    if not label[:1].isdecimal() and label[:1] not in ("+", "-", "."):
        return None  # "nan" and "infinity" are names
    try:
        return f"{float(label):.12g}"
    except ValueError:
        return None


def check_name(root: Path, label: str) -> None:
    """Refuse a character that no text should have: a line end, a change of direction, a byte that is no UTF-8.

    Raises:
        DatasetError: The label holds one.
    """
    if INVISIBLE.search(label):
        spelled = label.encode("unicode_escape").decode()[:80]
        raise DatasetError(f"the class '{spelled}' of '{root}' holds a control character, or is no UTF-8; rename it")
