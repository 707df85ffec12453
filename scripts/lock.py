"""Write constraints.txt anew: the newest versions that fit together, for Python 3.11 and later and for 3.10.

Usage: python3.11 scripts/lock.py     (make lock)

The versions for 3.11 are installed into a temporary environment. pip then resolves the differences for 3.10:
of each of these packages the newest version with a wheel for it, and not newer than for 3.11.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
TORCH = "torch==2.13.0"  # moves by hand: a new release can be slower, or larger to fetch
BUILD = ("hatchling", "editables")
ONLY_310 = ("async-timeout", "exceptiongroup", "tomli")  # in the standard library of 3.11
LARGE = ("torch", "lightning-fabric")  # pip would fetch gigabytes to resolve them; both still support 3.10
HEADER = """\
# The versions that mien is developed and tested with on Linux: all packages of its extras, and its build tools.
# Not needed to use mien; `make` installs by it: pip install -c constraints.txt -e '.[train,dev,app,keras,site]'
# Refresh it with `make lock` on Python 3.11, then run `make check`. torch moves by hand, in scripts/lock.py.
"""


def main() -> None:
    if sys.version_info[:2] != (3, 11):
        sys.exit(
            f"this is Python {sys.version_info.major}.{sys.version_info.minor}; lock with 3.11: make lock PYTHON=…"
        )
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        run([*pip, "install", TORCH, "-e", f"{ROOT}[train,dev,app,keras,site]", *BUILD])
        newest = installed(pip)
        limits = Path(folder, "limits.txt")
        limits.write_text("".join(f"{name}<={version}\n" for name, version in newest.items()), encoding="utf-8")
        names = [name for name in newest if name not in LARGE]
        where = ["--dry-run", "--ignore-installed", "--target", f"{folder}/none", "--report", "-"]
        like_310 = ["--python-version", "3.10", "--only-binary", ":all:", "-c", str(limits)]
        while True:
            report = json.loads(run([*pip, "install", *where, *like_310, *names, *ONLY_310]))
            packages = [package["metadata"] for package in report["install"]]
            older = dict(map(normal, packages))
            refusing = [normal(p) for p in packages if re.search(r">=\s*3\.1[1-9]", p.get("requires_python", ""))]
            if not refusing:
                break
            with limits.open("a", encoding="utf-8") as file:  # some mirrors keep from pip which Python a version needs
                file.writelines(f"{name}!={version}\n" for name, version in refusing)
    text = HEADER + "".join(lines(newest, older))
    (ROOT / "constraints.txt").write_text(text, encoding="utf-8")


def lines(newest: dict[str, str], older: dict[str, str]) -> list[str]:
    """Return one line a package, or two where Python 3.10 needs another version."""
    result = []
    for name in sorted(newest | older):
        new, old = newest.get(name), older.get(name)
        if old is None or old == new:
            result.append(f"{name}=={new}\n")
            continue
        if new is not None:
            result.append(f'{name}=={new}; python_version >= "3.11"\n')
        result.append(f'{name}=={old}; python_version < "3.11"\n')
    return result


def installed(pip: list[str]) -> dict[str, str]:
    packages = json.loads(run([*pip, "inspect"]))["installed"]
    found = dict(normal(package["metadata"]) for package in packages)
    return {name: version for name, version in found.items() if name not in ("pip", "mien")}


def normal(metadata: dict[str, str]) -> tuple[str, str]:
    """Return name and version; a build's own mark ("+cpu") is no part of the version."""
    return metadata["name"].lower().replace("_", "-").replace(".", "-"), metadata["version"].split("+")[0]


def run(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
