"""Evaluate models trained on photographs on cartoons, and the other way round.

    python scripts/cross_dataset.py --fer2013 fer2013.csv [--cartoons cartoons.npz]

Writes docs/reports/cross-dataset.md, .json and .png. The cartoons are the published data of the model ferg; they are
drawn, which takes some minutes, unless given. FER2013's split is PublicTest, since these are not final figures.
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
from mien.labels import FER2013
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

How does a model trained on one kind of face perform on the other? {cartoonist} was trained on cartoons, the others on
photographs (FER2013). Each classifies each image once (*single* view), uncropped, framed as in its dataset.

{table}

{note}

![{title}]({picture})

- **Cartoons to photographs.** *{cartoonist}* classifies {own} % of the cartoons correctly, of characters that it has
  never seen, and {away} % of the photographs, where always naming the most frequent class would reach {chance} %. The
  prototype of 2020 had a similar result: a net with 100 % on FERG-DB reached about 14 % on FER2013, over all its 7,178
  test images, one in seven.
- **Photographs to cartoons.** Accuracy on photographs and on cartoons: {others}.
- Accuracy on data like the training data says nothing about other data. Measure a model on the kind of image that it
  will be used on.

Photographs: FER2013's PublicTest, on which decisions about the photograph models were made. No decision was based on
these figures, and PrivateTest was not used. Cartoons: characters that *{cartoonist}* has never seen, drawn by
`mien data draw`. The two differ in framing and colour as well, which is part of the difficulty. Wilson's interval
assumes independent images, which images of one character are not.

Produced by `python scripts/cross_dataset.py --fer2013 fer2013.csv`, which draws the cartoons by the commands on
*{cartoonist}*'s [card](../models/{cartoonist}.md). Fingerprints of the data: {fingerprints}. All figures:
[cross-dataset.json](cross-dataset.json).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    others = [model.name for model in list_models() if model.shipped and model.name != CARTOONIST]
    parser.add_argument("models", nargs="*", default=[CARTOONIST, *others], help="default: the shipped models")
    parser.add_argument("--fer2013", default="fer2013")
    parser.add_argument("--cartoons", help="prepared cartoons; default: draw them")
    arguments = parser.parse_args()
    if CARTOONIST not in arguments.models:
        parser.error(f"the report needs {CARTOONIST}; add it")
    try:
        classifiers = [load_classifier(name) for name in arguments.models]
        fer2013 = read_dataset(data_path(arguments.fer2013))
        spec = next(each.spec for each in classifiers if each.spec.name == CARTOONIST)
        cartoons = read_dataset(arguments.cartoons) if arguments.cartoons else drawn(spec)
        if cartoons.fingerprint != spec.trained_on["fingerprint"]:
            sys.exit(f"these are not the cartoons of {CARTOONIST}; its card has the commands that draw them")
        write_cross_report(measure(classifiers, fer2013, cartoons), FOLDER)
    except MienError as error:
        sys.exit(str(error))


def drawn(spec: ModelSpec) -> Dataset:
    """Draw the published data of a cartoon model, by the commands in its spec."""
    with tempfile.TemporaryDirectory() as folder:
        for command in spec.made_by:
            words = shlex.split(command)
            subprocess.run([sys.executable, "-m", "mien", *words[1:]], cwd=folder, check=True)
        return read_dataset(next(Path(folder).glob("*.npz")))


def measure(classifiers: Sequence[OnnxClassifier], fer2013: Dataset, cartoons: Dataset) -> list[Evaluation]:
    """Evaluate each model on photographs and on cartoons."""
    parts = [(fer2013, PARTS["fer2013"]), (cartoons, PARTS["cartoons"])]
    return [
        evaluate(each, data, split=split, views=["single"], head=FER2013.name)
        for each in classifiers
        for data, split in parts
    ]


def write_cross_report(evaluations: Sequence[Evaluation], folder: Path) -> None:
    """Write cross-dataset.md, .json and .png into a folder."""
    metrics = [to_metrics(evaluation) for evaluation in evaluations]
    write_text(folder / "cross-dataset.json", json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    draw_matrix(metrics, folder / "cross-dataset.png")
    write_text(folder / "cross-dataset.md", report_text(metrics))


def report_text(metrics: Sequence[Metrics]) -> str:
    """Return the report as Markdown."""
    of = {(m["model"]["name"], m["data"]["split"]): m["views"]["single"] for m in metrics}
    photographs, cartoons = PARTS["fer2013"], PARTS["cartoons"]

    def percent(model: str, split: str) -> str:
        return f"{100 * of[model, split]['accuracy']:.1f}"

    others = [m["model"]["name"] for m in metrics if m["data"]["split"] == cartoons]
    results = [
        f"*{name}* {percent(name, photographs)} % and {percent(name, cartoons)} % "
        f"(chance: {100 * chance(of[name, cartoons]):.1f} %)"
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
        others="; ".join(results),
        fingerprints="; ".join(f"{name} `{digits}`" for name, digits in fingerprints.items()),
    )


if __name__ == "__main__":
    main()
