"""Colours: one per expression, distinguishable with any colour vision."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import lru_cache

from mien.structures import UNCERTAIN

Colour = tuple[int, int, int]  # RGB
# The palette of Okabe and Ito 2008 (jfly.uni-koeln.de/color), distinguishable with any colour vision; a light grey
# replaces its black, which dark photographs hide.
ORANGE, SKY, GREEN = (230, 159, 0), (86, 180, 233), (0, 158, 115)
YELLOW, BLUE, VERMILION, PURPLE, GREY = (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167), (220, 220, 220)
COLOURS: dict[str, Colour] = {
    "angry": VERMILION,
    "disgust": GREEN,
    "fear": PURPLE,
    "happy": YELLOW,
    "sad": BLUE,
    "surprise": ORANGE,
    "neutral": GREY,
    "contempt": SKY,
}
OTHER_COLOURS = (SKY, GREEN, PURPLE, YELLOW, BLUE, ORANGE, VERMILION)
DARKER_COLOURS = tuple((r * 5 // 9, g * 5 // 9, b * 5 // 9) for r, g, b in OTHER_COLOURS)  # once those are used up
UNCERTAIN_COLOUR = (105, 105, 105)  # a dark grey; the light one is neutral's
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def colour_of(label: str, labels: Iterable[str] = ()) -> Colour:
    """Return the RGB colour of an expression.

    Args:
        label: Those in `COLOURS`, and "uncertain", have the same colour in every label set.
        labels: The label set. Its other labels have colours of their own, as far as 14 suffice; without it two may
            have the same.
    """
    if label == UNCERTAIN:
        return UNCERTAIN_COLOUR
    return COLOURS.get(label) or _assigned((*labels, label))[label]


def css_colours(labels: Iterable[str]) -> dict[str, str]:
    """Return the colour of each label of a set, and of "uncertain", as CSS and JSON write it: "#f0e442"."""
    labels = list(labels)
    return {label: "#{:02x}{:02x}{:02x}".format(*colour_of(label, labels)) for label in (*labels, UNCERTAIN)}


@lru_cache(maxsize=64)
def _assigned(labels: tuple[str, ...]) -> dict[str, Colour]:
    """Return the colours of a label set, each as far as possible used once."""
    colours = {label: COLOURS[label] for label in labels if label in COLOURS}
    n = len(OTHER_COLOURS)
    for label in labels:
        if label not in colours and label != UNCERTAIN:
            start = zlib.crc32(label.encode(errors="replace")) % n  # so that it often agrees between label sets
            order = [palette[(start + i) % n] for palette in (OTHER_COLOURS, DARKER_COLOURS) for i in range(n)]
            colours[label] = next((colour for colour in order if colour not in colours.values()), order[0])
    return colours


def ink_on(colour: Colour) -> Colour:
    """Return black or white, whichever has more contrast (relative luminance of WCAG 2.1) on the colour."""
    linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return BLACK if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else WHITE
