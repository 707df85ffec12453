"""Compare the speed of our training loop with a bare PyTorch loop of the same net (extra: train).

Ours is `mien.training.Run.fit`: augmentation, gradient clipping, averaged weights, and one checkpoint per epoch of
FER2013's size. The bare loop repeats forward, backward and an SGD step on one batch. Both take turns in one process,
with the same precision and threads. Target: ours reaches at least 0.95 of the bare loop's images/s.

With --processes, compare the processor time per image of two processes that share each batch with that of one instead,
all with one thread, in turns. Target: at most 1.15 times that of one.

Example: python benchmarks/training.py --net base --size 32 --out training.json
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from _common import Target, arguments, markdown, report, target_data, target_table
from mien.cores import usable_cores, use_one_core
from mien.data.dataset import Dataset
from mien.labels import FER2013
from mien.nets.nets import build_net
from mien.training import Run
from mien.training.precision import fastest_precision
from mien.training.recipe import Stage, TrainConfig, load_recipe, recipe_names

RATIO = 0.95
CPU_RATIO = 1.15
TRAIN_IMAGES = 28_709  # FER2013 Training: the epoch that one checkpoint is spread over
WARMUP = 3  # steps of each turn that are not measured: first calls choose and compile kernels


@dataclass(frozen=True, slots=True)
class Turn:
    """Speeds of one round in images/s; ours includes its checkpoint, which took `checkpoint_seconds`."""

    ours: float
    bare: float
    checkpoint_seconds: float

    @property
    def ratio(self) -> float:
        return self.ours / self.bare


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--net", default="vgg-b", choices=recipe_names(), help="recipe (default: %(default)s)")
    parser.add_argument("--size", type=int, default=48, help="side of the images in pixels (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="images per step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=40, help="measured steps per turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each loop (default: %(default)s)")
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "32-true", "bf16-mixed", "both"),
        help="auto takes the faster one; both compares the two, in the bare loop only",
    )
    parser.add_argument("--processes", action="store_true", help="compare two processes with one, in processor time")
    parser.add_argument("--rank-of", type=Path, help=argparse.SUPPRESS)  # set in these processes: where they report
    options = parser.parse_args()
    if options.rank_of is not None:
        train_as_rank(options)
        return
    torch.set_num_threads(usable_cores())  # as `Trainer` does
    config = replace(load_recipe(options.net), stages=(Stage(size=options.size, epochs=1),), batch_size=options.batch)
    if options.processes:
        compare_processes(options.net, config, steps=options.steps, rounds=options.rounds, out=options.out)
    elif options.precision == "both":
        compare_precisions(config, steps=options.steps, rounds=options.rounds, out=options.out)
    else:
        precision = fastest_precision() if options.precision == "auto" else options.precision
        compare_loops(replace(config, precision=precision), steps=options.steps, rounds=options.rounds, out=options.out)


def compare_loops(config: TrainConfig, *, steps: int, rounds: int, out: Path | None) -> None:
    """Time our loop and the bare one in turns; print and write the results."""
    turns = []
    for number in range(rounds):
        sides = ("ours", "bare") if number % 2 == 0 else ("bare", "ours")  # neither has the warmer processor
        seconds = {}
        for side in sides:
            if side == "ours":
                seconds["ours"], seconds["checkpoint"] = our_seconds(config, steps=steps)
            else:
                seconds["bare"] = bare_seconds(config, steps=steps)
        ours = epoch_speed(seconds["ours"], seconds["checkpoint"], batch=config.batch_size, images=TRAIN_IMAGES)
        turns.append(Turn(ours, config.batch_size / seconds["bare"], seconds["checkpoint"]))
    rows = [
        [f"round {i}", f"{t.ours:.1f}", f"{t.bare:.1f}", f"{t.ratio:.3f}", f"{t.checkpoint_seconds:.2f} s"]
        for i, t in enumerate(turns, start=1)
    ]
    target = Target(
        what="ours / bare, median round", value=statistics.median(t.ratio for t in turns), limit=RATIO, at_least=True
    )
    report(
        f"Training: {config.net}, images/s, {steps} steps per round",
        [markdown(["", "ours", "bare", "ratio", "checkpoint"], rows), target_table([target])],
        {"targets": target_data([target]), "rounds": [asdict(t) | {"ratio": t.ratio} for t in turns]},
        out=out,
        **conditions(config),
        precision=config.precision,
    )


def compare_precisions(config: TrainConfig, *, steps: int, rounds: int, out: Path | None) -> None:
    """Time the bare loop in float32 and bfloat16 in turns; print and write the results."""
    full, half = replace(config, precision="32-true"), replace(config, precision="bf16-mixed")
    speeds: dict[str, list[float]] = {"32-true": [], "bf16-mixed": []}
    for _ in range(rounds):
        for one in (full, half):
            speeds[one.precision].append(config.batch_size / bare_seconds(one, steps=steps))
    rows = [[name, *(f"{s:.1f}" for s in values)] for name, values in speeds.items()]
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    report(
        f"Training: {config.net}, images/s of the bare loop, {steps} steps per round",
        [
            markdown(["precision", *(f"round {i + 1}" for i in range(rounds))], rows),
            f"bf16-mixed has {medians['bf16-mixed'] / medians['32-true']:.2f} times the speed of 32-true.",
        ],
        {"rounds": speeds, "medians": medians},
        out=out,
        **conditions(config),
    )


def compare_processes(recipe: str, config: TrainConfig, *, steps: int, rounds: int, out: Path | None) -> None:
    """Measure the processor time per image of one and of two processes in turns; print and write the results."""
    times: dict[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for n in (1, 2) if number % 2 == 0 else (2, 1):
            times[n].append(processor_time(recipe, config, n, steps=steps))
    ratios = [two / one for one, two in zip(times[1], times[2], strict=True)]
    rows = [
        [f"round {i}", f"{1000 * one:.1f}", f"{1000 * two:.1f}", f"{ratio:.3f}"]
        for i, (one, two, ratio) in enumerate(zip(times[1], times[2], ratios, strict=True), start=1)
    ]
    target = Target(
        what="two processes / one, median round", value=statistics.median(ratios), limit=CPU_RATIO, at_least=False
    )
    report(
        f"Training: {config.net}, ms of processor time per image, {steps} steps per round",
        [markdown(["", "one process", "two processes", "ratio"], rows), target_table([target])],
        {"targets": target_data([target]), "seconds": times},
        out=out,
        **conditions(config) | {"torch_threads": 1},
    )


def processor_time(recipe: str, config: TrainConfig, n: int, *, steps: int) -> float:
    """Return the seconds of processor time per image, of n processes together."""
    with tempfile.TemporaryDirectory() as folder:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n), "--"]
        options = ("--net", recipe, "--size", config.stages[0].size, "--batch", config.batch_size, "--steps", steps)
        subprocess.run([*launcher, __file__, *map(str, options), "--rank-of", folder], check=True)
        return sum(float(file.read_text()) for file in Path(folder).glob("*.txt")) / (steps * config.batch_size)


def train_as_rank(options: argparse.Namespace) -> None:
    """Train as one of the processes that torchrun started, and report its processor time after the warm-up."""
    use_one_core()
    stage = Stage(size=options.size, epochs=1)
    config = replace(load_recipe(options.net), stages=(stage,), batch_size=options.batch, precision="32-true")
    watch = Watch(time.process_time)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        images = random_images(config.batch_size * (options.steps + WARMUP), config)
        Run.start(config, images, options.rank_of / "run").fit(watch)
    spent = watch.steps[-1] - watch.steps[WARMUP - 1]
    (options.rank_of / f"{os.environ['RANK']}.txt").write_text(str(spent))


def conditions(config: TrainConfig) -> dict[str, object]:
    return {
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "batch": config.batch_size,
        "size": config.stages[0].size,
    }


class Watch:
    """A reporter that records the end of each step and of the epoch, by a clock."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.steps: list[float] = []
        self.end = 0.0

    def step(self, epoch: int, done: int, total: int, loss: float, images_per_second: float) -> None:
        self.steps.append(self.clock())

    def epoch(self, row: Mapping[str, float]) -> None:
        self.end = self.clock()


def our_seconds(config: TrainConfig, *, steps: int) -> tuple[float, float]:
    """Train one epoch with `Run.fit`; return the seconds per step, and those from the last step to the epoch's end."""
    n = config.batch_size * (steps + WARMUP)
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a stage may be smaller than the model's input
        Run.start(config, random_images(n, config), Path(folder, "run")).fit(watch)
    return step_seconds(watch.steps), watch.end - watch.steps[-1]


def bare_seconds(config: TrainConfig, *, steps: int) -> float:
    """Return the seconds per step of the simplest loop: one batch, repeated."""
    size, channels = config.stages[0].size, config.preprocess.channels
    net = build_net(config.net, config.preprocess, {FER2013.name: len(FER2013)}).train()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    optimizer = torch.optim.SGD(
        net.parameters(), lr=0.01, momentum=config.momentum, nesterov=True, weight_decay=config.weight_decay
    )
    images = torch.randn(config.batch_size, channels, size, size).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(len(FER2013), (config.batch_size,))
    times = []
    for _ in range(steps + WARMUP):
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16-mixed"):
            logits = net(images)[FER2013.name]
        loss = F.cross_entropy(logits.float(), targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        times.append(time.perf_counter())
    return step_seconds(times)


def step_seconds(times: Sequence[float]) -> float:
    """Return the mean seconds per step, without the first `WARMUP`."""
    return (times[-1] - times[WARMUP - 1]) / (len(times) - WARMUP)


def epoch_speed(step: float, checkpoint: float, *, batch: int, images: int) -> float:
    """Return the images/s of an epoch: its steps and one checkpoint.

    Args:
        step: Seconds per step.
        checkpoint: Seconds from the last step to the epoch's end.
        batch: Images per step; the last short batch is dropped.
        images: Training images.
    """
    steps = images // batch
    return steps * batch / (steps * step + checkpoint)


def random_images(n: int, config: TrainConfig) -> Dataset:
    """Return noise to train on, without a valid split: the bare loop doesn't validate either."""
    rng = np.random.default_rng(0)
    side, channels = config.preprocess.size, config.preprocess.channels
    return Dataset(
        name="noise",
        images=rng.integers(0, 256, (n, side, side, channels), dtype=np.uint8),
        targets=rng.integers(0, len(FER2013), n),
        labels=FER2013,
        splits=np.zeros(n, np.int8),
    )


if __name__ == "__main__":
    main()
