"""Tables, figures as JSON and cards of voice models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import TypedDict

from mien.errors import ConfigError, DatasetError, InputError
from mien.escape import code_block, literal
from mien.evaluation.voice import NOISY, WHOLE, Spread, VoiceEvaluation, VoiceScores
from mien.files import write_text
from mien.labels import LabelSet
from mien.models.spec import ModelSpec
from mien.reports.card import LAW
from mien.reports.tables import bullets, most_frequent_confusion, table
from mien.settings import checked

VOICE_NOTE = "mien names how speech sounds, not what a person feels."
_USE = """\
Naming how speech sounds, from files and microphones, for research, teaching, art, accessibility and play, where a
wrong answer harms nobody. Not for decisions about a person, and not for recordings of people who do not know of it."""
_EXPLAINED = """\
UAR, unweighted average recall, is the mean recall of the classes: mean ± standard deviation over the folds, and that of
all clips together with its 95 % interval by bootstrap, with speakers drawn as a whole. Chance is {chance:.1f} %."""
_BY_SPEAKER = """\
Cross-validation by speaker: each fold was evaluated by a net trained on the other folds; this model was trained on all
of them."""
_DATA_TERMS = {
    "emodb": "EmoDB (Burkhardt, Paeschke, Rolfes, Sendlmeier & Weiss 2005, A Database of German Emotional Speech, "
    "Interspeech), CC0-1.0; a part of it: 339 sentences in German by ten actors, of four of its seven emotions",
    "ravdess": "RAVDESS (Livingstone & Russo 2018, doi:10.1371/journal.pone.0196391), CC BY-NC-SA 4.0: two sentences "
    "in English, spoken by 24 actors in each emotion; calm is counted as neutral",
}


def voice_table(evaluations: Sequence[VoiceEvaluation]) -> str:
    """Return a Markdown table with a row per evaluation and kind of speech."""
    several = len(evaluations) > 1
    rows = [
        [
            *([f"{literal(evaluation.model)} on {literal(evaluation.data)}"] if several else []),
            literal(name),
            spread_cell(scores.uar),
            spread_cell(scores.accuracy),
            f"{100 * scores.pooled_uar:.1f} ({100 * scores.low:.1f}–{100 * scores.high:.1f})",
            f"{scores.nll:.2f}",
            f"{scores.ece:.3f}",
        ]
        for evaluation in evaluations
        for name, scores in evaluation.conditions.items()
    ]
    header = ["speech", "UAR, %", "accuracy, %", "UAR of all clips, %", "NLL", "ECE"]
    return table([*(["model and data"] if several else []), *header], rows)


def recalls_table(evaluation: VoiceEvaluation) -> str:
    """Return a Markdown table of recall per class, in quiet and noise, and what each is mistaken for."""
    labels, whole = evaluation.labels.labels, evaluation.conditions[WHOLE].recalls
    noise = evaluation.conditions[NOISY].recalls if NOISY in evaluation.conditions else {}
    rows = []
    for i, label in enumerate(labels):
        row = evaluation.confusion[i]
        in_noise = [f"{100 * noise[label]:.1f}"] if noise else []
        mistaken = most_frequent_confusion(row, i, labels)
        rows.append([literal(label), f"{sum(row):,}", f"{100 * whole[label]:.1f}", *in_noise, mistaken])
    in_noise = ["in noise, %"] if noise else []
    return table(["class", "clips", "recall, %", *in_noise, "most often confused with"], rows)


def speakers_text(evaluation: VoiceEvaluation) -> str:
    """Return a sentence about the range of accuracies of the speakers."""
    ranked = sorted(evaluation.speakers.items(), key=lambda item: item[1])
    (worst, low), (best, high) = ranked[0], ranked[-1]
    middle = sorted(evaluation.speakers.values())[len(ranked) // 2]
    return (
        f"Accuracy differs by speaker: {100 * low:.0f} % for the worst ({literal(worst)}), {100 * high:.0f} % for the "
        f"best ({literal(best)}), median {100 * middle:.0f} %."
    )


def spread_cell(spread: Spread) -> str:
    """Return a mean in percent with its standard deviation."""
    return f"{100 * spread.mean:.1f} ± {100 * spread.deviation:.1f}"


def voice_report(evaluations: Sequence[VoiceEvaluation]) -> str:
    """Return a report of evaluations as Markdown."""
    parts = ["# Voice models", f"> {VOICE_NOTE}", voice_table(evaluations), explained(evaluations)]
    for evaluation in evaluations:
        parts += [
            f"## {literal(evaluation.model)} on {literal(evaluation.data)}",
            f"{evaluation.n:,} clips by {evaluation.n_speakers} speakers, {evaluation.n_folds} folds.",
            recalls_table(evaluation),
            speakers_text(evaluation),
        ]
    return "\n\n".join(parts) + "\n"


def explained(evaluations: Sequence[VoiceEvaluation]) -> str:
    """Return the explanation of `voice_table`."""
    return fill(_EXPLAINED.format(chance=100 * evaluations[0].chance).replace("\n", " "), 120, break_on_hyphens=False)


def voice_card(spec: ModelSpec, evaluations: Sequence[VoiceEvaluation], *, size_bytes: int) -> str:
    """Return the card of a voice model.

    Args:
        spec: Of the model.
        evaluations: The first is by folds of its own training data; others are of other data.
        size_bytes: Of its file.
    """
    own, sound = evaluations[0], spec.sound
    assert sound is not None
    data = spec.trained_on.get("name", "unknown data")
    recipe = json.dumps(spec.recipe, indent=2, sort_keys=True).splitlines()
    facts = [
        "Type: a neural network that predicts a probability per label from speech",
        f"Net: {literal(spec.arch)}; file: {size_bytes / 1e6:.1f} MB",
        f"Input: speech of {sound.shortest:g} to {sound.longest:g} s at {sound.rate:,} Hz, without silence at the ends;"
        f" its level does not matter",
        f"Labels: {literal(', '.join(spec.labels))}; temperature {spec.default_head.temperature:.3f}",
        *(["Enrolment: it can be given a sentence in the speaker's ordinary voice"] if sound.width else []),
    ]
    others = [
        part
        for other in evaluations[1:]
        for part in (
            f"### {literal(other.data)}, by other speakers in other rooms",
            f"{other.n:,} clips by {other.n_speakers} speakers, over the labels {literal(', '.join(other.labels))}.",
            voice_table([other]),
            recalls_table(other),
            speakers_text(other),
        )
    ]
    origin = [f"Start: {literal(spec.trained_on['init'])}"] if "init" in spec.trained_on else []
    licences = [f"Weights: {literal(spec.license) or 'unknown'}", f"Data: {_DATA_TERMS.get(data, 'terms unknown')}"]
    parts = [
        f"# {literal(spec.name)}",
        f"> {VOICE_NOTE}",
        bullets(facts),
        "## Training",
        f"Trained on: {literal(data)}, {own.n:,} clips by {own.n_speakers} speakers, fingerprint "
        f"{literal(spec.trained_on.get('fingerprint', 'unknown'))}. The recipe:\n\n"
        f"{code_block(recipe, language='json')}",
        "## Results",
        f"### {literal(data)}, by speaker, {own.n_folds} folds",
        _BY_SPEAKER,
        voice_table([own]),
        explained([own]),
        recalls_table(own),
        speakers_text(own),
        *others,
        "## Intended use",
        _USE,
        LAW,
        "## Limits",
        _limits(own, evaluations[1:]),
        "## Licence",
        bullets([*licences, *origin]),
    ]
    return "\n\n".join(parts) + "\n"


def _limits(own: VoiceEvaluation, others: Sequence[VoiceEvaluation]) -> str:
    quiet = own.conditions[WHOLE].uar.mean
    short = [f"{name} {100 * found.uar.mean:.0f} %" for name, found in own.conditions.items() if "middle" in name]
    limits = [
        "How speech sounds is not what a person feels: actors spoke given sentences as instructed, and people who "
        "speak freely sound less clear-cut. No recording of free speech was available to measure.",
        f"{own.n_speakers} speakers are few: expect a stranger's figures to lie anywhere in the range above.",
        *(
            [f"Short speech is not enough: {', '.join(short)} UAR, of {100 * quiet:.0f} % for whole sentences."]
            if short
            else []
        ),
        *(
            [
                f"Noise and echo cost {100 * (quiet - own.conditions[NOISY].uar.mean):.0f} points here, where they are "
                "of the kind that it was trained with; real rooms are harder."
            ]
            if NOISY in own.conditions
            else []
        ),
        *(
            f"On {literal(other.data)}, which it has not heard, its UAR is "
            f"{100 * other.conditions[WHOLE].pooled_uar:.0f} %: that is the figure for strangers "
            "with another language and another microphone."
            for other in others
        ),
        "Bias by age, language, accent or illness has not been measured.",
        "Probabilities are as sure as noisy answers may be of models that heard the speakers of one fold only. For the "
        "speakers of this corpus that is less sure than it could be; for other people and rooms it is still too sure.",
    ]
    return "\n".join(
        fill(limit, 120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False) for limit in limits
    )


def to_plain(evaluation: VoiceEvaluation) -> dict[str, object]:
    """Return an evaluation as plain data."""
    return asdict(evaluation) | {"labels": list(evaluation.labels), "chance": evaluation.chance}


def write_voice_metrics(path: Path, evaluations: Sequence[VoiceEvaluation]) -> None:
    """Write evaluations as JSON.

    Raises:
        OutputError: The file cannot be written.
    """
    write_text(path, json.dumps([to_plain(evaluation) for evaluation in evaluations], indent=1) + "\n")


def read_voice_metrics(path: Path) -> list[VoiceEvaluation]:
    """Read what `write_voice_metrics` wrote.

    Raises:
        InputError: There is no such file, or it is another one.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [_evaluation(entry) for entry in checked(list[_Entry], found, "evaluations")]
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror}; evaluate the model again") from error
    except (ValueError, RecursionError, ConfigError, DatasetError) as error:
        raise InputError(f"'{path}' holds no figures of voice models ({error}); evaluate the model again") from error


class _Entry(TypedDict):
    """An evaluation as plain data; see `VoiceEvaluation`."""

    model: str
    data: str
    labels: list[str]
    n: int
    n_speakers: int
    n_folds: int
    conditions: dict[str, VoiceScores]
    speakers: dict[str, float]
    confusion: list[list[int]]


def _evaluation(entry: _Entry) -> VoiceEvaluation:
    return VoiceEvaluation(
        model=entry["model"], data=entry["data"], labels=LabelSet(entry["data"], tuple(entry["labels"])),
        n=entry["n"], n_speakers=entry["n_speakers"], n_folds=entry["n_folds"], conditions=entry["conditions"],
        speakers=entry["speakers"], confusion=entry["confusion"],
    )  # fmt: skip
