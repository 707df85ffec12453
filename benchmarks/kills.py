"""Runs over many files that are killed at random moments and resumed: are the tables those of an undisturbed run?

`mien predict --parts` and `mien predict --csv --resume` recognise drawn faces, of which some are damaged, with two
processes. All processes of a run are killed by SIGKILL after a random time, and the same command is called again. In
the end all tables must have the same bytes as those of a run that nobody killed.

Example: python benchmarks/kills.py --kills 20 --seed 0
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _common import arguments, markdown, report
from mien.data.synthetic import draw_faces
from mien.pixels import write_picture


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--files", type=int, default=1000, help="number of pictures (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=20, help="of each command (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    parser.add_argument("--ray", metavar="ADDRESS", help="also kill the command of a job on this cluster")
    given = parser.parse_args()
    commands = {"--parts": ["--parts", "{}", "--shard", "20"], "--csv": ["--csv", "{}", "--resume"]}
    if given.ray:
        commands["--ray"] = [*commands["--parts"], "--ray", given.ray]
    moments = random.Random(given.seed)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _draw(folder / "pictures", given.files)
        for what, options in commands.items():
            whole = folder / f"whole{what}"
            start = time.monotonic()
            _predict(folder, whole, options).wait()
            seconds = time.monotonic() - start
            n_killed, n_runs, n_done, same = 0, 0, 0, True
            while n_killed < given.kills:
                killed, done = folder / f"killed{what}-{n_done}", False
                while not done:
                    # Some kills come while the program starts, the others while it works.
                    limit = moments.uniform(0, 0.4 * seconds) if n_killed < given.kills else None
                    done = _has_ended(_predict(folder, killed, options), limit)
                    n_killed, n_runs = n_killed + (not done), n_runs + 1
                n_done += 1
                same &= _contents(whole) == _contents(killed)
            rows.append(
                [what, str(n_killed), str(n_runs), str(n_done), f"{seconds:.1f}", "same" if same else "DIFFERENT"]
            )
    header = ["", "kills", "calls", "until done", "undisturbed s", "bytes"]
    report(f"{given.files} pictures, killed", [markdown(header, rows)], {"runs": rows}, out=given.out, seed=given.seed)
    if any(row[-1] != "same" for row in rows):
        sys.exit(1)


def _draw(folder: Path, n: int) -> None:
    folder.mkdir()
    for i, image in enumerate(draw_faces(n, seed=0).images):
        path = folder / f"{i:06}.png"
        write_picture(path, image.repeat(3, axis=-1) if image.ndim == 3 else image)
        if i % 100 == 50:
            path.write_bytes(path.read_bytes()[:300])


def _predict(folder: Path, target: Path, options: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mien", "predict", "pictures", "--detector", "whole", "--workers", "2"]
    return subprocess.Popen(
        [*command, *(option.format(target) for option in options)], cwd=folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _has_ended(run: subprocess.Popen[bytes], seconds: float | None) -> bool:
    """Return whether a run ends by itself in this time; otherwise kill all its processes."""
    try:
        run.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        return False
    return True


def _contents(path: Path) -> dict[str, bytes]:
    """Return the bytes of a table, or of all files of a job."""
    files = [path] if path.is_file() else (file for file in sorted(path.rglob("*")) if file.is_file())
    return {file.name if file != path else "": file.read_bytes() for file in files}


if __name__ == "__main__":
    main()
