"""Cards of temporal models: their limits follow from their training and test data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mien.evaluation.temporal import TemporalScores
from mien.models.onnx_file import read_spec
from mien.models.store import shipped_dir
from mien.reports.temporal import temporal_card

ROOT = Path(__file__).parents[2]


def test_the_card_of_the_shipped_model_has_the_limits_of_its_training() -> None:
    card = (ROOT / "docs" / "models" / "base-temporal.md").read_text(encoding="utf-8")
    spec = read_spec(shipped_dir() / "base-temporal.onnx")
    assert temporal_card(spec, {}).partition("## Limits")[2] == card.partition("## Limits")[2]


@pytest.mark.parametrize(
    ("trained_on", "measured", "expected"),
    [
        (
            ["drawn faces"],
            ["drawn faces, 30 frames/s"],
            "Its training data is synthetic: drawn faces that move as the textbook has it. No film of real faces "
            "with a label per frame was available, so its accuracy on one has not been measured.",
        ),
        (
            ["pictures of mine"],
            [],
            "Its training data is synthetic: pictures of different people that replace one another. No film of real "
            "faces with a label per frame was available, so its accuracy on one has not been measured.",
        ),
        (
            ["clips of mine"],
            ["clips of mine, as filmed"],
            "Each clip has one label, that of its folder, for all its frames, so its delay after a change on film "
            "has not been measured.",
        ),
        (
            ["clips of mine"],
            [],
            "Each clip has one label, that of its folder, for all its frames, so its delay after a change on film "
            "has not been measured. No clip was held out, so its accuracy on clips has not been measured either.",
        ),
        (
            ["drawn faces", "clips of mine"],
            ["drawn faces, 30 frames/s", "clips of mine, as filmed"],
            "Part of its training data is synthetic: drawn faces that move as the textbook has it. Each clip has "
            "one label, that of its folder, for all its frames, so its delay after a change on film has not been "
            "measured.",
        ),
        (
            ["drawn faces"],
            ["clips of mine, as filmed"],
            "Its training data is synthetic: drawn faces that move as the textbook has it. Each clip has one label, "
            "that of its folder, for all its frames, so its delay after a change on film has not been measured.",
        ),
    ],
)
def test_limits_are_those_of_what_a_model_was_trained_and_measured_on(
    trained_on: list[str], measured: list[str], expected: str
) -> None:
    shipped = read_spec(shipped_dir() / "base-temporal.onnx")
    results = {what: {"temporal": TemporalScores(accuracy=1, changes=0, delay=0, missed=0)} for what in measured}
    card = temporal_card(replace(shipped, trained_on=dict.fromkeys(trained_on, "3 sequences")), results)
    limits = card.partition("## Limits\n\n")[2]
    assert limits.split("\n- ")[0].removeprefix("- ").replace("\n  ", " ") == expected
    assert max(map(len, limits.splitlines())) <= 120
