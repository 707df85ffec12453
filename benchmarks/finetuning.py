"""Compare the recipe `finetune` on a small folder of images with other ways to train on it.

Two folders simulate a user's own, each with labels that the shipped model does not know. "photos": images of
FER2013's PublicTest, which `base` was not trained on, balanced by class; accuracy on 800 others. "cartoons": drawn
faces; accuracy on 700 images of held-out characters. Each seed selects, or draws, other images, and initialises the
nets differently.

Example: python benchmarks/finetuning.py --data fer2013.csv.gz --seeds 3
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from _common import arguments, markdown, report
from mien.cartoons.characters import CHARACTERS, draw_cartoons
from mien.data.dataset import Dataset
from mien.data.readers import data_path, read_dataset
from mien.errors import MienError
from mien.labels import FER2013, LabelSet
from mien.training import Run, load_recipe

WAYS: dict[str, tuple[str, Mapping[str, object]]] = {
    "finetune": ("`finetune`", {}),
    "frozen": ("… `--freeze backbone`", {"freeze": ["backbone"]}),
    "fast": ("… `--set backbone_rate=1`", {"backbone_rate": 1.0}),
    "scratch": ("from random weights, learning rate 0.1", {"init": "", "backbone_rate": 1.0, "learning_rate": 0.1}),
}
N_TESTED = {"photos": 800, "cartoons": 700}
MINE = LabelSet("mine", tuple("abcdefg"))


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--data", help="FER2013: file, folder or zip; $MIEN_DATA if not given")
    parser.add_argument("-n", type=int, default=100, help="images per class (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="repetitions (default: %(default)s)")
    options = parser.parse_args()
    try:
        known = read_dataset(data_path(options.data))
        folders: dict[str, Callable[[int], Dataset]] = {
            "photos": lambda seed: photos(known, options.n, seed=seed),
            "cartoons": lambda seed: cartoons(options.n, seed=seed),
        }
        found: dict[str, dict[str, list[float]]] = {folder: {way: [] for way in WAYS} for folder in folders}
        for folder, make in folders.items():
            for seed in range(options.seeds):
                data = make(seed)
                for way, (title, settings) in WAYS.items():
                    found[folder][way].append(accuracy(data, settings, seed))
                    print(f"{folder}, seed {seed}, {title}: {found[folder][way][-1]:.1%}", file=sys.stderr, flush=True)
    except MienError as error:
        sys.exit(str(error))
    rows = [[title, *(percent(found[folder][way]) for folder in folders)] for way, (title, _) in WAYS.items()]
    report(
        f"Fine-tuning on {options.n} images per class, accuracy on others, seeds: {options.seeds}",
        [markdown(["", *folders], rows)],
        {"accuracies": found},
        out=options.out,
    )


def photos(known: Dataset, n: int, *, seed: int) -> Dataset:
    """Take n images per class of PublicTest to train on, or two thirds of a class that is too small, and others to test
    on."""
    rng = np.random.default_rng(seed)
    valid = rng.permutation(np.flatnonzero(known.splits == 1))
    of_class = [valid[known.targets[valid] == c] for c in range(len(known.labels))]
    train = np.concatenate([rows[: min(n, 2 * len(rows) // 3)] for rows in of_class])
    tested = np.setdiff1d(valid, train)
    tested = rng.permutation(tested)[: N_TESTED["photos"]]
    splits = np.full(len(known), 2, np.int8)
    splits[train], splits[tested] = 0, 1
    chosen = replace(known, splits=splits, votes=None, labels=MINE, name="mine")
    return chosen.select(np.sort(np.concatenate([train, tested])))


def cartoons(n: int, *, seed: int) -> Dataset:
    """Draw n images per class of some characters, and test images of the others."""
    names = list(CHARACTERS)
    images, targets, splits = [], [], []
    for people, count, split in ((names[2:], 7 * n, 0), (names[:2], N_TESTED["cartoons"], 1)):
        for image, label, _ in draw_cartoons(count, seed=seed, size=96, characters=people):
            images.append(image)
            targets.append(FER2013.index(label))
            splits.append(split)
    return Dataset("mine", np.stack(images), np.array(targets), MINE, splits=np.array(splits, np.int8))


def accuracy(data: Dataset, settings: Mapping[str, object], seed: int) -> float:
    """Train by the recipe with other settings; return the accuracy on the held-out images."""
    with tempfile.TemporaryDirectory() as folder:
        run = Run.start(load_recipe("finetune", {**settings, "seed": seed}), data, Path(folder) / "run")
        run.fit()
        return run.metrics()[-1]["valid_accuracy"]


def percent(values: list[float]) -> str:
    """Return the mean and, for several values, the standard deviation in percent."""
    mean = f"{100 * statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.stdev(values):.1f}"


if __name__ == "__main__":
    main()
