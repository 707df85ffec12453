"""Drawn faces in motion: cartoons whose expressions come, stay and go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mien.cartoons.characters import CLOSED_SMILES, UNITS, find_character, moves_of
from mien.cartoons.faces import Moves, draw_face
from mien.cartoons.pen import Pose
from mien.data.sequences import RATES, SECONDS, FaceSequence, Times, filmed, holds, times_of, wander
from mien.labels import FER2013

SIDE = 48  # pixels, of a drawn crop
BLINK = np.array(Moves(lid=-0.66, lower_lid=0.1))


def drawn_sequences(
    n: int, *, seed: int = 0, characters: Sequence[str], rate: float | None = None
) -> Iterator[FaceSequence]:
    """Yield cartoons, framed like FER2013, whose expressions come, stay and go; labels are those of FER2013.

    One expression passes into the next within 0.2 to 0.8 seconds, half of the time into neutral; a frame's label is
    the one that it has more than half of. Besides, the head moves, the eyes blink and wander, and the mouth talks now
    and then. Sequence i depends on seed, i and characters alone.

    Args:
        n: How many.
        seed: Another seed draws others.
        characters: Names as `data.cartoons` takes them; they take turns.
        rate: Frames per second; when None, each sequence has one of `RATES`.

    Raises:
        ConfigError: A character is unknown.
    """
    people = [find_character(name, seed=seed) for name in characters]
    for i in range(n):
        rng = np.random.default_rng([seed, i, 2])
        times = times_of(rate or rng.choice(RATES))
        hold, share = holds(times, rng, stay=(0.4, 2.5), change=(0.2, 0.8))
        labels = _labels(hold[-1] + 2, rng)
        apexes = [_apex(label, rng) for label in labels]
        blink, talk = _blinks(times, rng), _talk(times, rng)
        turn, nod, tilt = (wander(times, rng, deviation) for deviation in (0.14, 0.06, 0.07))
        gaze_x, gaze_y, slope = (wander(times, rng, deviation) for deviation in (0.25, 0.2, 0.03))
        light = rng.choice((-1.0, 1.0))
        images = []
        for k in range(len(times)):
            left, right = (
                (1 - share[k]) * apexes[hold[k]][side] + share[k] * apexes[hold[k] + 1][side] + blink[k] + talk[k]
                for side in (0, 1)
            )
            # Eyes and mouth come to lie about where they do in FER2013's frames.
            pose = Pose(turn[k], nod[k], tilt[k], 0.5, 0.5, 0.45, (gaze_x[k], gaze_y[k]), light, slope=slope[k])
            images.append(draw_face(people[i % len(people)], Moves(*left), Moves(*right), pose=pose, size=SIDE))
        targets = np.array([FER2013.index(label) for label in labels])[hold + (share > 0.5)]
        yield FaceSequence(filmed(images, times, rng), times, targets)


def _labels(n: int, rng: np.random.Generator) -> list[str]:
    """Return labels of which no two that follow one another are the same, neutral after half of the others."""
    labels = ["neutral"]
    others = [label for label in UNITS if label != "neutral"]
    while len(labels) < n:
        back = labels[-1] != "neutral" and rng.random() < 0.5
        labels.append("neutral" if back else str(rng.choice([label for label in others if label != labels[-1]])))
    return labels


def _apex(label: str, rng: np.random.Generator) -> list[Times]:
    """Return the moves of an expression at its strongest, in the left and right half of the picture."""
    strength = rng.uniform(0.6, 1.1)
    units = {unit: strength * value * rng.uniform(0.8, 1.2) for unit, value in UNITS[label].items()}
    if rng.random() < CLOSED_SMILES and 12 in units:
        del units[25]
    return [
        np.array(moves_of({unit: value * rng.uniform(0.85, 1.15) for unit, value in units.items()})) for _ in range(2)
    ]


def _blinks(times: Times, rng: np.random.Generator) -> Times:
    """Return what blinks of 0.2 seconds, every 2 to 6, move: (t, moves)."""
    middles = np.cumsum(rng.uniform(2, 6, 8)) - 2
    closed = (1 - np.abs(times[:, None] - middles) / 0.1).clip(0, 1).max(1)
    return np.outer(closed, BLINK)


def _talk(times: Times, rng: np.random.Generator) -> Times:
    """Return what a mouth that talks for a while, in half of the sequences, moves: (t, moves)."""
    begin, syllables = rng.uniform(0, SECONDS / 2), rng.uniform(3, 6)  # in seconds, and a second
    talks = (rng.random() < 0.5) & (times > begin) & (times < begin + rng.uniform(1, 4))
    opening = np.sin(np.pi * syllables * times + wander(times, rng, 1.0)) ** 2 * rng.uniform(0.2, 0.6)
    return np.outer(talks * opening, moves_of({25: 0.6, 26: 0.6}))
