"""Model cards: what a model is, what it was trained on, how it does, and where it must not be trusted.

The form follows Mitchell et al. 2019, arXiv:1810.03993. No number is typed by hand: all come from the spec and
from the metrics.json files of `report.write_report`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from mien.data.dataset import Split
from mien.models.onnx_file import read_spec
from mien.models.spec import ModelSpec
from mien.reports.metrics_json import Metrics, read_metrics
from mien.reports.report import NOTE
from mien.reports.tables import classes_table, reading_notes, report_title, split_name, training_data_text, views_table

MEASURED: tuple[Split, ...] = ("test", "valid")  # splits that a released model has a report of
_DATA_TERMS = {
    "fer2013": "FER2013 was published for the ICML 2013 challenge (Goodfellow et al. 2013, arXiv:1307.0414; on "
    "Kaggle) and is not part of this package. FER+ votes, where used: Barsoum et al. 2016, arXiv:1608.01041, MIT.",
}
_DRAWN_WARNING = "It was trained on cartoons that mien drew, and on nothing else: **it is no use on photographs.**"
_USE = """\
Naming the expression that a face shows in photos, video and live pictures: for research, teaching, art,
accessibility and play, where a wrong answer harms nobody. Not for decisions about a person."""
_DRAWN_USE = """\
Naming the expression of cartoons drawn like those it knows: to teach, to try things out, and to show that a model
which knows one kind of face may be of no use on another. Not for pictures of people."""
_LAW = """\
In the European Union it is prohibited to use AI systems to infer emotions of a person in the areas of workplace
and education institutions, except for medical or safety reasons: AI Act, Regulation (EU) 2024/1689,
Article 5(1)(f). Other uses of emotion recognition are regulated there too."""
_LIMITS = """\
- An expression is not an emotion: a face may smile without joy, and people show the same feeling in different ways
  (Barrett et al. 2019, doi:10.1177/1529100619832930). The probabilities say how annotators would name the face.
- Annotators disagree, and the labels of datasets found on the web are noisy; no model can be better than they are.
- {data} Faces in profile, partly hidden, or much smaller are outside of what it has learnt.
- Bias by age, gender, skin colour or culture is unknown: the data doesn't record them, so it has not been measured.
- Probabilities are calibrated on the validation split; on other pictures they will be less honest."""
_DRAWN_LIMITS = """\
- It names expressions of cartoons by `mien data draw`. How far it falls on photographs:
  [cross-dataset](../reports/cross-dataset.md). FERG-DB's characters, drawn by others, it has never seen.
- A drawn expression follows the textbook and its label is right by construction; no annotator could disagree. Figures
  on photographs can't be compared with these.
- The intervals take each picture for a draw by itself. Pictures of one character are not: with other characters held
  out, the figures may differ by more.
- It was trained on whole pictures, framed as they are drawn. Give it such: `mien predict --detector whole`.
- Probabilities are calibrated on the validation split; on other pictures they will be less honest."""
_DATA_LIMITS = {
    "fer2013": "It was trained on grey pictures of 48×48 pixels from web searches, mostly of frontal faces.",
}
_DRAWN_NOTE = "mien names the expression that is drawn; a cartoon feels nothing."
CURVES_NOTE = """\
The curves tell accuracy as it was while training; the finished model's batch statistics were taken anew, which can move
it by a point or two."""


def released_card(model: Path, folder: Path) -> str:
    """Return the card of a released model.

    Args:
        model: Its ONNX file.
        folder: Of its reports, one for each split in `MEASURED`, and of curves.png; the card will lie beside it.

    Raises:
        ModelError: The file is no model of ours.
        InputError: A report is missing, or unreadable.
    """
    return model_card(
        read_spec(model),
        [read_metrics(folder / split / "metrics.json") for split in MEASURED],
        size_bytes=model.stat().st_size,
        confusion_picture=f"{folder.name}/{MEASURED[0]}/confusion_single.png",
        curves_picture=f"{folder.name}/curves.png",
    )


def model_card(
    spec: ModelSpec,
    metrics: Sequence[Metrics],
    *,
    size_bytes: int,
    confusion_picture: str = "",
    curves_picture: str = "",
) -> str:
    """Return a model's card as Markdown.

    Args:
        spec: The model.
        metrics: Contents of its metrics.json files, in the order to show them. The first one of a test split,
            or the first one where there is none, is also told class by class.
        size_bytes: Size of the model file.
        confusion_picture: Link to that one's confusion matrix, relative to the card; left out when empty.
        curves_picture: Link to the training curves; likewise.
    """
    data, drawn = spec.trained_on.get("name", ""), bool(spec.made_by)
    limits = _LIMITS.format(data=_DATA_LIMITS.get(data, "It knows faces like those it was trained on."))
    terms = "drawn by mien, and free to use and to pass on" if drawn else _DATA_TERMS.get(data, "terms unknown")
    parts = [
        f"# {spec.name}",
        f"> {_DRAWN_NOTE if drawn else NOTE}",
        *([_DRAWN_WARNING] if drawn else []),
        _facts(spec, size_bytes),
        "## Training",
        _training(spec),
        *([f"![Loss and accuracy while training]({curves_picture})", CURVES_NOTE] if curves_picture else []),
        "## Results",
        *_results(spec, metrics, confusion_picture),
        "## Intended use",
        _DRAWN_USE if drawn else _USE,
        _LAW,
        "## Limits",
        _DRAWN_LIMITS if drawn else limits,
        "## Licence",
        _bullets([f"Weights: {spec.license or 'unknown'}", f"Data: {terms}", *_start(spec)]),
    ]
    return "\n\n".join(parts) + "\n"


def _start(spec: ModelSpec) -> list[str]:
    """Say what the training started from, if not from random numbers."""
    origin = spec.trained_on.get("init")
    return [f"It started from {origin}; the terms of that, and the faces it has seen, come along"] if origin else []


def _facts(spec: ModelSpec, size_bytes: int) -> str:
    preprocess = spec.preprocess
    colour = "grey" if preprocess.channels == 1 else "RGB"
    equalized = ", histogram-equalised" if preprocess.equalize else ""
    framed = "whole pictures, framed as they are drawn" if spec.made_by else f"crops framed as in {spec.crop}"
    lines = [
        f"What it is: a neural network that looks at {'a picture' if spec.made_by else 'the crop'} of one face and "
        "gives a probability for each of its labels",
        f"Net: {spec.arch}; file: {size_bytes / 1e6:.1f} MB",
        f"Input: {preprocess.size}×{preprocess.size} pixels, {colour}{equalized}; {framed}",
        *(
            f"Output {head.labels.name}{' (default)' if head is spec.heads[0] else ''}: "
            f"{', '.join(head.labels)}; temperature {head.temperature:.3f}"
            for head in spec.heads
        ),
    ]
    return _bullets(lines)


def _training(spec: ModelSpec) -> str:
    facts = f"Trained on: {training_data_text(spec.trained_on)}. {_drawing(spec.made_by)}"
    if not spec.recipe:
        return f"{facts}The recipe is unknown."
    recipe = json.dumps(spec.recipe, indent=2, sort_keys=True)
    return f"{facts}The recipe:\n\n```json\n{recipe}\n```"


def _drawing(commands: Sequence[str]) -> str:
    """Return who was held out of drawn data and what draws it again; nothing without commands."""
    if not commands:
        return ""
    words = shlex.split(" ".join(commands))
    held = {
        split: words[words.index(option) + 1].replace(",", ", ")
        for split, option in (("test", "--hold-out"), ("valid", "--valid"))
        if option in words
    }
    who = "".join(f", {names} ({split})" for split, names in held.items())
    told = (
        f"Held out of the training are the characters{who.removeprefix(',')}, with all their pictures. " if who else ""
    )
    shell = "\n".join(commands)
    return f"{told}This draws the same data again:\n\n```sh\n{shell}\n```\n\n"


def _results(spec: ModelSpec, metrics: Sequence[Metrics], confusion_picture: str) -> list[str]:
    if not metrics:
        return ["Not evaluated yet: `mien evaluate` does it."]
    headline = next((m for m in metrics if m["data"]["split"] == "test"), metrics[0])
    view, figures = next(iter(headline["views"].items()))
    occurring = {label: scores for label, scores in figures["classes"].items() if scores["support"]}
    weakest = min(occurring, key=lambda label: occurring[label]["recall"])
    return [
        *([_protocol(headline)] if headline["data"]["name"] == spec.trained_on.get("name") else []),
        views_table(metrics),
        reading_notes(metrics),
        f"### Per class: {report_title(headline)}, {view}",
        classes_table(figures, headline["labels"]),
        f"It fails most on *{weakest}*: it finds {100 * occurring[weakest]['recall']:.1f} % of them.",
        *([f"![Confusion matrix, {view}]({confusion_picture})"] if confusion_picture else []),
    ]


def _protocol(metrics: Metrics) -> str:
    data = metrics["data"]
    fitted_on = " and ".join(split_name(data["name"], split) for split in data["fitted_on"])
    valid, test = (split_name(data["name"], split) for split in ("valid", "test"))
    trained_on = metrics["model"]["trained_on"]
    left_out = "".join(f", {key} {trained_on[key]}" for key in ("dropped", "fold") if key in trained_on)
    joined = " before it joined the training data" if "valid" in data["fitted_on"] else ", temperature included"
    return (
        f"Fitted on {fitted_on}{left_out}. Every decision was taken on {valid}{joined}, and none on {test}. No epoch "
        "was picked: a fixed number of them, and the averaged weights after the last."
    )


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
