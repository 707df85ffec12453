"""Commands about this machine: how fast it is, and what is amiss on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.arguments import Json, Model, ModelsDir
from mien.cli.console import escaped, new_table, out, say


def bench_command(
    photo: Annotated[
        Path | None, typer.Argument(help="A picture with a face; without one, detectors are not measured.")
    ] = None,
    model: Model = "base",
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each stage.")] = 50,
    as_json: Json = False,
    models_dir: ModelsDir = None,
) -> None:
    """Measure how long each stage takes on this machine, from finding faces to naming what they show.

    Example: `mien bench photo.jpg`
    """
    from dataclasses import asdict

    from mien.machine.bench import bench
    from mien.sources.pictures import read_picture

    result = bench(None if photo is None else read_picture(photo), model, models_dir=models_dir, repeats=repeats)
    if as_json:
        print(json.dumps(asdict(result), indent=2))
        return
    width, height = result.size
    table = new_table("stage", "median", "90th percentile", title=f"{result.model}, {width}×{height}")
    for t in result.timings:
        table.add_row(t.stage, f"{t.median_ms:.2f} ms", f"{t.p90_ms:.2f} ms")
    out.print(table)
    for stage, reason in result.skipped.items():
        say(f"not measured: {stage}: {reason}")
    say(", ".join(f"{name} {value}" for name, value in result.machine.items()))


def doctor_command(as_json: Json = False, models_dir: ModelsDir = None) -> None:
    """Show what a report of a problem must tell: versions, machine, models, cameras, and what is amiss.

    Example: `mien doctor --json`
    """
    from mien.machine.doctor import doctor

    facts = doctor(models_dir)
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    hints = facts.pop("hints")
    table = new_table("what", "found")
    for what, found in facts.items():
        text = "\n".join(found) if isinstance(found, list) else str(found)
        table.add_row(what.replace("_", " "), escaped(text or "none"))
    out.print(table)
    for hint in hints if isinstance(hints, list) else []:
        say(f"hint: {hint}")
