"""Colours: one per expression, told apart with any colour vision."""

from __future__ import annotations

import zlib

Colour = tuple[int, int, int]  # RGB
# The palette of Okabe and Ito 2008 (jfly.uni-koeln.de/color), told apart with any colour vision; its black, which
# photographs hide, is replaced by a light grey.
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
UNCERTAIN_COLOUR = (105, 105, 105)  # a dark grey; the light one is neutral's
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def colour_of(label: str) -> Colour:
    """Return the RGB colour of an expression, always the same; labels of other sets share the palette."""
    return COLOURS.get(label) or OTHER_COLOURS[zlib.crc32(label.encode()) % len(OTHER_COLOURS)]


def ink_on(colour: Colour) -> Colour:
    """Return black or white, whichever has more contrast (relative luminance of WCAG 2.1) on the colour."""
    linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return BLACK if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else WHITE
