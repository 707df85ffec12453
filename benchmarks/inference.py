"""How long a face takes on one thread, and a photo of 640×480 pixels to its expressions.

Targets: 5 ms a face on one thread; 40 ms from a photo to expressions with the Haar detector.

Example: python benchmarks/inference.py --out inference.json
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from _common import PHOTO, Target, arguments, existing, markdown, report, target_data, target_table
from mien.errors import MienError
from mien.machine.bench import ONE_THREAD, BenchResult, bench, end_to_end_stage, threads
from mien.sources.pictures import read_picture

FACE_MS, PHOTO_MS = 5, 40


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--photo", type=Path, default=PHOTO, help="a picture with a face (default: %(default)s)")
    parser.add_argument("--model", default="base", help="a name from `mien models`, or an .onnx file")
    parser.add_argument("--repeats", type=int, default=200, help="runs of each stage (default: %(default)s)")
    options = parser.parse_args()
    try:
        photo = read_picture(existing(options.photo, flag="--photo"))
        result = bench(photo, options.model, repeats=options.repeats)
    except MienError as error:
        sys.exit(str(error))
    if not result.faces["haar"]:
        sys.exit(f"the Haar detector finds no face in '{options.photo}'; give another with --photo")
    targets = targets_of(result)
    report(
        f"Inference: {result.model}, {result.size[0]}×{result.size[1]}, median of {result.repeats} runs",
        [stage_table(result), target_table(targets)],
        {"targets": target_data(targets), "bench": asdict(result)},
        out=options.out,
        **threads(),
    )


def targets_of(result: BenchResult) -> list[Target]:
    return [
        Target(what="one face, one thread", value=result.timing(ONE_THREAD).median_ms, limit=FACE_MS, unit="ms"),
        Target(
            what="photo to expressions, Haar",
            value=result.timing(end_to_end_stage("haar")).median_ms,
            limit=PHOTO_MS,
            unit="ms",
        ),
    ]


def stage_table(result: BenchResult) -> str:
    rows = [[t.stage, f"{t.median_ms:.2f} ms", f"{t.p90_ms:.2f} ms"] for t in result.timings]
    rows += [[stage, "–", reason] for stage, reason in result.skipped.items()]
    return markdown(["stage", "median", "90th percentile"], rows)


if __name__ == "__main__":
    main()
