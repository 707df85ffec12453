"""Turn a finished run into a shipped model: export, measure, write the card.

    python scripts/release_model.py RUN --data fer2013.csv --audit audits/fer2013
    python scripts/release_model.py RUN --data cartoons.npz --made scripts/draw_cartoons.sh --storage int8

Writes src/mien/models/weights/NAME.onnx, docs/models/NAME.md, and the card's figures and plots beside it. The valid and
test splits are measured, PublicTest and PrivateTest of FER2013; nothing may be decided on the latter, so run this once,
for a final model. With --audit, the accuracy without leaks is reported too. With --made, for data that mien drew, model
and card name the commands of that script that draw it again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from mien.data.audit import read_audit
from mien.data.readers import data_path, read_dataset
from mien.evaluation.evaluate import evaluate
from mien.files import write_text
from mien.models.classifier import OnnxClassifier
from mien.models.onnx_file import read_spec, write_with_spec
from mien.models.store import shipped_dir
from mien.reports.card import MEASURED, released_card
from mien.reports.metrics_json import read_metrics
from mien.reports.plots import curves
from mien.reports.report import write_report
from mien.training import Run

ROOT = Path(__file__).parent.parent
MAX_BYTES = 12_000_000  # of a file in the wheel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", action="append", help="the datasets, the measured one first; the run's if not given")
    parser.add_argument("--audit", help="output of `mien data audit` for it")
    parser.add_argument("--made", type=Path, help="the script that drew the dataset, by mien commands")
    parser.add_argument("--storage", default="float16")
    parser.add_argument("--name", help="name of the model; the run's if not given")
    arguments = parser.parse_args()

    datasets = [read_dataset(data_path(data)) for data in arguments.data or ()]
    run = Run.open(arguments.run, datasets or None)
    dataset = run.datasets[0]
    clusters = None if arguments.audit is None else read_audit(arguments.audit, dataset).clusters
    with tempfile.TemporaryDirectory() as folder:
        path, parity = run.export(target=Path(folder) / "model.onnx", storage=arguments.storage)
        print(parity)
        spec = read_spec(path)
        made = {"made": "\n".join(commands_in(arguments.made))} if arguments.made else {}
        name, origin = arguments.name or spec.name, spec.trained_on | made
        spec = replace(spec, name=name, license="Apache-2.0", trained_on=origin)
        write_with_spec(path, path, spec)
        if (size := path.stat().st_size) > MAX_BYTES:
            raise SystemExit(f"{size:,} bytes are more than {MAX_BYTES:,}; try --storage int8")
        card_folder = ROOT / "docs" / "models" / spec.name
        shutil.rmtree(card_folder, ignore_errors=True)
        figures: dict[str, float] = {}
        classifier = OnnxClassifier(path)
        for split in MEASURED:
            report = write_report(evaluate(classifier, dataset, split=split, clusters=clusters), card_folder / split)
            (report.parent / "report.html").unlink()  # the same once more, with the pictures inside
            for view, result in read_metrics(report.parent / "metrics.json")["views"].items():
                figures[f"{split}/{view}/accuracy"] = result["accuracy"]
        spec = replace(spec, metrics=figures)
        shipped_dir().mkdir(exist_ok=True)
        shipped = shipped_dir() / f"{spec.name}.onnx"
        write_with_spec(path, shipped, spec)
        rows = run.metrics()
        write_text(card_folder / "training.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        curves(rows, card_folder / "curves.png")
        card = released_card(shipped, card_folder)
        write_text(card_folder.parent / f"{spec.name}.md", card)
    print(figures)


def commands_in(script: Path) -> list[str]:
    """Return the mien commands of a shell script, one per line."""
    lines = script.read_text(encoding="utf-8").splitlines()
    if not (commands := [line.strip() for line in lines if line.strip().startswith("mien ")]):
        raise SystemExit(f"{script} has no line that starts with 'mien '; expected the commands that drew the dataset")
    return commands


if __name__ == "__main__":
    main()
