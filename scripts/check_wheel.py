"""Check that a wheel contains everything needed at run time, and nothing else.

Usage: python scripts/check_wheel.py dist     (make check)
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path, PurePosixPath

SOURCE = Path(__file__).parent.parent / "src"
SUFFIXES = {".py", ".pyi", ".typed", ".toml", ".onnx", ".ui", ".ttf", ".txt", ".html", ".css", ".js", ".svg", ".jpg"}
MAX_WEIGHTS = 12 * 2**20  # a wheel should stay quick to install
MAX_VOICE = 16_000_000  # its encoder is larger than any net of faces


def main(folder: str) -> None:
    wheels = list(Path(folder).glob("*.whl"))
    if len(wheels) != 1:
        sys.exit(f"{len(wheels)} wheels in {folder}; expected one")
    with zipfile.ZipFile(wheels[0]) as wheel:
        sizes = {entry.filename: entry.file_size for entry in wheel.infolist() if ".dist-info/" not in entry.filename}
    problems = list(problems_of(sizes))
    if problems:
        sys.exit("\n".join([f"{wheels[0].name}:", *problems]))
    print(f"{wheels[0].name} is complete: {len(sizes)} files, {wheels[0].stat().st_size / 2**20:.1f} MB")


def problems_of(sizes: dict[str, int]) -> list[str]:
    expected = {p.relative_to(SOURCE).as_posix() for p in SOURCE.rglob("*") if p.suffix in SUFFIXES and p.is_file()}
    problems = [f"  lacks {name}" for name in sorted(expected - set(sizes))]
    problems += [f"  should not hold {name}" for name in sorted(set(sizes) - expected)]
    weights = {n: size for n, size in sizes.items() if PurePosixPath(n).match("mien/models/weights/*.onnx")}
    if not weights:
        problems.append("  holds no mien/models/weights/*.onnx")
    most = {n: MAX_VOICE if PurePosixPath(n).name.startswith("voice") else MAX_WEIGHTS for n in weights}
    problems += [
        f"  {n} has {size / 2**20:.1f} MB; at most {most[n] / 2**20:.1f} are allowed"
        for n, size in weights.items()
        if size > most[n]
    ]
    needed = (
        "drawing/fonts/LICENSE.txt",
        "models/weights/LICENSE-whisper.txt",
        "py.typed",
        "training/recipes/base.toml",
    )
    for name in (f"mien/{part}" for part in needed):
        if name not in sizes:
            problems.append(f"  lacks {name}")
    return problems


if __name__ == "__main__":
    main(*sys.argv[1:])
