"""How soon mien is there, how much memory it takes, and how much disk an installation.

Targets: `import mien` in 0.3 s; `mien predict PHOTO` in a new process in 1.5 s and 300 MB of memory at its peak;
with --install, 300 MB of packages. Every time is a median over new processes whose files the system has read before.

Example: python benchmarks/startup.py --install --out startup.json
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from _common import PHOTO, ROOT, Target, arguments, existing, markdown, report, target_data, target_table

IMPORT_S, PREDICT_S, PEAK_MB, INSTALL_MB = 0.3, 1.5, 300, 300
MB = 10**6

TIME_IMPORT = "import time; t = time.perf_counter(); import mien; print(time.perf_counter() - t)"
PREDICT = "from mien.cli import main; main()"  # all that the `mien` script does


@dataclass(frozen=True, slots=True)
class Run:
    """One child process: its wall time, its largest resident memory, and its output."""

    seconds: float
    peak_mb: float
    output: str


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--photo", type=Path, default=PHOTO, help="a picture with a face (default: %(default)s)")
    parser.add_argument("--model", default="base", help="a name from `mien models`, or an .onnx file")
    parser.add_argument("--repeats", type=int, default=10, help="processes for each figure (default: %(default)s)")
    parser.add_argument("--install", action="store_true", help="install into a new environment too: takes a minute")
    options = parser.parse_args()

    photo = str(existing(options.photo, flag="--photo"))
    imports = repeated([sys.executable, "-c", TIME_IMPORT], options.repeats)
    bare = repeated([sys.executable, "-c", "pass"], options.repeats)
    predicts = repeated(
        [sys.executable, "-c", PREDICT, "predict", photo, "--model", options.model, "--json"], options.repeats
    )
    targets = [
        Target(what="import mien", value=median(float(r.output) for r in imports), limit=IMPORT_S, unit="s"),
        Target(what="mien predict PHOTO", value=median(r.seconds for r in predicts), limit=PREDICT_S, unit="s"),
        Target(what="its peak memory", value=max(r.peak_mb for r in predicts), limit=PEAK_MB, unit="MB"),
    ]
    tables = []
    sizes: dict[str, int] = {}
    if options.install:
        sizes = installed_sizes(ROOT)
        targets.append(Target(what="pip install .", value=sum(sizes.values()) / MB, limit=INSTALL_MB, unit="MB"))
        largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
        tables.append(markdown(["largest in site-packages", "MB"], [[n, f"{s / MB:.1f}"] for n, s in largest]))
    results = {
        "targets": target_data(targets),
        "bare_python_seconds": median(r.seconds for r in bare),
        "predict": [{"seconds": r.seconds, "peak_mb": r.peak_mb} for r in predicts],
        "installed_bytes": sizes,
    }
    alone = f"Python alone starts and ends in {median(r.seconds for r in bare):.3f} s."
    title = f"Start: median of {options.repeats} processes, model {options.model}"
    report(title, [target_table(targets), alone, *tables], results, out=options.out)


def repeated(command: list[str], repeats: int) -> list[Run]:
    """Run a command once for warm-up, then as often as asked."""
    return [run(command) for _ in range(repeats + 1)][1:]


def run(command: list[str]) -> Run:
    """Run a command; if it fails, exit with its output.

    The kernel counts this process's own memory as the child's until the child has become the new program, so nothing
    large may be imported here: no mien, no numpy. Needs os.wait4, hence Linux or macOS.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        began = time.perf_counter()
        child = subprocess.Popen(command, stdout=said, stderr=complained)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complained.seek(0)
        if child.returncode:
            sys.exit(f"{' '.join(command)} failed: {complained.read().decode(errors='replace').strip()}")
        return Run(seconds, peak_mb(usage.ru_maxrss), said.read().decode())


def peak_mb(maxrss: int) -> float:
    """Return ru_maxrss in MB; Linux gives KiB, macOS bytes."""
    return maxrss * (1 if sys.platform == "darwin" else 1024) / MB


def installed_sizes(project: Path) -> dict[str, int]:
    """Install a project into a new environment; return the growth of each entry of site-packages, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = f"{folder}/bin/python"
        ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        packages = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
        before = entry_sizes(packages)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", str(project)]
        subprocess.run(pip, check=True, stdout=sys.stderr)
        after = entry_sizes(packages)
    grown = {name: size - before.get(name, 0) for name, size in after.items()}
    return {name: size for name, size in grown.items() if size}


def entry_sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of every file and folder right in a folder, with all they hold."""
    return {entry.name: sum(f.stat().st_size for f in files_of(entry)) for entry in folder.iterdir()}


def files_of(entry: Path) -> list[Path]:
    return [entry] if entry.is_file() else [path for path in entry.rglob("*") if path.is_file()]


if __name__ == "__main__":
    main()
