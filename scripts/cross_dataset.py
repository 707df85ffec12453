"""Measure models on the kind of faces that others of them were trained on: photographs and cartoons.

    python scripts/cross_dataset.py --fer2013 fer2013.csv [--cartoons cartoons.npz]

Writes docs/reports/cross-dataset.md, .json and .png. The cartoons are those that the model ferg is published with; they
are drawn, which takes some minutes, unless they are given. FER2013's part is PublicTest, since nothing here is a final
figure of a model for photographs.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mien.data.dataset import Dataset, Split
from mien.data.readers import data_path, read_dataset
from mien.errors import MienError
from mien.evaluation.evaluate import evaluate
from mien.evaluation.results import Evaluation
from mien.files import write_text
from mien.models.classifier import OnnxClassifier, load_classifier
from mien.models.spec import ModelSpec
from mien.models.store import list_models
from mien.reports.metrics_json import Metrics, chance, to_metrics
from mien.reports.overview import MATRIX_NOTE, MATRIX_TITLE, draw_matrix
from mien.reports.tables import matrix_table

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reports"
CARTOONIST = "ferg"
PARTS: dict[str, Split] = {"fer2013": "valid", "cartoons": "test"}
TEXT = """\
# Photographs and cartoons

Does a model of one kind of face know the other? Each model looks once at each picture (*single*), whole, as its dataset
frames it. {cartoonist} learnt from cartoons, the others from photographs (FER2013).

{table}

{note}

![{title}]({picture})

- **Cartoons to photographs.** *{cartoonist}* names {own} % of cartoon characters right that it has never seen, and
  {away} % of photographs, where naming the commonest class would give {chance} %. The prototype of 2020 found the like:
  a net that reached 100 % on FERG-DB came to about 14 % on FER2013, over all its 7,178 test images, one in seven.
- **Photographs to cartoons.** {others}.
- Accuracy on data like that of the training says nothing about other data. A model is worth what it does on the
  pictures it is used on.

Photographs: FER2013's PublicTest, on which the models of photographs took their decisions; nothing was decided on these
figures, and PrivateTest was not looked at. Cartoons: the characters that *{cartoonist}* never saw, drawn by `mien data
draw`. Neither is framed as the other is, nor coloured: that is part of what a model has to cope with. Wilson's interval
takes each picture for a draw by itself, which pictures of one character are not.

Made by `python scripts/cross_dataset.py --fer2013 fer2013.csv`, which draws the cartoons as the
[card](../models/{cartoonist}.md) of *{cartoonist}* says. Fingerprints of the data: {fingerprints}. All figures:
[cross-dataset.json](cross-dataset.json).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    others = [model.name for model in list_models() if model.shipped and model.name != CARTOONIST]
    parser.add_argument(
        "models", nargs="*", default=[CARTOONIST, *others], help="those that come with mien if not given"
    )
    parser.add_argument("--fer2013", default="fer2013")
    parser.add_argument("--cartoons", help="the prepared cartoons; drawn if not given")
    arguments = parser.parse_args()
    if CARTOONIST not in arguments.models:
        parser.error(f"the report is about {CARTOONIST}; name it too")
    try:
        classifiers = [load_classifier(name) for name in arguments.models]
        fer2013 = read_dataset(data_path(arguments.fer2013))
        spec = next(each.spec for each in classifiers if each.spec.name == CARTOONIST)
        cartoons = read_dataset(arguments.cartoons) if arguments.cartoons else drawn(spec)
        if cartoons.fingerprint != spec.trained_on["fingerprint"]:
            sys.exit(f"these are not the cartoons of {CARTOONIST}, which its card says how to draw")
        write_cross_report(measure(classifiers, fer2013, cartoons), FOLDER)
    except MienError as error:
        sys.exit(str(error))


def drawn(spec: ModelSpec) -> Dataset:
    """Draw the cartoons that a model is published with, by the commands in its spec."""
    with tempfile.TemporaryDirectory() as folder:
        for command in spec.made_by:
            words = shlex.split(command)
            subprocess.run([sys.executable, "-m", "mien", *words[1:]], cwd=folder, check=True)
        return read_dataset(next(Path(folder).glob("*.npz")))


def measure(classifiers: Sequence[OnnxClassifier], fer2013: Dataset, cartoons: Dataset) -> list[Evaluation]:
    """Let each model look at photographs and at cartoons."""
    parts = [(fer2013, PARTS["fer2013"]), (cartoons, PARTS["cartoons"])]
    return [evaluate(each, data, split=split, views=["single"]) for each in classifiers for data, split in parts]


def write_cross_report(evaluations: Sequence[Evaluation], folder: Path) -> None:
    """Write cross-dataset.md, .json and .png into a folder."""
    metrics = [to_metrics(evaluation) for evaluation in evaluations]
    write_text(folder / "cross-dataset.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    draw_matrix(metrics, folder / "cross-dataset.png")
    write_text(folder / "cross-dataset.md", report_text(metrics))


def report_text(metrics: Sequence[Metrics]) -> str:
    """Return the text of the report for what it holds."""
    of = {(m["model"]["name"], m["data"]["split"]): m["views"]["single"] for m in metrics}
    photographs, cartoons = PARTS["fer2013"], PARTS["cartoons"]

    def percent(model: str, split: str) -> str:
        return f"{100 * of[model, split]['accuracy']:.1f}"

    others = [m["model"]["name"] for m in metrics if m["data"]["split"] == cartoons]
    told = [
        f"*{name}* names {percent(name, photographs)} % of the photographs right and {percent(name, cartoons)} % of "
        f"the cartoons (chance: {100 * chance(of[name, cartoons]):.1f} %)"
        for name in others
        if name != CARTOONIST
    ]
    fingerprints = {m["data"]["name"]: m["data"]["fingerprint"] for m in metrics}
    return TEXT.format(
        table=matrix_table(metrics),
        note=MATRIX_NOTE,
        title=MATRIX_TITLE,
        picture="cross-dataset.png",
        cartoonist=CARTOONIST,
        own=percent(CARTOONIST, cartoons),
        away=percent(CARTOONIST, photographs),
        chance=f"{100 * chance(of[CARTOONIST, photographs]):.1f}",
        others="; ".join(told),
        fingerprints="; ".join(f"{name} `{digits}`" for name, digits in fingerprints.items()),
    )


if __name__ == "__main__":
    main()
