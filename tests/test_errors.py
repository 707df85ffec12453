"""Messages of errors, where they depend on the installation."""

from __future__ import annotations

import json
import pickle
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.errors import MienError, MissingExtra, needs

CPU = "--extra-index-url https://download.pytorch.org/whl/cpu"


def install(folder: Path, direct_url: dict[str, object] | None) -> None:
    """Write the metadata that pip writes when it installs mien from somewhere."""
    metadata = folder / "mien-9.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mien\nVersion: 9.0\n")
    if direct_url is not None:
        (metadata / "direct_url.json").write_text(json.dumps(direct_url))


@pytest.mark.parametrize(
    ("direct_url", "arguments"),
    [
        ({"url": "file:///home/me/my%20mien", "dir_info": {"editable": True}}, ["-e", "/home/me/my mien[keras]"]),
        ({"url": "file:///home/me/mien", "dir_info": {}}, ["/home/me/mien[keras]"]),
        (
            {"url": "file:///tmp/mien-9.0-py3-none-any.whl", "archive_info": {}},
            ["/tmp/mien-9.0-py3-none-any.whl[keras]"],
        ),
        (
            {"url": "https://host.example/mien.git", "vcs_info": {"vcs": "git", "commit_id": "0"}},
            ["mien[keras] @ git+https://host.example/mien.git"],
        ),
        (None, ["mien[keras]"]),
    ],
)
def test_a_missing_extra_names_the_command_for_the_way_mien_was_installed(
    direct_url: dict[str, object] | None, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", direct_url)
    monkeypatch.syspath_prepend(tmp_path / "site")
    before, command = str(MissingExtra("converting", "keras")).split(": ", 1)
    assert before == "converting needs the 'keras' extra"
    assert shlex.split(command) == ["pip", "install", *arguments]


def test_every_error_survives_pickling_as_a_worker_sends_it() -> None:
    def kinds(kind: type[MienError]) -> Iterator[type[MienError]]:
        yield kind
        for each in kind.__subclasses__():
            yield from kinds(each)

    for kind in kinds(MienError):
        error = MissingExtra("training", "train") if kind is MissingExtra else kind("it broke")
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (kind, str(error))


def test_a_source_tree_that_is_not_installed_counts_as_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    assert str(MissingExtra("converting", "keras")).endswith(": pip install -e '.[keras]'")


@pytest.mark.parametrize(("platform", "named"), [("linux", True), ("darwin", False), ("win32", False)])
def test_the_cpu_build_of_pytorch_is_named_where_pip_fetches_cuda(
    platform: str, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.errors.sys.platform", platform)
    assert (CPU in str(MissingExtra("training", "train"))) == named
    assert CPU not in str(MissingExtra("converting", "keras"))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (ModuleNotFoundError("No module", name="torch"), "training needs the 'train' extra: pip install"),
        (
            ImportError("libx.so is missing"),
            "training needs the 'train' extra, which is installed but broken (libx.so is missing); install it again: ",
        ),
    ],
)
def test_a_package_that_cannot_be_imported_names_its_extra(broken: ImportError, message: str) -> None:
    with pytest.raises(MissingExtra, match=re.escape(message)), needs("training", "train"):
        raise broken


def test_a_module_of_mien_that_cannot_be_imported_names_no_extra() -> None:
    with pytest.raises(ModuleNotFoundError), needs("training", "train"):
        raise ModuleNotFoundError(name="mien.nothing")
