"""Lower layers never import upper ones."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mien

PACKAGE = Path(mien.__file__).parent
LAYERS = (
    {"errors", "labels", "structures", "files", "machine", "picture_header", "runtime"},
    {"config", "data", "models", "vision", "sources", "camera", "devices", "sinks", "statistics", "voice"},
    {"recognizer", "live", "recording", "training", "evaluation", "bench", "doctor"},
    {"cli", "app", "notebook", "web", "__main__"},
)
RANKS = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
RANKS["__init__"] = RANKS["recognizer"]  # `import mien` gives the recogniser, not the commands
SOURCES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}


def part_of(relative: str) -> str:
    """Return the module or folder right under mien that a source file belongs to."""
    return relative.split("/")[0].removesuffix(".py")


def imported_parts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and part of mien for each import, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for package, *rest in (name.split(".") for name in names):
            if package == "mien" and rest:  # a plain `import mien`, as for its version, is free
                yield node.lineno, rest[0] if rest[0] in PARTS else "__init__"


PARTS = {part_of(relative) for relative in SOURCES}


@pytest.mark.parametrize("relative", SOURCES)
def test_a_module_imports_from_its_own_layer_or_lower_ones_only(relative: str) -> None:
    rank = RANKS[part_of(relative)]
    upward = [f"line {line}: {part}" for line, part in imported_parts(SOURCES[relative]) if RANKS.get(part, 9) > rank]
    assert upward == []


def test_every_module_has_a_layer() -> None:
    assert PARTS - set(RANKS) == set()
