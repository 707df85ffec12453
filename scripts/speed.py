"""Measure how fast mien is on this machine, and write docs/reports/speed.md.

    python scripts/speed.py

Takes some minutes, in which the machine should do nothing else.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mien.files import atomic_path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reports" / "speed.md"
BENCHMARKS = ("inference", "startup --install", "live", "training --steps 20", "convolutions")
INTRODUCTION = """\
# How fast mien is

What our benchmarks print on one machine, which each of them names at its end; on yours, figures will be others. Where
we have a target the table says whether it is met. `make speed` measures again.
"""


def main() -> None:
    pages = [INTRODUCTION]
    for command in BENCHMARKS:
        print(f"benchmarks/{command}", flush=True)
        name, *flags = command.split()
        run = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *flags]
        done = subprocess.run(run, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"benchmarks/{command} failed; {PAGE} stays as it was")
        pages.append(done.stdout)
    with atomic_path(PAGE) as temporary:
        temporary.write_text("\n".join(pages), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
