"""Compare trained nets with the first of them, on PublicTest.

    python scripts/compare_nets.py runs/base-short runs/base-cbam-short … --data fer2013.csv

Each is a run folder, whose model is exported unless it already is, or an .onnx file of mien's. Writes
docs/reports/attention.md and the same figures as attention.json beside it. Nothing is measured on PrivateTest.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import textwrap
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from mien.data.dataset import Dataset
from mien.data.readers import data_path, read_dataset
from mien.errors import MienError, ModelError
from mien.evaluation.compare import SIGNIFICANT, Comparison, compare, holm
from mien.evaluation.evaluate import evaluate
from mien.evaluation.results import Accuracy, Evaluation
from mien.files import make_folder, write_text
from mien.machine.bench import BATCH, time_stage
from mien.machine.facts import git_commit, machine_facts
from mien.models.classifier import OnnxClassifier
from mien.models.spec import ModelSpec
from mien.nets.cost import Cost, cost_of
from mien.nets.nets import NETS, build_net
from mien.reports.tables import p_text, split_name, table
from mien.training import Run
from mien.training.recipe import TrainConfig, current_settings

ROOT = Path(__file__).parent.parent
VIEWS = ("single", "flip")
WIDTH = 120  # characters a line of the page
VERDICTS = ("better", "worse", "not significant")
ROUNDS = 5  # of timing, in which all nets take turns
FREE = {"net", "name"}  # settings of a recipe that may differ between compared nets
USUAL = json.loads(json.dumps(asdict(TrainConfig(net="base"))))  # for settings that a recipe is too old to name


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The figures of one net.

    Args:
        name: Of the model.
        net: Its architecture.
        cost: Parameters, and multiply-accumulates per image.
        face_ms: Milliseconds per face on one thread, in batches of 8: the median of the rounds.
        accuracies: By view.
        against: Its comparison with the first net by view; none for the first.
        p_value: Of the single view, adjusted for the number of nets by Holm's method; 1 for the first.
        differs: Settings of its recipe, except net and name, that differ from the first net's; also its data.
    """

    name: str
    net: str
    cost: Cost
    face_ms: float
    accuracies: dict[str, Accuracy]
    against: dict[str, Comparison]
    p_value: float
    differs: tuple[str, ...]

    @property
    def verdict(self) -> str:
        if not self.against:
            return ""
        if self.p_value >= SIGNIFICANT:
            return "not significant"
        return "better" if self.against["single"].difference > 0 else "worse"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the others are compared with the first")
    parser.add_argument("--data", help="the dataset; $MIEN_DATA if not given")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/reports/attention.md", help="the page to write")
    options = parser.parse_args()
    try:
        dataset = read_dataset(data_path(options.data))
        rows = rows_of([model_of(run, dataset) for run in options.runs], dataset)
        make_folder(options.out.parent)
        figures = {"machine": where(), "data": dataset.fingerprint, "nets": [plain(row) for row in rows]}
        write_text(options.out.with_suffix(".json"), json.dumps(figures, indent=2) + "\n")
        write_text(options.out, page_of(rows, dataset))
    except MienError as error:
        sys.exit(str(error))
    print(options.out)


def model_of(run: Path, dataset: Dataset) -> Path:
    """Return the model of a run, exporting it if necessary; a file is returned as it is."""
    if run.is_file():
        return run
    opened = Run.open(run, dataset)
    return opened.model if opened.model.exists() else opened.export()[0]


def rows_of(models: list[Path], dataset: Dataset) -> list[Row]:
    """Evaluate models on the valid split, and compare each with the first."""
    classifiers = [OnnxClassifier(path) for path in models]
    names = [classifier.spec.name for classifier in classifiers]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ModelError(f"several models are called '{repeated[0]}'; give each once, or train it with another name")
    costs = [cost(classifier) for classifier in classifiers]
    evaluations = [evaluate(classifier, dataset, split="valid", views=VIEWS) for classifier in classifiers]
    times = faces_ms([OnnxClassifier(path, threads=1) for path in models], dataset)
    first, others = evaluations[0], evaluations[1:]
    comparisons = [{view: compare(first, other, view=view) for view in VIEWS} for other in others]
    p_values = holm([comparison["single"].p_value for comparison in comparisons])
    rows = zip(evaluations, costs, times, [{}, *comparisons], [1.0, *p_values], strict=True)
    return [row(*parts, first=first.spec) for parts in rows]


def row(
    evaluation: Evaluation,
    cost: Cost,
    face_ms: float,
    against: dict[str, Comparison],
    p_value: float,
    *,
    first: ModelSpec,
) -> Row:
    specs = (evaluation.spec, first)
    ours, theirs = (
        {**USUAL, **current_settings(spec.recipe), "data": spec.trained_on.get("fingerprint")} for spec in specs
    )
    return Row(
        name=evaluation.name,
        net=evaluation.spec.arch,
        cost=cost,
        face_ms=face_ms,
        accuracies={view: evaluation.views[view].accuracy for view in VIEWS},
        against=against,
        p_value=p_value,
        differs=tuple(k for k in sorted({*ours, *theirs} - FREE) if ours.get(k) != theirs.get(k)),
    )


def cost(classifier: OnnxClassifier) -> Cost:
    spec = classifier.spec
    if spec.arch not in NETS:
        raise ModelError(
            f"{classifier.path} is a model of another origin, whose architecture mien doesn't know; leave it out"
        )
    heads = {head.labels.name: len(head.labels) for head in spec.heads}
    return cost_of(build_net(spec.arch, spec.preprocess, heads), spec.preprocess)


def faces_ms(classifiers: list[OnnxClassifier], dataset: Dataset) -> list[float]:
    """Return the milliseconds per face of each model; the models take turns, so that other load affects all alike."""
    faces = list(dataset.split("valid").images[:BATCH])
    times: list[list[float]] = [[] for _ in classifiers]
    for _ in range(ROUNDS):
        for classifier, found in zip(classifiers, times, strict=True):
            run = partial(classifier.predict_proba, faces)
            found.append(time_stage(classifier.spec.name, run, repeats=10).median_ms / len(faces))
    return [sorted(found)[ROUNDS // 2] for found in times]


def page_of(rows: list[Row], dataset: Dataset) -> str:
    """Return the page."""
    first, *others = rows
    header = ["model", "parameters, M", "MMAC", "ms per face", "single, %", "flip, %", "single, points", "flip, points"]
    lines = [
        [
            r.name,
            f"{r.cost.parameters / 1e6:.2f}",
            f"{r.cost.macs / 1e6:.0f}",
            f"{r.face_ms:.2f}",
            *(interval(r.accuracies[view]) for view in VIEWS),
            *(difference(r.against[view]) if r.against else "" for view in VIEWS),
            p_text(r.p_value) if r.against else "",
            r.verdict,
        ]
        for r in rows
    ]
    place = f"{dataset.name} {split_name(dataset.name, 'valid')}"
    notes = [
        f"The trainings differ only in the net. Accuracy is on {place}: {first.accuracies['single'].n:,} images, on "
        f"none of which a net was fitted. Points are the net's minus those of {first.name}. In brackets are 95 % "
        "intervals: Wilson's of an accuracy, and of a difference that for pairs (Newcombe 1998, method 10). p is from "
        "McNemar's exact test in the single view, adjusted for the number of nets by Holm's method. A net is *better* "
        f"or *worse* if p < {SIGNIFICANT}; otherwise this many images show no significant difference.",
        "Each net was trained once, with one seed. The intervals describe the variation between images, not between "
        "seeds; that takes three or more trainings of each net.",
        "Milliseconds are on one thread, in batches of 8, on this machine; their ratios say more.",
    ]
    notes += [
        f"**{r.name} was not trained as {first.name}:** {', '.join(r.differs)} differ, so the difference is not due "
        "to the net alone."
        for r in others
        if r.differs
    ]
    facts = ", ".join(f"{name} {value}" for name, value in where().items())
    parts = [
        "# Attention and recurrence",
        textwrap.fill(conclusion(rows), WIDTH, break_on_hyphens=False),
        table([*header, "p", "verdict"], lines),
        "\n".join(textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in legend(rows)),
        *(textwrap.fill(note, WIDTH) for note in notes),
        textwrap.fill(f"Produced by scripts/compare_nets.py; {facts}; data {dataset.fingerprint[:12]}.", WIDTH),
    ]
    return "\n\n".join(parts) + "\n"


def conclusion(rows: list[Row]) -> str:
    """Return a sentence with the nets of each verdict."""
    first, *others = rows
    named = {verdict: [r.name for r in others if r.verdict == verdict] for verdict in VERDICTS}
    said = (f"{verdict}: {', '.join(names) or 'none'}" for verdict, names in named.items())
    return f"Compared with {first.name}: {'; '.join(said)}."


def legend(rows: list[Row]) -> list[str]:
    """Return one list item per net: the first line of its docstring."""
    return [f"- {r.name}: {(inspect.getdoc(NETS[r.net]) or '').splitlines()[0]}" for r in rows]


def interval(accuracy: Accuracy) -> str:
    return f"{100 * accuracy.value:.2f} ({100 * accuracy.low:.2f}–{100 * accuracy.high:.2f})"


def difference(comparison: Comparison) -> str:
    middle, low, high = (f"{100 * x:+.2f}" for x in (comparison.difference, comparison.low, comparison.high))
    return f"{middle} ({low} to {high})".replace("-", "−")


def plain(row: Row) -> dict[str, object]:
    """Return a row as plain data for JSON, without the per-class part of comparisons."""
    against = {view: asdict(replace(comparison, classes=[])) for view, comparison in row.against.items()}
    return asdict(replace(row, against={})) | {"against": against, "verdict": row.verdict}


def where() -> dict[str, object]:
    return {**machine_facts(), "commit": git_commit()}


if __name__ == "__main__":
    main()
