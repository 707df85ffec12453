"""Fuzz the doors: `make fuzz`, or python tests/fuzz/fuzzing.py [--inputs N] [DOOR …].

Prints inputs and faults per door; one input of each kind of fault is kept in the folder fuzz-faults. With Atheris
(pip install atheris), --guided DOOR goes on by the code that inputs reach, until it is stopped or finds a fault.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])
    sys.path.insert(1, str(Path(__file__).parents[2] / "src"))

from hypothesis import HealthCheck, Phase, given, seed, settings

from fuzz.strategies import STRATEGIES
from fuzz.worker import Case, Outcome, Worker, open_case

FAULTS = Path("fuzz-faults")
# Shares of the inputs: fewer of those that take long.
WEIGHTS = dict.fromkeys(STRATEGIES, 1.0) | {
    "picture": 2, "spec": 2, "run": 0.5, "model": 0.3, "keras": 0.5, "command": 0.4, "video": 0.7,
}  # fmt: skip


@dataclass
class Findings:
    """The outcomes of the inputs of a door.

    Args:
        inputs: Their number.
        accepted: How many were taken, not refused.
        faults: How often each fault was found.
        first: The first outcome and input of each fault.
    """

    inputs: int = 0
    accepted: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[Outcome, Case]] = field(default_factory=dict)


def fuzz(door: str, n: int, worker: Worker, *, number: int | None = None) -> Findings:
    """Open n inputs at a door.

    Args:
        door: Name in `STRATEGIES`.
        n: Number of inputs; a few fewer if the strategy repeats itself.
        worker: Opens them.
        number: Seed of the inputs; always the same ones when None.
    """
    found = Findings()

    @settings(
        max_examples=n, deadline=None, database=None, phases=[Phase.generate], derandomize=number is None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=STRATEGIES[door])
    def each(case: Case) -> None:
        outcome = worker.open(door, case)
        found.inputs += 1
        found.accepted += outcome.accepted
        if outcome.fault:
            found.faults[outcome.fault] += 1
            found.first.setdefault(outcome.fault, (outcome, case))

    (each if number is None else seed(number)(each))()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--inputs", type=int, default=10_000, help="over all doors")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("doors", nargs="*", default=list(STRATEGIES), metavar="DOOR")
    parser.add_argument("--guided", metavar="DOOR", choices=list(STRATEGIES), help="by Atheris")
    arguments = parser.parse_args()
    if arguments.guided:
        _fuzz_guided(arguments.guided)
    whole, total, wrong = sum(WEIGHTS[door] for door in arguments.doors), 0, 0
    with Worker() as worker:
        for door in arguments.doors:
            n = max(round(arguments.inputs * WEIGHTS[door] / whole), 1)
            found = fuzz(door, n, worker, number=arguments.seed)
            total, wrong = total + found.inputs, wrong + found.faults.total()
            print(
                f"{door}: {found.inputs:,} inputs, {found.accepted:,} accepted, {found.faults.total():,} faults of "
                f"{len(found.faults)} kinds", flush=True,
            )  # fmt: skip
            for fault, count in found.faults.most_common():
                print(f"  {count} × {fault}", flush=True)
                _keep(*found.first[fault])
    print(f"all: {total:,} inputs, {wrong:,} faults")
    sys.exit(bool(wrong))


def _fuzz_guided(door: str) -> None:
    """Fuzz a door in this process, guided by coverage."""
    import atheris

    with atheris.instrument_imports(include=["mien"]):
        open_case(door, Case({}, ("nothing",)))  # imports the modules behind the door

    @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=STRATEGIES[door])
    def each(case: Case) -> None:
        outcome = open_case(door, case)
        assert not outcome.fault, outcome

    atheris.Setup(sys.argv[:1], each.hypothesis.fuzz_one_input)
    atheris.Fuzz()


def _keep(outcome: Outcome, case: Case) -> None:
    """Write an input and its traceback into a folder; `worker.py` reads the input."""
    FAULTS.mkdir(exist_ok=True)
    name = "".join(c if c.isalnum() else "-" for c in outcome.fault)[:100]
    (FAULTS / f"{name}.pickle").write_bytes(pickle.dumps((outcome.fault.partition(":")[0], *case)))
    (FAULTS / f"{name}.txt").write_text(f"{outcome.fault}\n{case.arguments!r}\n{outcome.details}\n", "utf-8", "replace")


if __name__ == "__main__":
    main()
