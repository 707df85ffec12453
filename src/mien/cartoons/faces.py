"""Cartoon faces: the looks of a character, and a face whose parts are moved by muscles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mien.cartoons.pen import (  # fmt: skip
    SHADOW,
    Colour,
    Corners,
    Line,
    Pen,
    Points,
    Pose,
    clip_between,
    curls,
    curve,
    ellipse,
    mix,
    outline_between,
    symmetric,
)
from mien.structures import ImageArray

BLACK, WHITE, GOLD = (36, 24, 34), (252, 250, 246), (246, 200, 76)
_THROAT, _TONGUE, _BLUSH = (96, 26, 38), (226, 104, 108), (232, 84, 78)
_EYE_Y, _NOSE_Y, _MOUTH_Y = -0.08, 0.17, 0.50
NOSES = ("button", "round", "long", "bridge", "slits")


class Moves(NamedTuple):
    """Displacements from the neutral face, in half heights of the head, of the lids in heights of the eye.

    Args:
        inner: Rise of the inner ends of the brows.
        outer: Rise of the outer ends of the brows.
        together: Movement of the brows towards each other.
        lid: Rise of the upper lids.
        lower_lid: Rise of the lower lids.
        cheek: Raising of the cheeks, 0 to 1.
        nose: Wrinkling of the nose, 0 to 1.
        corner: Rise of the corners of the mouth.
        width: Increase of the half width of the mouth.
        upper_lip: Rise of the middle of the upper lip.
        lower_lip: Fall of the middle of the lower lip.
        tight: Tightening of the lips, 0 to 1.
        jaw: Fall of the chin.
    """

    inner: float = 0.0
    outer: float = 0.0
    together: float = 0.0
    lid: float = 0.0
    lower_lid: float = 0.0
    cheek: float = 0.0
    nose: float = 0.0
    corner: float = 0.0
    width: float = 0.0
    upper_lip: float = 0.0
    lower_lip: float = 0.0
    tight: float = 0.0
    jaw: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """Looks of a character; lengths are in half heights of the head.

    Args:
        skin: RGB, as all colours.
        hair: Colour of hair, brows and beard.
        iris: Colour of the eyes.
        shirt: Colour of the clothes.
        background: Colour of the background.
        lips: Colour of the lips; None draws the mouth as a line.
        hair_style: Name in `HAIR`.
        nose: Name in `NOSES`.
        features: Any of antennae, beanie, beard, earrings, eerie (yellow eyes), freckles, glasses, horns, lashes,
            moustache, old (wrinkles), pointed (ears).
        head: Half widths of forehead, cheeks, jaw, chin.
        eye: Half width, and half height when wide open.
        eye_offset: Distance of an eye's centre from the middle of the face.
        slant: Rise of the outer corners of the eyes, in half heights of the eye.
        brow: Half length, thickness.
        mouth: Half width.
        ear: Size.
        line: Thickness of the outlines.
        ink: Darkness of the outlines, 0 to 1.
    """

    skin: Colour
    hair: Colour
    iris: Colour
    shirt: Colour
    background: Colour
    lips: Colour | None = None
    hair_style: str = "short"
    nose: str = "button"
    features: frozenset[str] = frozenset()
    head: tuple[float, float, float, float] = (0.74, 0.79, 0.66, 0.38)
    eye: tuple[float, float] = (0.21, 0.21)
    eye_offset: float = 0.35
    slant: float = 0.0
    brow: tuple[float, float] = (0.20, 0.07)
    mouth: float = 0.26
    ear: float = 0.20
    line: float = 0.035
    ink: float = 0.5

    @property
    def shade(self) -> Colour:
        """Colour of the skin in the shade."""
        red, green, blue = self.skin
        return mix(self.skin, (round(0.55 * red), round(0.35 * green), round(0.38 * blue)), 0.42)

    @property
    def wrinkle(self) -> Colour:
        """Colour of lines on the skin."""
        return mix(self.skin, SHADOW, 0.62)


def draw_face(who: Character, left: Moves, right: Moves, *, pose: Pose, size: int) -> ImageArray:
    """Draw a face with neck and shoulders.

    Args:
        who: Looks of the character.
        left: Moves of the left half of the image.
        right: Moves of the right half.
        pose: Pose, framing and light.
        size: Side in pixels.

    Returns:
        RGB uint8 (size, size, 3).
    """
    pen = Pen(size, pose, background=who.background, line=who.line, darkness=who.ink)
    both = Moves(*np.mean([left, right], axis=0).tolist())
    hair, width_scale = HAIR[who.hair_style], np.array((who.head[1] / 0.79, 1.0))
    _draw_background(pen, who, hair.back * width_scale)
    _draw_head(pen, who, both)
    _draw_folds(pen, who, both)
    _draw_mouth(pen, who, both, asymmetry=right.corner - left.corner)
    _draw_nose(pen, who, both)
    for side, moves in ((-1, left), (1, right)):
        _draw_eye(pen, who, moves, side=side)
    if "glasses" in who.features:
        _draw_glasses(pen, who)
    pen.fill(hair.front * width_scale, who.hair, outlined=1)
    pen.line(hair.highlight * width_scale, mix(who.hair, WHITE, 0.3), 0.05)
    for side, moves in ((-1, left), (1, right)):
        _draw_brow(pen, who, moves, side=side)
    _draw_headwear(pen, who, width_scale)
    return pen.render()


def _draw_background(pen: Pen, who: Character, hair: Points) -> None:
    """Draw a disc behind the head, the hair at the back, shoulders, neck and ears."""
    pen.fill(ellipse(0, -0.08, 1.30, 1.30, n=48), mix(who.background, WHITE, 0.45), fixed=True)
    pen.fill(hair, mix(who.hair, BLACK, 0.12), outlined=1)
    shoulders = [(-1.7, 2.4), (-1.25, 1.42), (-0.5, 1.2), (0.5, 1.2), (1.25, 1.42), (1.7, 2.4)]
    neck = [(-0.34, 0.6), (-0.32, 1.1), (-0.42, 1.24), (0, 1.46), (0.42, 1.24), (0.32, 1.1), (0.34, 0.6)]
    pen.fill(curve(shoulders), who.shirt, outlined=1, fixed=True)
    pen.fill(curve(neck), who.shade, outlined=1, fixed=True)
    ear = ellipse(who.head[1] + 0.02, 0.02, 0.8 * who.ear, 1.15 * who.ear)
    if "pointed" in who.features:
        ear = curve([(0.70, -0.02), (0.95, -0.22), (1.28, -0.42), (1.12, -0.02), (0.92, 0.22), (0.70, 0.26)])
    pen.fill(ear, who.skin, outlined=1, both_sides=True)
    pen.fill((ear + ear.mean(axis=0)) / 2, who.shade, both_sides=True)
    if "earrings" in who.features:
        pen.fill(ellipse(who.head[1] + 0.05, 0.02 + 1.45 * who.ear, 0.06, 0.06), GOLD, outlined=1, both_sides=True)


def _draw_head(pen: Pen, who: Character, moves: Moves) -> None:
    """Draw the skin, lit from one side, with cheeks, freckles and beard."""
    forehead, cheeks, jaw, chin = who.head
    drop, cheek = moves.jaw, 0.02 * moves.cheek
    skull = [(0, -1.0), (0.66 * forehead, -0.9), (forehead, -0.52), (cheeks, 0.05)]
    outline = symmetric([*skull, (jaw, 0.58 + drop / 2), (chin, 0.91 + drop), (0, 1.0 + drop)])
    pen.fill(outline, who.shade, outlined=1)
    pen.fill(outline * (0.93, 0.94) + (0.035 * pen.pose.light, -0.03), who.skin)
    pen.fill(ellipse(0.5, 0.3 - 2.5 * cheek, 0.15 + cheek, 0.1 + cheek), mix(who.skin, _BLUSH, 0.22), both_sides=True)
    if "freckles" in who.features:
        for x, y in ((0.38, 0.24), (0.5, 0.29), (0.60, 0.22), (0.47, 0.18)):
            pen.fill(ellipse(x, y, 0.018, 0.018, n=8), mix(who.skin, (150, 60, 20), 0.6), both_sides=True)
    if "beard" in who.features:
        upper = [(0, 0.36), (0.22, 0.33), (0.5, 0.40), (0.85 * cheeks, 0.1), (cheeks, -0.12)]
        lower = [(1.05 * cheeks, 0.1), (1.1 * jaw, 0.62 + drop / 2), (1.15 * chin, 0.98 + drop), (0, 1.12 + drop)]
        pen.fill(symmetric(upper + lower), who.hair, outlined=1)


def _draw_folds(pen: Pen, who: Character, moves: Moves) -> None:
    """Draw the wrinkles of forehead, brow, cheeks and chin that the moves cause."""
    dark, faint = who.wrinkle, mix(who.skin, who.wrinkle, 0.55)
    eye_offset, mouth, smile = who.eye_offset, who.mouth + moves.width, _MOUTH_Y - 0.55 * moves.corner
    folds: list[tuple[bool, Corners, Colour]] = [
        (moves.inner + moves.outer > 0.16, [(0, -0.67), (0.26, -0.645)], faint),
        (moves.inner + moves.outer > 0.16, [(0, -0.57), (0.26, -0.545)], faint),
        (moves.together > 0.02 > moves.inner, [(0.055, -0.4), (0.045, -0.3), (0.06, -0.2)], dark),
        (moves.nose > 0.3, [(0.17, 0.16), (0.7 * mouth + 0.09, 0.25), (mouth + 0.08, 0.42)], faint),
        (moves.cheek > 0.4, [(eye_offset - 0.17, 0.09), (eye_offset, 0.135), (eye_offset + 0.2, 0.07)], faint),
        (moves.corner > 0.1, [(mouth - 0.01, smile - 0.08), (mouth + 0.06, smile), (mouth + 0.03, smile + 0.07)], dark),
        (
            moves.corner < -0.1 and "beard" not in who.features,
            [(mouth + 0.05, 0.6), (mouth + 0.08, 0.68), (mouth + 0.06, 0.76)],
            faint,
        ),
        ("old" in who.features, [(eye_offset - 0.15, 0.13), (eye_offset, 0.18), (eye_offset + 0.15, 0.13)], faint),
        ("old" in who.features, [(0.16, 0.24), (0.27, 0.32), (0.33, 0.42)], faint),
    ]
    for visible, fold, colour in folds:
        if visible:
            pen.line(curve(fold), colour, 0.027, both_sides=True)


def _draw_mouth(pen: Pen, who: Character, moves: Moves, *, asymmetry: float) -> None:
    """Draw the mouth and a moustache; asymmetry is the height of the right corner above the left one."""
    along = np.linspace(-1, 1, 25)
    bow = 1 - along**2  # 1 in the middle of the lips, 0 at the corners
    blunt = np.sqrt(bow)
    half = max(who.mouth + moves.width, 0.12)
    x, y = half * along, _MOUTH_Y + 0.25 * moves.jaw - 0.03 * moves.nose
    corner = moves.corner + asymmetry * along / 2
    upper = y + corner * (0.75 * bow - 0.55) - max(moves.upper_lip, 0) * blunt
    lower = y + corner * (1.05 * bow - 0.55) + max(moves.lower_lip, 0) * (0.6 * blunt + 0.4 * bow)
    lower = np.maximum(lower, upper)
    _draw_lips(pen, who, moves, x, upper, lower)
    if moves.tight > 0.4:
        dent = curve([(half + 0.04, y - 0.03), (half + 0.065, y + 0.03), (half + 0.05, y + 0.08)])
        pen.line(dent, who.wrinkle, 0.028, both_sides=True)
    chin, below = float(lower.max()) + 0.13, who.hair if "beard" in who.features else who.skin
    pen.line(curve([(-0.1, chin), (0, chin + 0.02), (0.1, chin)]), mix(below, who.wrinkle, 0.35), 0.028)
    if who.features & {"beard", "moustache"}:
        _draw_moustache(pen, who, moves)


def _draw_lips(pen: Pen, who: Character, moves: Moves, x: Line, upper: Line, lower: Line) -> None:
    """Draw the lips around the opening between two lines, and the inside of an open mouth."""
    rim, thickness = mix(who.wrinkle, BLACK, 0.4), 0.036
    if who.lips:
        rim, thickness, full = mix(who.lips, BLACK, 0.5), 0.024, 1 - 0.6 * moves.tight
        along = np.linspace(-1, 1, len(x))
        blunt = np.sqrt(1 - along**2)
        cupid = blunt * (1 - 0.25 * np.exp(-((along / 0.18) ** 2)))  # Cupid's bow: a dent in the upper lip
        lips = outline_between(x, upper - 0.055 * full * cupid, lower + 0.07 * full * blunt)
        pen.fill(lips, who.lips, outlined=0.6)
    if (lower - upper).max() > 0.05:
        _draw_teeth(pen, moves, x, upper, lower)
        pen.line(outline_between(x, upper, lower), rim, thickness, closed=True)
    else:
        pen.line(np.stack([x, (upper + lower) / 2], axis=1), rim, 1.3 * thickness)


def _draw_moustache(pen: Pen, who: Character, moves: Moves) -> None:
    up, tip = max(moves.upper_lip, 0.0), -0.6 * moves.corner
    lobe = [(0, 0.3 - up / 2), (0.14, 0.28 - up / 2), (0.3, 0.36 + tip), (0.4, 0.46 + tip)]
    lobe += [(0.26, 0.41 + tip / 2 - up), (0.1, 0.4 - up), (0, 0.37 - 0.7 * up)]
    pen.fill(curve(lobe, closed=True), mix(who.hair, BLACK, 0.1), outlined=0.6, both_sides=True)


def _draw_teeth(pen: Pen, moves: Moves, x: Line, upper: Line, lower: Line) -> None:
    """Draw the inside of an open mouth: clenched teeth if the lips are stretched, else upper teeth and tongue."""
    pen.fill(outline_between(x, upper, lower), _THROAT)
    gapes, clenched, smiles = moves.jaw > 0.05, moves.width > 0.08 and moves.corner < 0, moves.corner > 0.05
    edge = (1 - (x / x[-1]) ** 2) ** 0.25  # shorter teeth towards the corners
    if gapes or smiles:
        tongue = ellipse(0, float(lower.max()) + 0.02, 0.62 * float(x[-1]), 0.13)
        pen.fill(clip_between(tongue, x, upper, lower), _TONGUE)
    height = 1.0 if clenched else 0.035 if gapes else 0.075
    pen.fill(outline_between(x, upper, np.minimum(upper + height * edge, lower)), WHITE)
    if clenched:
        pen.line(np.stack([x, (upper + lower) / 2], axis=1)[2:-2], _THROAT, 0.022)
        for i in (5, 9, 12, 15, 19):
            pen.line(np.array([(x[i], upper[i]), (x[i], lower[i])]), mix(_THROAT, WHITE, 0.45), 0.014)
    elif moves.lower_lip > 0.06 and not gapes and not smiles:
        pen.fill(outline_between(x, np.maximum(lower - 0.06 * edge, upper + 0.03), lower), WHITE)


def _draw_nose(pen: Pen, who: Character, moves: Moves) -> None:
    ink, y = who.wrinkle, _NOSE_Y - 0.05 * moves.nose
    if who.nose == "button":
        below = curve([(-0.1, y), (-0.07, y + 0.075), (0, y + 0.095), (0.07, y + 0.075), (0.1, y)])
        pen.fill(ellipse(0, y + 0.02, 0.1, 0.075), mix(who.skin, who.shade, 0.6), lift=0.15)
        pen.line(below, ink, 0.035, lift=0.15)
    elif who.nose == "round":
        pen.fill(ellipse(0, y - 0.01, 0.18, 0.15), mix(who.skin, _BLUSH, 0.22), outlined=1, lift=0.25)
        pen.fill(ellipse(-0.06, y - 0.06, 0.045, 0.035), mix(who.skin, WHITE, 0.5), lift=0.25)
    elif who.nose == "long":
        nose = symmetric([(0, y - 0.28), (0.05, y - 0.12), (0.13, y + 0.03), (0.12, y + 0.12), (0, y + 0.15)])
        pen.fill(nose, mix(who.skin, who.shade, 0.45), lift=0.25)
        pen.line(nose[12:-8], ink, 0.035, lift=0.25)  # without the upper ends of the bridge
    elif who.nose == "bridge":
        side = 1 if pen.pose.turn >= 0 else -1
        profile = [(0.02, y - 0.22), (0.09, y - 0.02), (0.12, y + 0.08), (0.03, y + 0.11), (-0.06, y + 0.09)]
        pen.line(curve(profile) * (side, 1), ink, 0.035, lift=0.2)
    else:
        pen.fill(ellipse(0.05, y + 0.03, 0.022, 0.04, n=12), ink, both_sides=True, lift=0.1)
    if moves.nose > 0.3:
        for bridge in (-0.13, -0.03):
            pen.line(curve([(-0.075, bridge + 0.04), (0, bridge), (0.075, bridge + 0.04)]), ink, 0.03, lift=0.1)
        if who.nose != "round":
            wing = curve([(0.14, y + 0.09), (0.185, y + 0.03), (0.15, y - 0.03)])
            pen.line(wing, ink, 0.035, both_sides=True, lift=0.1)


def _draw_eye(pen: Pen, who: Character, moves: Moves, *, side: int) -> None:
    """Draw one eye; side is -1 on the left of the image, 1 on the right."""
    half, height = who.eye
    above = height * max(0.76 + moves.lid, 0.1)
    below = max(height * (0.68 - moves.lower_lid), 0.22 * height - above)
    along = np.linspace(-1, 1, 21)  # from the inner to the outer corner
    bow = (1 - along**2) ** 0.62
    x = who.eye_offset + half * along
    middle = _EYE_Y - height * who.slant * along
    lower = middle + below * bow
    lean = np.clip(1.6 * (moves.inner - moves.outer), -0.34, 0.34)  # the lid follows the brow
    upper = middle - above * bow + height * lean * along * np.sqrt(1 - along**2)
    upper = np.minimum(upper, lower - 0.02 * bow)
    socket = outline_between(x, middle - np.maximum(0.98 * height, above) * bow, lower)
    gaze_x, gaze_y = pen.pose.gaze
    centre = (who.eye_offset + 0.35 * half * gaze_x * side, _EYE_Y + 0.25 * height * gaze_y)
    radius = min(0.64 * height, 0.62 * half)

    def ball(dx: float, dy: float, share: float) -> Points:
        disc = ellipse(centre[0] + dx * radius * side, centre[1] + dy * radius, share * radius, share * radius, n=24)
        return clip_between(disc, x, upper, lower) * (side, 1)

    rim = mix(who.skin, who.wrinkle, 0.35)
    pen.fill(socket * (side, 1), mix(who.skin, who.shade, 0.8), outlined=0.6, outline=rim)
    pen.fill(outline_between(x, upper, lower) * (side, 1), (250, 244, 180) if "eerie" in who.features else WHITE)
    pen.fill(ball(0, 0, 1), who.iris, outlined=0.5)
    pen.fill(ball(0, 0, 0.55), BLACK)
    pen.fill(ball(-0.32, -0.38, 0.26), WHITE)
    pen.line(np.stack([x * side, lower], axis=1), mix(who.skin, who.wrinkle, 0.75), 0.022)
    pen.line(np.stack([x * side, upper], axis=1), mix(who.wrinkle, BLACK, 0.75), 0.055)
    if "lashes" in who.features:
        for i, dx, dy in ((-2, 0.09, -0.07), (-4, 0.05, -0.1)):
            pen.line(np.array([(x[i], upper[i]), (x[i] + dx, upper[i] + dy)]) * (side, 1), BLACK, 0.035)


def _draw_brow(pen: Pen, who: Character, moves: Moves, *, side: int) -> None:
    half, thickness = who.brow
    y = _EYE_Y - who.eye[1] - 0.12
    inner = (who.eye_offset - half - moves.together, y + 0.02 - moves.inner)
    middle = (who.eye_offset + 0.02 - moves.together / 2, y - 0.05 - 0.5 * moves.inner - 0.55 * moves.outer)
    outer = (who.eye_offset + 1.1 * half, y + 0.04 - moves.outer)
    x, spine = curve([inner, middle, outer]).T
    taper = np.interp(np.linspace(0, 1, len(x)), [0, 0.15, 0.6, 1], [0.7, 1, 0.85, 0.25]) * thickness / 2
    pen.fill(outline_between(x, spine - taper, spine + taper) * (side, 1), mix(who.hair, SHADOW, 0.5))


def _draw_glasses(pen: Pen, who: Character) -> None:
    frame = (60, 48, 60) if sum(who.skin) > 330 else GOLD
    bridge = curve([(0.28 - who.eye_offset, -0.1), (0, -0.15), (who.eye_offset - 0.28, -0.1)])
    pen.line(ellipse(who.eye_offset, _EYE_Y, 0.29, 0.27), frame, 0.045, closed=True, both_sides=True, lift=0.1)
    pen.line(np.array([(who.eye_offset + 0.28, -0.12), (who.head[1], -0.16)]), frame, 0.04, both_sides=True)
    pen.line(bridge, frame, 0.045, lift=0.1)


def _draw_headwear(pen: Pen, who: Character, width_scale: Points) -> None:
    """Draw beanie, antennae and horns."""
    if "beanie" in who.features:
        dome = [(0, -1.38), (0.5, -1.3), (0.84, -1.0), (0.93, -0.62), (0.5, -0.7), (0, -0.72)]
        band = [(0, -0.92), (0.5, -0.89), (0.9, -0.78), (0.98, -0.64), (0.92, -0.5), (0.5, -0.62), (0, -0.66)]
        pen.fill(symmetric(dome) * width_scale, who.shirt, outlined=1)
        pen.fill(symmetric(band) * width_scale, mix(who.shirt, WHITE, 0.7), outlined=1)
        pen.fill(ellipse(0, -1.42, 0.16, 0.16), mix(who.shirt, WHITE, 0.7), outlined=1)
    if "antennae" in who.features:
        pen.line(curve([(0.28, -0.92), (0.4, -1.2), (0.62, -1.36)]), mix(who.skin, BLACK, 0.35), 0.06, both_sides=True)
        pen.fill(ellipse(0.64, -1.38, 0.11, 0.11), GOLD, outlined=1, both_sides=True)
    if "horns" in who.features:
        horn = [(0.36, -0.94), (0.52, -1.22), (0.8, -1.42), (0.84, -1.05), (0.66, -0.76)]
        pen.fill(curve(horn), (250, 232, 196), outlined=1, both_sides=True)


class Hair(NamedTuple):
    """Outlines of the hair behind and in front of the head, and a highlight; empty ones are not drawn."""

    back: Points = np.empty((0, 2))
    front: Points = np.empty((0, 2))
    highlight: Points = curve([(-0.66, -0.84), (-0.5, -0.97), (-0.28, -1.05)])


def _afro() -> Hair:
    around, roots = curls(0, -0.32, 1.02, 0.9), [(0.8, -0.3), (0.66, -0.56), (0.35, -0.68), (0, -0.7)]
    roots += [(-x, y) for x, y in roots[-2::-1]]
    above = around[around[:, 1] < -0.35]
    return Hair(curls(0, -0.32, 1.12, 0.98), np.concatenate([above, curve(roots)]))


HAIR: dict[str, Hair] = {
    "bald": Hair(highlight=np.empty((0, 2))),
    "afro": _afro(),
    "bob": Hair(
        symmetric([(0, -1.2), (0.62, -1.1), (1.0, -0.6), (1.08, 0), (1.04, 0.55), (0.86, 0.78), (0.6, 0.7), (0, 0.6)]),
        symmetric([
            (0, -1.2), (0.55, -1.1), (0.92, -0.68), (1.0, -0.1), (0.98, 0.35), (0.84, 0.3), (0.78, -0.28),
            (0.70, -0.58), (0.35, -0.62), (0, -0.64),
        ]),
    ),
    "bun": Hair(
        symmetric([(0, -1.6), (0.3, -1.5), (0.38, -1.25), (0.2, -1.0), (0, -1.0)]),
        symmetric([
            (0, -1.15), (0.45, -1.09), (0.80, -0.82), (0.9, -0.42), (0.86, -0.02), (0.78, -0.1), (0.72, -0.48),
            (0.45, -0.74), (0, -0.84),
        ]),
    ),
    "long": Hair(
        symmetric([
            (0, -1.22), (0.62, -1.12), (1.0, -0.65), (1.06, 0), (1.08, 0.7), (1.16, 1.2), (1.05, 1.7), (0, 1.7),
        ]),
        symmetric([
            (0, -1.22), (0.5, -1.14), (0.9, -0.74), (1.0, -0.1), (1.02, 0.5), (0.9, 0.6), (0.82, 0.0), (0.76, -0.35),
            (0.5, -0.66), (0.12, -0.9), (0, -0.93),
        ]),
    ),
    "quiff": Hair(
        front=curve([
            (-0.88, -0.05), (-0.92, -0.5), (-0.85, -0.95), (-0.45, -1.32), (0.15, -1.42), (0.72, -1.32), (0.66, -1.14),
            (0.88, -0.75), (0.9, -0.4), (0.86, -0.06), (0.78, -0.1), (0.74, -0.5), (0.5, -0.74), (-0.1, -0.72),
            (-0.55, -0.64), (-0.74, -0.4), (-0.78, -0.1),
        ], closed=True),
        highlight=curve([(-0.6, -1.0), (-0.3, -1.16), (0.1, -1.22)]),
    ),
    "short": Hair(
        front=symmetric([
            (0, -1.19), (0.45, -1.12), (0.80, -0.84), (0.9, -0.42), (0.86, -0.06), (0.77, -0.1), (0.73, -0.42),
            (0.52, -0.66), (0.2, -0.66), (0, -0.7),
        ]),
    ),
    "sides": Hair(
        symmetric([(0, -0.5), (0.6, -0.66), (0.83, -0.5), (0.91, -0.2), (0.88, 0.12), (0.6, 0.3), (0, 0.3)]),
        highlight=np.empty((0, 2)),
    ),
    "spiky": Hair(
        front=np.array([
            (-0.9, -0.1), (-1.05, -0.5), (-0.9, -0.55), (-1.02, -0.95), (-0.72, -0.93), (-0.7, -1.32), (-0.38, -1.12),
            (-0.2, -1.5), (0.06, -1.16), (0.38, -1.45), (0.45, -1.08), (0.82, -1.2), (0.76, -0.86), (1.08, -0.8),
            (0.92, -0.5), (1.04, -0.38), (0.9, -0.08), (0.78, -0.12), (0.74, -0.48), (0.55, -0.66), (0.42, -0.54),
            (0.25, -0.7), (0.05, -0.56), (-0.15, -0.7), (-0.38, -0.54), (-0.5, -0.68), (-0.74, -0.44), (-0.78, -0.12),
        ]),
    ),
    "tuft": Hair(
        front=symmetric([(0, -1.55), (0.16, -1.4), (0.22, -1.15), (0.2, -0.8), (0.08, -0.72), (0, -0.7)]),
        highlight=np.empty((0, 2)),
    ),
}  # fmt: skip
