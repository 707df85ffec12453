"""Commands about this machine: its speed, and a diagnosis."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.arguments import Json, Model, ModelsDir
from mien.cli.console import cell, new_table, notice, print_json, print_table, say
from mien.errors import MienError
from mien.models.spec import DEFAULT_MODEL

if TYPE_CHECKING:
    from mien.machine.bench import BenchResult


def bench_command(
    photo: Annotated[
        Path | None, typer.Argument(help="An image with a face; without one, detectors are not measured.")
    ] = None,
    model: Model = DEFAULT_MODEL,
    repeats: Annotated[int, typer.Option(min=1, max=10_000, help="Runs of each stage.")] = 50,
    as_json: Json = False,
    models_dir: ModelsDir = None,
) -> None:
    """Measure the time of each stage on this machine, from face detection to expressions.

    Example: `mien bench photo.jpg`
    """
    from mien.machine.bench import bench
    from mien.sources.pictures import read_picture

    result = bench(None if photo is None else read_picture(photo), model, models_dir=models_dir, repeats=repeats)
    if as_json:
        print_json(asdict(result))
    else:
        _print_bench(result)


def devices_command(as_json: Json = False) -> None:
    """List the cameras and microphones of this machine, by the numbers that `mien live` and `mien listen` take.

    Example: `mien devices`
    """
    from mien.sources.devices import list_cameras
    from mien.sources.microphone import MicrophoneInfo, list_microphones

    cameras, problem = list_cameras(), ""
    microphones: list[MicrophoneInfo] = []
    try:
        microphones = list_microphones()
    except MienError as error:  # without the extra, or PortAudio
        problem = str(error)
    if as_json:
        print_json({"cameras": [asdict(c) for c in cameras], "microphones": [asdict(m) for m in microphones]})
    else:
        table = new_table("device", "number", "name", "by")
        for camera in cameras:
            table.add_row("camera", str(camera.index), camera.name, camera.path)
        for microphone in microphones:
            name = f"{microphone.name} (default)" if microphone.default else microphone.name
            table.add_row("microphone", str(microphone.index), name, microphone.host)
        if table.row_count:
            print_table(table)
        else:
            say("no camera and no microphone was found")
    if problem:
        notice("note:", problem)


def doctor_command(
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch YuNet, the better face detector (230 kB).")] = False,
    as_json: Json = False,
    models_dir: ModelsDir = None,
) -> None:
    """Print system information for a bug report, and diagnose problems.

    Examples: `mien doctor --json`, `mien doctor --fetch`
    """
    from mien.machine.doctor import doctor
    from mien.vision.fetch import PATIENT_SECONDS, fetch_yunet

    if fetch:
        fetch_yunet(seconds=PATIENT_SECONDS)
    facts = doctor(models_dir)
    if as_json:
        print_json(facts)
    else:
        _print_facts(facts)


def _print_bench(result: BenchResult) -> None:
    width, height = result.size
    table = new_table("stage", "median", "90th percentile", title=f"{result.model}, fitted into {width}×{height}")
    for t in result.timings:
        table.add_row(t.stage, f"{t.median_ms:.2f} ms", f"{t.p90_ms:.2f} ms")
    print_table(table)
    for stage, reason in result.skipped.items():
        say(f"not measured: {stage}: {reason}")
    say(", ".join(f"{name} {value}" for name, value in result.machine.items()))


def _print_facts(facts: dict[str, object]) -> None:
    hints = facts.pop("hints")
    table = new_table("fact", "value")
    for name, value in facts.items():
        lines = value if isinstance(value, list) else [str(value)] if value else []
        table.add_row(name.replace("_", " "), cell(lines or ["none"]))
    print_table(table)
    for hint in hints if isinstance(hints, list) else []:
        say(f"hint: {hint}")
