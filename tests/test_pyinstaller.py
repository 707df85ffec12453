"""Frozen apps: PyInstaller's hook collects the files and modules that mien needs."""

from __future__ import annotations

import runpy
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest

import mien
from mien._pyinstaller import get_hook_dirs

PACKAGE = Path(mien.__file__).parent
if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def test_the_entry_point_leads_to_the_hook() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    value = project["entry-points"]["pyinstaller40"]["hook-dirs"]
    assert EntryPoint("hook-dirs", value, "pyinstaller40").load() is get_hook_dirs
    [folder] = get_hook_dirs()
    assert Path(folder, "hook-mien.py").is_file()


def test_the_hook_collects_data_and_lazy_modules_but_not_training(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [".".join(("mien", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in PACKAGE.rglob("*.py")]
    hooks = SimpleNamespace(
        collect_data_files=lambda package, includes=("**",): [(package, name) for name in includes],
        copy_metadata=lambda package: [(package, "metadata")],
        collect_submodules=lambda package, filter: [name for name in names if filter(name)],
    )
    for name in ("PyInstaller", "PyInstaller.utils"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "PyInstaller.utils.hooks", hooks)  # type: ignore[arg-type]
    found = runpy.run_path(str(Path(get_hook_dirs()[0], "hook-mien.py")))
    assert {"mien", "cv2"} == {package for package, _ in found["datas"]}
    assert {"mien.recognizer", "mien.vision.haar", "mien.app.window", "mien.cli.predict"} <= set(found["hiddenimports"])
    assert not any(name.startswith(("mien.training", "mien.nets", "mien.convert")) for name in found["hiddenimports"])
