"""Cost of each net relative to `base`: parameters, multiply–adds, time per face, training speed (extra: train).

Each is built for the input of its recipe, with random weights, as these cost the same as trained ones. Faces are
classified by ONNX Runtime on one thread, in batches of 8. Training is a bare loop on one batch. The nets take turns
in one process; of each figure the median is told, and its ratio to `base` in the same run.

Example: python benchmarks/nets.py --nets base base-cbam --out nets.json
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from _common import arguments, markdown, report
from mien.cores import usable_cores
from mien.labels import FER2013
from mien.machine.bench import BATCH, threads, time_stage
from mien.models.classifier import OnnxClassifier
from mien.models.spec import Head, ModelSpec
from mien.nets.cost import Cost, cost_of
from mien.nets.export import export
from mien.nets.nets import NETS, build_net
from mien.training.precision import fastest_precision
from mien.training.recipe import TrainConfig, load_recipe, recipe_names
from training import bare_seconds

BASE = "base"


@dataclass(frozen=True, slots=True)
class Figures:
    """Cost of one net: see `Cost`; milliseconds per face, and images per second in training."""

    size: int
    cost: Cost
    face_ms: float
    images_per_second: float


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS), help="nets (default: all)")
    parser.add_argument("--repeats", type=int, default=10, help="timed batches a round (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=4, help="counted steps a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each net (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="pictures a step (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(usable_cores())  # as training does
    precision = fastest_precision()
    nets = [BASE, *(net for net in options.nets if net != BASE)]
    configs = {net: replace(recipe_of(net), batch_size=options.batch, precision=precision) for net in nets}
    figures = measure(configs, repeats=options.repeats, steps=options.steps, rounds=options.rounds)
    report(
        f"Nets beside {BASE}, median of {options.rounds} rounds",
        [table(figures)],
        {"nets": {net: asdict(one) for net, one in figures.items()}},
        out=options.out,
        torch=torch.__version__,
        torch_threads=torch.get_num_threads(),
        batch=options.batch,
        precision=precision,
        **threads(),
    )


def recipe_of(net: str) -> TrainConfig:
    """Return the recipe that is named like a net, else the first that trains it; its last stage alone."""
    recipes = [load_recipe(name) for name in sorted(recipe_names(), key=lambda name: name != net)]
    config = next(recipe for recipe in recipes if recipe.net == net)
    return replace(config, stages=config.stages[-1:], init="", freeze=())


def measure(configs: dict[str, TrainConfig], *, repeats: int, steps: int, rounds: int) -> dict[str, Figures]:
    """Time the nets in turns."""
    faces = list(np.random.default_rng(0).integers(0, 256, (BATCH, 48, 48, 1), dtype=np.uint8))
    face_ms: dict[str, list[float]] = {net: [] for net in configs}
    speeds: dict[str, list[float]] = {net: [] for net in configs}
    costs: dict[str, Cost] = {}
    classifiers: dict[str, OnnxClassifier] = {}
    with tempfile.TemporaryDirectory() as folder:
        for net, config in configs.items():
            built = build_net(net, config.preprocess, {FER2013.name: len(FER2013)})
            costs[net] = cost_of(built, config.preprocess)
            spec = ModelSpec(name=net, arch=net, heads=(Head(FER2013),), preprocess=config.preprocess)
            path = Path(folder, f"{net}.onnx")
            export(built, spec, path, storage="float32")
            classifiers[net] = OnnxClassifier(path, threads=1)
        for _ in range(rounds):
            for net, config in configs.items():
                run = partial(classifiers[net].predict_proba, faces)
                face_ms[net].append(time_stage(net, run, repeats=repeats).median_ms / BATCH)
                speeds[net].append(config.batch_size / bare_seconds(config, steps=steps))
    return {
        net: Figures(
            config.preprocess.size, costs[net], statistics.median(face_ms[net]), statistics.median(speeds[net])
        )
        for net, config in configs.items()
    }


def table(figures: dict[str, Figures]) -> str:
    base = figures[BASE]
    rows = [
        [
            net,
            f"{one.size}",
            with_ratio(one.cost.parameters / 1e6, base.cost.parameters / 1e6, digits=2),
            with_ratio(one.cost.macs / 1e6, base.cost.macs / 1e6, digits=0),
            with_ratio(one.face_ms, base.face_ms, digits=2),
            with_ratio(one.images_per_second, base.images_per_second, digits=0),
        ]
        for net, one in figures.items()
    ]
    header = ["net", "size", "parameters, M", "MMAC", "ms a face", "pictures a second in training"]
    return markdown(header, rows) + f"\n\nIn brackets: times that of {BASE}."


def with_ratio(value: float, base: float, *, digits: int) -> str:
    return f"{value:.{digits}f} ({value / base:.2f})"


if __name__ == "__main__":
    main()
