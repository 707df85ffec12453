"""Tables and cards of temporal models."""

from __future__ import annotations

import json
from math import isnan
from textwrap import fill

from mien.escape import code, code_block, literal, shell_word
from mien.evaluation.temporal import TemporalScores
from mien.models.spec import ModelSpec
from mien.reports.report import NOTE
from mien.reports.tables import table

DRAWN, PICTURES, CLIPS = "drawn faces", "pictures of ", "clips of "  # prefixes of the sources in `trained_on`
SYNTHETIC = {
    DRAWN: "drawn faces that move as the textbook has it",
    PICTURES: "pictures of different people that replace one another",
}

MEASURE = """\
Accuracy is the share of frames with the correct label. Changes are label changes per second; delay is the mean time
from a true change until the new label is first shown; a change is missed if its label is not shown before the next one.
*Single frames* are the classifier's predictions without smoothing; half-lives are those of the smoothing in `mien
live`."""


def temporal_table(results: dict[str, dict[str, TemporalScores]]) -> str:
    """Return a Markdown table of the results of `compare_smoothing` by kind of sequences."""

    def delay(scores: TemporalScores) -> str:
        return "–" if isnan(scores.delay) else f"{scores.delay:.2f}"

    header = ["sequences", "labels by", "accuracy, %", "changes per second", "delay, s", "missed, %"]
    rows = [
        [
            literal(kind),
            literal(method),
            f"{100 * s.accuracy:.1f}",
            f"{s.changes:.2f}",
            delay(s),
            f"{100 * s.missed:.0f}",
        ]
        for kind, methods in results.items()
        for method, s in methods.items()
    ]
    return table(header, rows)


def temporal_card(spec: ModelSpec, results: dict[str, dict[str, TemporalScores]]) -> str:
    """Return the card of a temporal model: its use, its training, and how well labels follow with it.

    Args:
        spec: Of the temporal model.
        results: By sequences and by way of smoothing, as `evaluation.temporal.compare_smoothing` measures them.
    """
    classifier = "" if spec.temporal is None else spec.temporal.classifier
    sources = "\n".join(f"- {literal(what)}: {literal(count)}" for what, count in spec.trained_on.items())
    command, shown = code(f"mien live --model {shell_word(classifier)} --temporal"), literal(classifier)
    recipe = json.dumps(spec.recipe, indent=2, sort_keys=True).splitlines()
    return f"""# {literal(spec.name)}

> {NOTE}

Smooths the predictions of the classifier {shown} for each face of a stream, in place of a half-life:
{command}. It classifies no faces itself, and works with this {shown} only.
Labels: {literal(", ".join(spec.labels))}.

## Training

{sources}

{code_block(recipe, language="json")}

## Results over time

{MEASURE}

{temporal_table(results)}

## Limits

{_limits(spec, results)}
- Its probabilities are not calibrated; those of single frames, kept as `raw`, are.
"""


def _limits(spec: ModelSpec, results: dict[str, dict[str, TemporalScores]]) -> str:
    """Return a list item with the limits that follow from the training sources and the measured sequences."""
    synthetic = [text for prefix, text in SYNTHETIC.items() if any(s.startswith(prefix) for s in spec.trained_on)]
    trained, measured = (any(source.startswith(CLIPS) for source in found) for found in (spec.trained_on, results))
    sentences = []
    if synthetic:
        sentences.append(
            f"{'Part of its' if trained else 'Its'} training data is synthetic: {', and '.join(synthetic)}."
        )
    if not trained and not measured:
        sentences.append(
            "No film of real faces with a label per frame was available, so its accuracy on one has not been measured."
        )
    else:
        sentences.append(
            "Each clip has one label, that of its folder, for all its frames, so its delay after a change on film has "
            "not been measured."
        )
    if trained and not measured:
        sentences.append("No clip was held out, so its accuracy on clips has not been measured either.")
    return fill(" ".join(sentences), 120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
