"""Run the benchmarks on this machine, and write docs/reports/speed.md.

    python scripts/speed.py

Takes some minutes; the machine should do nothing else meanwhile.
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
# Speed

The output of our benchmarks on one machine, named below each; on yours, the figures will differ. Where we have a
target, a table says whether it is met. `make speed` measures again.
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
