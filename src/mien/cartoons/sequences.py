"""Sequences of cartoons with changing expressions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mien.cartoons.characters import CLOSED_SMILES, UNITS, find_character, moves_of
from mien.cartoons.faces import Moves, draw_face
from mien.cartoons.pen import Pose
from mien.data.sequences import (
    RATES,
    SECONDS,
    FaceSequence,
    Times,
    hold_schedule,
    random_drift,
    sample_times,
    simulate_camera,
)
from mien.labels import FER2013

SIDE = 48  # of a crop, in pixels
BLINK = np.array(Moves(lid=-0.66, lower_lid=0.1))


def drawn_sequences(
    n: int, *, seed: int = 0, characters: Sequence[str], rate: float | None = None
) -> Iterator[FaceSequence]:
    """Yield sequences of cartoons with changing expressions, cropped like FER2013; labels are those of FER2013.

    One expression changes into the next within 0.2 to 0.8 seconds, half of the time into neutral; a frame has the label
    of the expression with the larger weight. The head moves, the eyes blink and wander; in half of the sequences the
    mouth talks for a while. Sequence i depends on seed, i and characters alone.

    Args:
        n: Number of sequences.
        seed: Of the draw.
        characters: Names as `draw_cartoons` takes them; they take turns.
        rate: Frames per second; None draws one of `RATES` per sequence.

    Raises:
        ConfigError: A character is unknown.
    """
    people = [find_character(name, seed=seed) for name in characters]
    for i in range(n):
        rng = np.random.default_rng([seed, i, 2])
        times = sample_times(rate or rng.choice(RATES))
        hold, share = hold_schedule(times, rng, stay=(0.4, 2.5), change=(0.2, 0.8))
        labels = _labels(hold[-1] + 2, rng)
        apexes = [_apex(label, rng) for label in labels]
        blink, talk = _blinks(times, rng), _talk(times, rng)
        turn, nod, tilt = (random_drift(times, rng, deviation) for deviation in (0.14, 0.06, 0.07))
        gaze_x, gaze_y, slope = (random_drift(times, rng, deviation) for deviation in (0.25, 0.2, 0.03))
        light = rng.choice((-1.0, 1.0))
        images = []
        for k in range(len(times)):
            left, right = (
                (1 - share[k]) * apexes[hold[k]][side] + share[k] * apexes[hold[k] + 1][side] + blink[k] + talk[k]
                for side in (0, 1)
            )
            # Scale and centre put eyes and mouth about where FER2013 has them.
            pose = Pose(turn[k], nod[k], tilt[k], 0.5, 0.5, 0.45, (gaze_x[k], gaze_y[k]), light, slope=slope[k])
            images.append(draw_face(people[i % len(people)], Moves(*left), Moves(*right), pose=pose, size=SIDE))
        targets = np.array([FER2013.index(label) for label in labels])[hold + (share > 0.5)]
        yield FaceSequence(simulate_camera(images, times, rng), times, targets)


def _labels(n: int, rng: np.random.Generator) -> list[str]:
    """Draw labels without immediate repetition; neutral follows half of the others."""
    labels = ["neutral"]
    others = [label for label in UNITS if label != "neutral"]
    while len(labels) < n:
        back = labels[-1] != "neutral" and rng.random() < 0.5
        labels.append("neutral" if back else str(rng.choice([label for label in others if label != labels[-1]])))
    return labels


def _apex(label: str, rng: np.random.Generator) -> list[Times]:
    """Return the moves of an expression at its apex, in the left and the right half of the image."""
    strength = rng.uniform(0.6, 1.1)
    units = {unit: strength * value * rng.uniform(0.8, 1.2) for unit, value in UNITS[label].items()}
    if rng.random() < CLOSED_SMILES and 12 in units:
        del units[25]
    return [
        np.array(moves_of({unit: value * rng.uniform(0.85, 1.15) for unit, value in units.items()})) for _ in range(2)
    ]


def _blinks(times: Times, rng: np.random.Generator) -> Times:
    """Return the moves of blinks of 0.2 seconds, every 2 to 6 seconds, shape (t, moves)."""
    middles = np.cumsum(rng.uniform(2, 6, 8)) - 2
    closed = (1 - np.abs(times[:, None] - middles) / 0.1).clip(0, 1).max(1)
    return np.outer(closed, BLINK)


def _talk(times: Times, rng: np.random.Generator) -> Times:
    """Return the moves of a talking mouth, zero in half of the sequences, shape (t, moves)."""
    begin, syllables = rng.uniform(0, SECONDS / 2), rng.uniform(3, 6)  # in seconds; per second
    talks = (rng.random() < 0.5) & (times > begin) & (times < begin + rng.uniform(1, 4))
    opening = np.sin(np.pi * syllables * times + random_drift(times, rng, 1.0)) ** 2 * rng.uniform(0.2, 0.6)
    return np.outer(talks * opening, moves_of({25: 0.6, 26: 0.6}))
