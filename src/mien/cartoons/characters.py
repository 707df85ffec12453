"""Cartoon faces: named and random characters with expressions made of action units.

An expression is a set of action units (AU) of the Facial Action Coding System (Ekman & Friesen 1978; Ekman, Friesen &
Hager 2002, whose Investigator's Guide lists those of the emotions). A unit moves the same parts of every face, and the
character determines its looks, so a net can be trained on some characters and evaluated on others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mien.cartoons.faces import BLACK, HAIR, NOSES, Character, Moves, draw_face
from mien.cartoons.pen import Colour, Pose
from mien.drawing.text import draw_text, text_width
from mien.errors import ConfigError
from mien.files import atomic_folder, make_empty_folder, make_folder
from mien.labels import FER2013
from mien.pixels import encode
from mien.structures import ImageArray, Progress

UNITS: dict[str, dict[int, float]] = {  # action unit -> intensity, 1 is full
    "angry": {4: 1.0, 5: 0.4, 7: 0.8, 23: 1.0},
    "disgust": {9: 1.0, 15: 0.7, 16: 0.9},
    "fear": {1: 1.0, 2: 0.6, 4: 0.6, 5: 1.0, 20: 1.0, 25: 1.0},
    "happy": {6: 0.9, 12: 1.0, 25: 0.8},
    "sad": {1: 1.0, 4: 0.5, 15: 1.0},
    "surprise": {1: 0.9, 2: 1.0, 5: 0.9, 26: 1.0},
    "neutral": {},
}
MOVES: dict[int, Moves] = {  # per action unit at intensity 1
    1: Moves(inner=0.20, outer=-0.04),  # inner brow raiser
    2: Moves(inner=0.04, outer=0.17),  # outer brow raiser
    4: Moves(inner=-0.14, outer=-0.02, together=0.06, lid=-0.05),  # brow lowerer
    5: Moves(lid=0.30, lower_lid=-0.05),  # upper lid raiser
    6: Moves(lid=-0.06, lower_lid=0.46, cheek=1.0),  # cheek raiser
    7: Moves(lid=-0.28, lower_lid=0.22),  # lid tightener
    9: Moves(inner=-0.10, together=0.03, lid=-0.26, lower_lid=0.26, nose=1.0, upper_lip=0.06),  # nose wrinkler
    12: Moves(corner=0.24, width=0.12),  # lip corner puller
    15: Moves(corner=-0.19, width=-0.02),  # lip corner depressor
    16: Moves(lower_lip=0.12),  # lower lip depressor
    20: Moves(corner=-0.10, width=0.15, upper_lip=0.03, lower_lip=0.05),  # lip stretcher
    23: Moves(corner=-0.04, width=-0.08, tight=1.0),  # lip tightener
    25: Moves(upper_lip=0.04, lower_lip=0.10),  # lips part
    26: Moves(upper_lip=0.10, lower_lip=0.25, width=-0.11, jaw=0.15),  # jaw drop
}
CLOSED_SMILES = 0.3  # share of smiles with closed lips: AU 25 accompanies many happy faces, not all
EXPRESSION_NAMES = {"angry": "anger", "happy": "joy", "sad": "sadness"}  # where FERG-DB names them otherwise
CELL, GAP, MARGIN, LETTER = 112, 4, 16, 10  # of a sheet, in pixels; LETTER is the height of capital letters
SIZES = (16, 1024)  # side in pixels; smaller faces have no features, larger ones exceed OpenCV's line widths
CHARACTERS: dict[str, Character] = {
    "ada": Character(
        skin=(156, 100, 68), hair=(46, 30, 34), iris=(70, 40, 24), shirt=(246, 190, 74), background=(120, 190, 186),
        lips=(158, 56, 64), hair_style="afro", features=frozenset({"earrings", "lashes"}),
        head=(0.74, 0.78, 0.65, 0.38), eye=(0.22, 0.22), brow=(0.19, 0.065),
    ),
    "bruno": Character(
        skin=(240, 190, 156), hair=(150, 80, 40), iris=(70, 110, 80), shirt=(206, 74, 66), background=(236, 188, 140),
        lips=(226, 132, 116), features=frozenset({"beanie", "beard"}), nose="round", head=(0.78, 0.84, 0.76, 0.46),
        eye=(0.19, 0.20), eye_offset=0.36, brow=(0.22, 0.11), line=0.04, ink=0.55,
    ),
    "chloe": Character(
        skin=(252, 224, 202), hair=(210, 88, 46), iris=(62, 140, 110), shirt=(92, 150, 110), background=(170, 204, 228),
        lips=(214, 98, 96), hair_style="long", features=frozenset({"freckles", "lashes"}),
        head=(0.73, 0.77, 0.62, 0.34), eye=(0.23, 0.24), brow=(0.19, 0.06), mouth=0.24, line=0.026, ink=0.4,
    ),
    "dax": Character(
        skin=(140, 200, 108), hair=(60, 96, 60), iris=(150, 60, 140), shirt=(240, 150, 80), background=(92, 100, 156),
        hair_style="bald", features=frozenset({"antennae", "pointed"}), nose="slits", head=(0.86, 0.80, 0.58, 0.32),
        eye=(0.26, 0.28), eye_offset=0.38, slant=0.3, brow=(0.21, 0.08), mouth=0.24, line=0.04, ink=0.6,
    ),
    "edda": Character(
        skin=(242, 208, 188), hair=(210, 210, 218), iris=(84, 116, 150), shirt=(150, 92, 132),
        background=(232, 196, 208), lips=(190, 92, 100), hair_style="bun",
        features=frozenset({"earrings", "glasses", "old"}), nose="long", head=(0.72, 0.76, 0.66, 0.40),
        eye=(0.19, 0.20), brow=(0.18, 0.065), mouth=0.24, line=0.026,
    ),
    "finn": Character(
        skin=(252, 214, 176), hair=(246, 204, 92), iris=(66, 130, 190), shirt=(222, 88, 80), background=(160, 216, 190),
        hair_style="spiky", head=(0.76, 0.84, 0.74, 0.42), eye=(0.22, 0.23), brow=(0.18, 0.08), mouth=0.28, ear=0.25,
    ),
    "gus": Character(
        skin=(124, 80, 58), hair=(72, 68, 74), iris=(54, 34, 24), shirt=(236, 236, 228), background=(226, 160, 118),
        hair_style="sides", features=frozenset({"moustache"}), nose="long", head=(0.70, 0.76, 0.70, 0.44),
        eye=(0.20, 0.20), brow=(0.22, 0.1), mouth=0.28, ear=0.22,
    ),
    "hana": Character(
        skin=(250, 222, 188), hair=(48, 44, 66), iris=(60, 40, 34), shirt=(80, 120, 190), background=(246, 190, 186),
        lips=(216, 90, 100), hair_style="bob", nose="bridge", eye=(0.22, 0.19), slant=0.2, brow=(0.18, 0.06),
        mouth=0.24, line=0.03,
    ),
    "momo": Character(
        skin=(128, 150, 222), hair=(236, 110, 150), iris=(216, 140, 40), shirt=(250, 240, 220),
        background=(146, 104, 172), hair_style="tuft", features=frozenset({"eerie", "horns"}), nose="round",
        head=(0.78, 0.88, 0.84, 0.54), eye=(0.23, 0.25), eye_offset=0.34, brow=(0.22, 0.1), mouth=0.34, line=0.045,
        ink=0.65,
    ),
}  # fmt: skip
# Colours of random characters.
_SKINS = ((252, 224, 202), (244, 206, 172), (228, 180, 140), (196, 142, 104), (156, 102, 72), (124, 82, 60))
_FANTASY_SKINS = ((140, 200, 108), (128, 150, 222), (190, 156, 220), (240, 152, 140), (116, 200, 190), (246, 214, 120))
_HAIRS = ((46, 30, 34), (92, 58, 42), (150, 80, 40), (210, 88, 46), (246, 204, 92), (206, 206, 214), (236, 110, 150))
_IRISES = ((60, 40, 30), (100, 66, 40), (66, 130, 190), (62, 140, 110), (120, 130, 140))
_CLOTHES = (
    (222, 88, 80),
    (246, 190, 74),
    (92, 150, 110),
    (80, 120, 190),
    (150, 92, 132),
    (236, 236, 228),
    (70, 90, 110),
)
_BACKGROUNDS = ((120, 190, 186), (236, 188, 140), (170, 204, 228), (160, 216, 190), (246, 190, 186), (206, 186, 226))


class Cartoon(NamedTuple):
    """A drawn face.

    Args:
        image: RGB uint8 (size, size, 3).
        label: Of FER2013.
        character: Name of the character.
    """

    image: ImageArray
    label: str
    character: str


def draw_cartoons(
    n: int, *, seed: int = 0, size: int = 100, characters: Sequence[str] = tuple(CHARACTERS)
) -> Iterator[Cartoon]:
    """Draw faces, cycling through the labels and, after each cycle, through the characters.

    Image i depends on seed, i, size and characters alone, and differs between sizes in resolution only. Intensity,
    asymmetry and slight extra action units vary, and so do pose, gaze, framing and light.

    Args:
        n: Number of images, at least 1.
        seed: Of the variation, and of the looks of extras.
        size: Side in pixels, 16 to 1024.
        characters: Names in `CHARACTERS`, or "extra1", "extra2" and so on for random characters.

    Raises:
        ConfigError: A number is out of range, or a character is unknown.
    """
    if n < 1:
        raise ConfigError(f"cannot draw {n} images; expected 1 or more")
    if not SIZES[0] <= size <= SIZES[1]:
        raise ConfigError(f"size is {size}; expected {SIZES[0]} to {SIZES[1]} pixels")
    looks = {name: find_character(name, seed=seed) for name in characters}
    if not looks:
        raise ConfigError(f"no character to draw; choose from {', '.join(CHARACTERS)}, extra1, extra2, …")
    return (_draw_cartoon(i, looks, seed=seed, size=size) for i in range(n))


def write_cartoons(
    folder: str | Path,
    n: int,
    *,
    seed: int = 0,
    size: int = 100,
    characters: Sequence[str] = tuple(CHARACTERS),
    progress: Progress | None = None,
) -> None:
    """Draw faces into a folder in the layout of FERG-DB: image 3 may be `ada/ada_joy/ada_joy_3.png`.

    Args:
        folder: A new or an empty one.
        n: Number of images, at least 1.
        seed: As in `draw_cartoons`, like size and characters.
        size: Side in pixels.
        characters: Names of the characters.
        progress: Called with (done, all) after each image.

    Raises:
        ConfigError: An argument is out of range.
        OutputError: The folder holds files already, or cannot be written to.
    """
    cartoons = draw_cartoons(n, seed=seed, size=size, characters=characters)
    with atomic_folder(make_empty_folder(folder)) as temporary:
        for i, (image, label, name) in enumerate(cartoons):
            expression = f"{name}_{EXPRESSION_NAMES.get(label, label)}"
            place = make_folder(temporary / name / expression)
            (place / f"{expression}_{i}.png").write_bytes(encode(place, ".png", image))
            if progress is not None:
                progress(i + 1, n)


def cartoon_sheet(*, seed: int = 0, characters: Sequence[str] = tuple(CHARACTERS)) -> ImageArray:
    """Draw a sheet of the first images of `draw_cartoons`, one row per character and one column per expression.

    Args:
        seed: As in `draw_cartoons`.
        characters: Names of the characters.

    Returns:
        RGB uint8 (H, W, 3).

    Raises:
        ConfigError: An argument is out of range.
    """
    names, columns, pitch = list(dict.fromkeys(characters)), len(FER2013), CELL + GAP
    cartoons = draw_cartoons(columns * max(len(names), 1), seed=seed, size=CELL, characters=names)
    left, top = 2 * MARGIN + max(text_width(name, LETTER) for name in names), 2 * MARGIN + LETTER
    sheet = np.full((top + pitch * len(names) - GAP + MARGIN, left + pitch * columns - GAP + MARGIN, 3), 255, np.uint8)
    for i, (image, label, name) in enumerate(cartoons):
        x, y = left + pitch * (i % columns), top + pitch * (i // columns)
        sheet[y : y + CELL, x : x + CELL] = image
        if y == top:
            middle = x + (CELL - text_width(label, LETTER)) // 2
            draw_text(sheet, label, LETTER, x=middle, base=y - MARGIN // 2, ink=BLACK)
        if x == left:
            draw_text(sheet, name, LETTER, x=MARGIN, base=y + (CELL + LETTER) // 2, ink=BLACK)
    return sheet


def find_character(name: str, *, seed: int = 0) -> Character:
    """Return a character by name: one of `CHARACTERS`, or an extra, whose looks depend on the seed.

    Raises:
        ConfigError: The name is unknown, or the seed negative.
    """
    extra = re.fullmatch(r"extra([1-9][0-9]{0,8})", name)  # no leading zeros, so each face has one name
    if name not in CHARACTERS and extra is None:
        raise ConfigError(f"unknown character '{name}'; choose from {', '.join(CHARACTERS)}, extra1, extra2, …")
    if seed < 0:
        raise ConfigError(f"seed is {seed}; expected 0 or more")
    return CHARACTERS[name] if extra is None else _random_character(np.random.default_rng([seed, int(extra[1]), 1]))


def moves_of(units: Mapping[int, float]) -> Moves:
    """Return the combined moves of action units, given with their intensities; the units are those of `MOVES`."""
    total = np.zeros(len(Moves._fields))
    for unit, intensity in units.items():
        total += intensity * np.array(MOVES[unit])
    return Moves(*total.tolist())


def _draw_cartoon(i: int, looks: Mapping[str, Character], *, seed: int, size: int) -> Cartoon:
    rng = np.random.default_rng([seed, i])
    label = FER2013.labels[i % len(FER2013)]
    name = list(looks)[i // len(FER2013) % len(looks)]
    units = _vary_units(UNITS[label], rng)
    left, right = ({unit: value * rng.uniform(0.85, 1.15) for unit, value in units.items()} for _ in range(2))
    image = draw_face(looks[name], moves_of(left), moves_of(right), pose=_pose(rng), size=size)
    return Cartoon(image, label, name)


def _vary_units(units: Mapping[int, float], rng: np.random.Generator) -> dict[int, float]:
    """Vary the intensities of an expression's units, and add slight movements of two others."""
    intensity = rng.uniform(0.7, 1.1)
    varied = {unit: intensity * value * rng.uniform(0.8, 1.2) for unit, value in units.items()}
    if 12 in varied and rng.random() < CLOSED_SMILES:
        varied.pop(25, None)
    for unit in rng.choice(list(MOVES), 2, replace=False).tolist():
        varied.setdefault(unit, rng.uniform(0, 0.12))
    return varied


def _pose(rng: np.random.Generator) -> Pose:
    turn, nod, tilt = rng.normal(0, (0.16, 0.06, 0.09)).clip(-0.4, 0.4).tolist()
    x, y = rng.uniform(-0.025, 0.025, 2).tolist()
    gaze_x, gaze_y = rng.normal(0, 0.3, 2).clip(-1, 1).tolist()
    red, green, blue = (rng.uniform(0.92, 1.03) * rng.uniform(0.98, 1.02, 3)).tolist()
    return Pose(
        turn, nod, tilt, rng.uniform(0.32, 0.37), 0.5 + x, 0.53 + y, gaze=(gaze_x, gaze_y),
        light=rng.choice((-1.0, 1.0)), glow=(red, green, blue), slope=rng.uniform(-0.07, 0.07),
    )  # fmt: skip


def _random_character(rng: np.random.Generator) -> Character:
    """Draw the looks of a character at random."""

    def pick(colours: Sequence[Colour]) -> Colour:
        colour = colours[int(rng.integers(len(colours)))]
        red, green, blue = (np.array(colour) + rng.integers(-6, 7, 3)).clip(0, 255).tolist()
        return red, green, blue

    fantasy, painted, capped = (bool(rng.random() < p) for p in (0.25, 0.5, 0.12))
    skin = pick(_FANTASY_SKINS if fantasy else _SKINS)
    features = _random_features(rng, fantasy=fantasy, painted=painted) | ({"beanie"} if capped else set())
    red, green, blue = (round(0.6 * a + 0.4 * b) for a, b in zip(skin, (200, 30, 60), strict=True))
    has_lips = painted or "beard" in features  # a mere line would be lost in a beard
    cheeks, eye = rng.uniform(0.74, 0.88), rng.uniform(0.19, 0.25)
    return Character(
        skin=skin,
        hair=pick(_HAIRS),
        iris=pick(_IRISES),
        shirt=pick(_CLOTHES),
        background=pick(_BACKGROUNDS),
        lips=(red, green, blue) if has_lips else None,
        hair_style="short" if capped else str(rng.choice(list(HAIR))),
        nose=str(rng.choice(NOSES)),
        features=frozenset(features),
        head=(cheeks * rng.uniform(0.9, 1), cheeks, cheeks * rng.uniform(0.75, 0.95), rng.uniform(0.34, 0.52)),
        eye=(eye, eye * rng.uniform(0.88, 1.08)),
        eye_offset=rng.uniform(0.33, 0.37),
        slant=rng.uniform(-0.1, 0.25),
        brow=(rng.uniform(0.17, 0.22), rng.uniform(0.055, 0.11)),
        mouth=rng.uniform(0.23, 0.31),
        ear=rng.uniform(0.17, 0.25),
        line=rng.uniform(0.02, 0.045),
        ink=rng.uniform(0.35, 0.7),
    )


def _random_features(rng: np.random.Generator, *, fantasy: bool, painted: bool) -> set[str]:
    probabilities = {
        "antennae": 0.3 * fantasy, "horns": 0.3 * fantasy, "pointed": 0.4 * fantasy, "eerie": 0.3 * fantasy,
        "lashes": 0.8 * painted, "earrings": 0.4 * painted, "beard": 0.2 * (not painted),
        "moustache": 0.2 * (not painted), "glasses": 0.25, "freckles": 0.2, "old": 0.15,
    }  # fmt: skip
    return {feature for feature, probability in probabilities.items() if rng.random() < probability}
