"""Imports go down: the parts of mien form floors, and a floor knows only itself and those below."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mien

PACKAGE = Path(mien.__file__).parent
# From the ground. Parts of one floor don't import each other.
FLOORS = (
    ("escape", "warn", "_pyinstaller"),
    ("errors",),
    ("labels", "files", "cores", "quiet"),
    ("settings", "structures", "workers"),
    ("download", "pixels", "sources"),
    ("targets", "images"),
    ("models",),
    ("vision", "voice", "nets", "convert", "fusion"),
    ("drawing", "recognizer"),
    ("live", "hearing", "data"),
    ("sinks",),
    ("cartoons", "collection", "evaluation"),
    ("shards",),
    ("reports", "machine", "app", "web", "client", "cluster"),
    ("training",),
    ("cli", "notebook"),
    ("__main__",),
)
KNOWN_BREACHES: set[tuple[str, str]] = set()  # (module, part that it imports), to be mended
FLOOR_OF = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
SOURCES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
FACE = "__init__.py"  # names the public objects of all floors, imported on first use


def part_of(relative: str) -> str:
    """Return the module or folder right under mien that a source file belongs to."""
    return relative.split("/")[0].removesuffix(".py")


PARTS = {part_of(relative) for relative in SOURCES} - {"__init__"}


def imported_parts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and part of mien for each import, those inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for package, *rest in (name.split(".") for name in names):
            if package == "mien" and rest and rest[0] != "__version__":
                yield node.lineno, rest[0] if rest[0] in PARTS else "__init__"


@pytest.mark.parametrize("relative", sorted(SOURCES.keys() - {FACE}))
def test_imports_go_down_or_stay_inside_their_part(relative: str) -> None:
    own = part_of(relative)
    upward = {
        f"line {line}: {part}"
        for line, part in imported_parts(SOURCES[relative])
        if part != own and (relative, part) not in KNOWN_BREACHES and FLOOR_OF.get(part, 99) >= FLOOR_OF[own]
    }
    assert upward == set()


def test_every_part_has_a_floor() -> None:
    assert set(FLOOR_OF) >= PARTS


def test_known_breaches_are_still_there() -> None:
    found = {(relative, part) for relative, path in SOURCES.items() for _, part in imported_parts(path)}
    assert found >= KNOWN_BREACHES
