"""Model cards: model, training data, results, intended use and limits.

The form follows Mitchell et al. 2019, arXiv:1810.03993. All numbers come from the spec and from the metrics.json files
of `report.write_report`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from mien.data.dataset import Split
from mien.escape import code_block, literal
from mien.models.onnx_file import read_spec
from mien.models.spec import ModelSpec
from mien.reports.metrics_json import Metrics, read_metrics
from mien.reports.report import NOTE
from mien.reports.tables import (
    bullets,
    classes_table,
    reading_notes,
    report_title,
    split_name,
    training_data_text,
    views_table,
)

MEASURED: tuple[Split, ...] = ("test", "valid")  # splits reported for a released model
FEW = 10  # images below which the recall of a class says little
FURTHER = ("ferplus", "photographs")  # folders of further reports, where there are some
_DATA_TERMS = {
    "fer2013": "FER2013 was published for the ICML 2013 challenge (Goodfellow et al. 2013, arXiv:1307.0414; on "
    "Kaggle) and is not part of this package. FER+ votes, where used: Barsoum et al. 2016, arXiv:1608.01041, MIT.",
}
_PHOTOGRAPHS_TERMS = (
    "News photographs of Labeled Faces in the Wild (Huang et al. 2007), gathered for research, with labels of "
    "github.com/muxspace/facial_expressions, Apache-2.0; not part of this package."
)
_DRAWN_WARNING = "It was trained only on cartoons drawn by mien: **it does not work on photographs.**"
_USE = """\
Naming the expression of a face in photos, video and live streams, for research, teaching, art, accessibility and play,
where a wrong prediction harms nobody. Not for decisions about a person."""
_DRAWN_USE = """\
Naming the expression of cartoons like those of its training data, for teaching and experiments, and to show that a
model trained on one kind of face may fail on another. Not for images of people."""
LAW = """\
In the European Union it is prohibited to use AI systems to infer emotions of a person in the areas of workplace and
education institutions, except for medical or safety reasons: AI Act, Regulation (EU) 2024/1689, Article 5(1)(f). The
Act regulates other uses of emotion recognition too."""
_LIMITS = """\
- An expression is not an emotion: a face may smile without joy, and people show the same feeling in different ways
  (Barrett et al. 2019, doi:10.1177/1529100619832930). The probabilities predict how annotators would name the face.
- Annotators disagree, and labels of datasets from the web are noisy; they limit the accuracy of any model.
- {data} Faces in profile, partly hidden or much smaller are outside its training data.
- Bias by age, gender, skin colour or culture is unknown: the data doesn't record them, so it has not been measured.
- Probabilities are calibrated on the validation split; on other images calibration will be worse."""
_DRAWN_LIMITS = """\
- It classifies cartoons by `mien data draw`. Its accuracy on photographs: [cross-dataset](../reports/cross-dataset.md).
  It has not been trained or evaluated on the characters of FERG-DB, which were drawn by others.
- A drawn expression follows the textbook, and its label is correct by construction, without any disagreement of
  annotators. Its accuracy can't be compared with accuracies on photographs.
- The intervals treat each image as independent, but images of one character are not: with other characters held out,
  results may differ by more.
- It was trained on whole images, framed as they are drawn. Use it likewise: `mien predict --detector whole`.
- Probabilities are calibrated on the validation split; on other images calibration will be worse."""
_DATA_LIMITS = {
    "fer2013": "It was trained on grey images of 48×48 pixels from web searches, mostly of frontal faces.",
}
_DRAWN_NOTE = "mien names the expression that is drawn; a cartoon feels nothing."
CURVES_NOTE = """\
The curves show the accuracy during training; the batch-norm statistics of the final model were recomputed, which can
change it by a point or two."""


def released_card(model: Path, folder: Path) -> str:
    """Return the card of a released model.

    Args:
        model: Its ONNX file.
        folder: Holds its reports, one per split in `MEASURED` and maybe those of `FURTHER`, and curves.png; the card
            belongs next to it.

    Raises:
        ModelError: The file is not a mien model.
        InputError: A report is missing, or unreadable.
    """
    further = [name for name in FURTHER if os.path.exists(folder / name / "metrics.json")]
    return model_card(
        read_spec(model),
        [read_metrics(folder / name / "metrics.json") for name in (*MEASURED, *further)],
        size_bytes=model.stat().st_size,
        confusion_plot=f"{folder.name}/{MEASURED[0]}/confusion_single.png",
        curves_plot=f"{folder.name}/curves.png",
    )


def model_card(
    spec: ModelSpec,
    metrics: Sequence[Metrics],
    *,
    size_bytes: int,
    confusion_plot: str = "",
    curves_plot: str = "",
) -> str:
    """Return a model's card as Markdown.

    Args:
        spec: The model.
        metrics: Contents of its metrics.json files, in the order to show. The first one of a test split, or else the
            first one, is also shown per class, and so are those with a detector.
        size_bytes: Size of the model file.
        confusion_plot: Link to the confusion matrix of that one, relative to the card; omitted if empty.
        curves_plot: Link to the training curves, relative to the card; omitted if empty.
    """
    data, drawn = spec.trained_on.get("name", ""), bool(spec.made_by)
    limits = _LIMITS.format(data=_DATA_LIMITS.get(data, "It knows faces like those it was trained on."))
    terms = "drawn by mien, and free to use and to pass on" if drawn else _DATA_TERMS.get(data, "terms unknown")
    if "with news-photographs" in spec.trained_on:
        terms = f"{terms} {_PHOTOGRAPHS_TERMS}"
    parts = [
        f"# {literal(spec.name)}",
        f"> {_DRAWN_NOTE if drawn else NOTE}",
        *([_DRAWN_WARNING] if drawn else []),
        _facts(spec, size_bytes),
        "## Training",
        _training(spec),
        *([f"![Loss and accuracy during training]({curves_plot})", CURVES_NOTE] if curves_plot else []),
        "## Results",
        *_results(spec, metrics, confusion_plot),
        "## Intended use",
        _DRAWN_USE if drawn else _USE,
        LAW,
        "## Limits",
        _DRAWN_LIMITS if drawn else limits,
        "## Licence",
        bullets([f"Weights: {literal(spec.license) or 'unknown'}", f"Data: {terms}", *_start(spec)]),
    ]
    return "\n\n".join(parts) + "\n"


def _start(spec: ModelSpec) -> list[str]:
    """Return a line on the initial weights, unless they were random."""
    origin = spec.trained_on.get("init")
    return [f"Initial weights: {literal(origin)}; their terms and their training data apply too"] if origin else []


def _facts(spec: ModelSpec, size_bytes: int) -> str:
    preprocess = spec.preprocess
    colour = "grey" if preprocess.channels == 1 else "RGB"
    equalized = ", histogram-equalised" if preprocess.equalize else ""
    framed = "whole images, framed as they are drawn" if spec.made_by else f"crops framed as in {literal(spec.crop)}"
    lines = [
        "Type: a neural network that predicts a probability per label "
        f"from {'an image' if spec.made_by else 'the crop'} of one face",
        f"Net: {literal(spec.arch)}; file: {size_bytes / 1e6:.1f} MB",
        f"Input: {preprocess.size}×{preprocess.size} pixels, {colour}{equalized}; {framed}",
        *(
            f"Output {literal(head.labels.name)}{' (default)' if head is spec.default_head else ''}: "
            f"{literal(', '.join(head.labels))}; temperature {head.temperature:.3f}"
            for head in spec.heads
        ),
    ]
    return bullets(lines)


def _training(spec: ModelSpec) -> str:
    facts = f"Trained on: {training_data_text(spec.trained_on)}. {_drawing(spec.made_by)}"
    if not spec.recipe:
        return f"{facts}The recipe is unknown."
    recipe = json.dumps(spec.recipe, indent=2, sort_keys=True).splitlines()
    return f"{facts}The recipe:\n\n{code_block(recipe, language='json')}"


def _drawing(commands: Sequence[str]) -> str:
    """Return the characters held out of drawn data, and the commands that draw it; empty without commands."""
    if not commands:
        return ""
    words = " ".join(commands).split()  # names of characters hold no spaces
    following = dict(pairwise(words))
    held = {
        split: literal(following[option].replace(",", ", "))
        for split, option in (("test", "--hold-out"), ("valid", "--valid"))
        if option in following
    }
    who = "".join(f", {names} ({split})" for split, names in held.items())
    held_out = (
        f"Held out of the training, with all their images: the characters{who.removeprefix(',')}. " if who else ""
    )
    return f"{held_out}These commands draw the same data:\n\n{code_block(commands, language='sh')}\n\n"


def _results(spec: ModelSpec, metrics: Sequence[Metrics], confusion_plot: str) -> list[str]:
    if not metrics:
        return ["Not evaluated yet; run `mien evaluate`."]
    headline = next((m for m in metrics if m["data"]["split"] == "test"), metrics[0])
    view = next(iter(headline["views"]))
    photographs = [m for m in metrics if m["data"].get("detector") and m is not headline]
    return [
        *([_protocol(headline)] if headline["data"]["name"] == spec.trained_on.get("name") else []),
        views_table(metrics),
        reading_notes(metrics),
        *_classes(headline),
        *([f"![Confusion matrix, {view}]({confusion_plot})"] if confusion_plot else []),
        *(part for each in photographs for part in _classes(each)),
    ]


def _classes(metrics: Metrics) -> list[str]:
    """Return the results per class of the first view, and the weakest class."""
    view, metrics_of_view = next(iter(metrics["views"].items()))
    classes = metrics_of_view["classes"]
    frequent = [label for label, scores in classes.items() if scores["support"] >= FEW]
    weakest = min(frequent or classes, key=lambda label: classes[label]["recall"])
    return [
        f"### Per class: {literal(report_title(metrics))}, {view}",
        classes_table(metrics_of_view, metrics["labels"]),
        f"The weakest class is *{literal(weakest)}*, with a recall of {100 * classes[weakest]['recall']:.1f} %.",
    ]


def _protocol(metrics: Metrics) -> str:
    data = metrics["data"]
    fitted_on = " and ".join(split_name(data["name"], split) for split in data["fitted_on"])
    valid, test = (split_name(data["name"], split) for split in ("valid", "test"))
    trained_on = metrics["model"]["trained_on"]
    excluded = "".join(f", {key} {trained_on[key]}" for key in ("dropped", "fold") if key in trained_on)
    further = [literal(key.removeprefix("with ")) for key in trained_on if key.startswith("with ")]
    fitted_too, valid_too = ("".join(f" and {split} of {name}" for name in further) for split in ("train", "valid"))
    joined = " before it was added to the training data" if "valid" in data["fitted_on"] else ", temperature included"
    return (
        f"Fitted on {fitted_on}{excluded}{fitted_too}. All decisions were made on {valid}{valid_too}{joined}, none on "
        f"{test}. No epoch was selected: the model is the averaged weights after a fixed number of epochs."
    )
