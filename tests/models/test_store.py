from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import ConfigError, MissingSpec, ModelError, UnknownModel
from mien.labels import FER2013
from mien.models.classifier import OnnxClassifier
from mien.models.spec import Graph, Head, ModelSpec, Preprocess
from mien.models.store import add_model, check_name, find_model, list_models, shipped_dir

SPEC = ModelSpec(
    name="foreign",
    arch="foreign",
    heads=(Head(FER2013),),
    preprocess=Preprocess(size=8, channels=1, normalize="unit"),
    graph=Graph(input="float32-nchw", output="logits"),
)


def test_a_foreign_model_is_refused_with_the_command_that_adds_it(foreign: Path) -> None:
    with pytest.raises(MissingSpec, match=r"mien models add .*net\.onnx"):
        OnnxClassifier(foreign)


def test_an_added_model_predicts_as_its_graph_defines(foreign: Path, tmp_path: Path) -> None:
    path = add_model(foreign, SPEC, models_dir=tmp_path / "mine")
    assert find_model("foreign", models_dir=tmp_path / "mine") == path
    white = np.full((8, 8), 255, np.uint8)
    got = OnnxClassifier(path).predict_proba([white])
    expected = np.exp(np.arange(7)) / np.exp(np.arange(7)).sum()
    np.testing.assert_allclose(got, expected[None], rtol=1e-5)


def test_a_models_directory_that_cannot_be_entered_hides_no_shipped_model(locked_folder: Path) -> None:
    folder = locked_folder / "models"
    assert find_model("mini", models_dir=folder) == shipped_dir() / "mini.onnx"
    assert "mini" in [model.name for model in list_models(folder)]
    with pytest.raises(UnknownModel, match=r"locked.models' cannot be searched \(Permission denied\)"):
        find_model("mine", models_dir=folder)


def test_a_model_file_that_cannot_be_looked_at_is_named_with_the_reason(locked_folder: Path) -> None:
    with pytest.raises(UnknownModel, match=r"net\.onnx \(Permission denied\)"):
        find_model(locked_folder / "net.onnx")
    for name in ("n" * 300, "n" * 300 + ".onnx"):
        with pytest.raises(UnknownModel):
            find_model(name)


def test_adding_leaves_the_source_unchanged(foreign: Path, tmp_path: Path) -> None:
    before = foreign.read_bytes()
    add_model(foreign, SPEC, models_dir=tmp_path / "mine")
    assert foreign.read_bytes() == before


@pytest.mark.parametrize("name", ["../evil", "a/b", "a\\b", "/evil", ".hidden", "..", "", " "])
def test_a_name_that_leads_out_of_the_directory_is_refused(foreign: Path, tmp_path: Path, name: str) -> None:
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=r"a model cannot be called '.*'; expected a name without / "):
        add_model(foreign, replace(SPEC, name=name), models_dir=tmp_path / "mine")
    assert set(tmp_path.rglob("*")) == before


NO_NAMES = ["a\0b", "a\nb", "a\u202eb", "a:b", "a*", "a?", 'a"', "<a", "a>", "a|b", "CON", "nul.v2", "com1", "a.", "a "]


@pytest.mark.parametrize("name", [*NO_NAMES, "n" * 300])
def test_a_name_that_some_system_has_not_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="a model cannot be called") as refused:
        check_name(name)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("name", ["base-1.2", "my net", "表情", "console", "com10"])
def test_other_names_are_taken(name: str) -> None:
    check_name(name)


def test_all_models_of_the_directory_are_listed_even_unusable_ones(
    tiny_model: Path, foreign: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "good.onnx").write_bytes(tiny_model.read_bytes())
    (folder / "bad.onnx").write_bytes(foreign.read_bytes())
    models = {model.name: model for model in list_models(folder) if not model.shipped}
    assert models["good"].spec is not None
    assert models["bad"].spec is None
    assert "mien models add" in models["bad"].problem


def test_a_user_model_hides_a_shipped_one_of_the_same_name(tiny_model: Path, tmp_path: Path) -> None:
    mine = tmp_path / "base.onnx"
    mine.write_bytes(tiny_model.read_bytes())
    assert find_model("base", models_dir=tmp_path) == mine
    assert [m.path for m in list_models(tmp_path) if m.name == "base"] == [mine]


def test_unknown_name_lists_the_known_ones(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(tiny_model.read_bytes())
    with pytest.raises(UnknownModel, match=r"no model 'nobody'; choose from .*mine"):
        find_model("nobody", models_dir=tmp_path)
    with pytest.raises(UnknownModel, match=r"no model file"):
        find_model("nowhere.onnx", models_dir=tmp_path)


# --- Keras models in the directory ------------------------------------------------------------------------------------


def test_keras_models_are_listed_without_opening_them(tiny_model: Path, tmp_path: Path) -> None:
    for name in ("old.h5", "older.HDF5", "new.keras", "loud.H5", "done.h5", "notes.txt"):
        (tmp_path / name).write_text("no model at all, which nobody looks at")
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "done.onnx").write_bytes(tiny_model.read_bytes())
    found = {model.path.name: model for model in list_models(tmp_path) if not model.shipped}
    assert {name: model.format for name, model in found.items()} == {
        "done.onnx": "onnx", "loud.H5": "keras", "new.keras": "keras", "old.h5": "keras", "older.HDF5": "keras",
    }  # fmt: skip
    assert (found["old.h5"].name, found["old.h5"].spec) == ("old", None)


def test_the_command_that_converts_a_keras_model_is_quoted_for_a_shell(tmp_path: Path) -> None:
    folder = tmp_path / "team's models"
    folder.mkdir()
    (folder / "net.h5").touch()
    (problem,) = [model.problem for model in list_models(folder) if model.problem]
    words = shlex.split(problem.split("`")[1])
    assert words == [
        "mien", "convert", str(folder / "net.h5"), "--labels", "angry,disgust,…", "--install", "--models", str(folder),
    ]  # fmt: skip


@pytest.mark.parametrize("file", ["net.keras", "net.KERAS", "net.hdf5"])
@pytest.mark.parametrize("by_stem", [True, False])
def test_naming_a_keras_model_gives_the_command_that_converts_it(
    tmp_path: Path, file: str, by_stem: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_MODELS", str(tmp_path))
    (tmp_path / file).touch()
    with pytest.raises(ModelError, match=rf"{file} is a Keras model, not .* --labels angry,disgust,… --install`$"):
        find_model("net" if by_stem else file)


def test_the_path_of_a_keras_model_gives_the_command_that_converts_it(tmp_path: Path) -> None:
    (tmp_path / "net.h5").touch()
    with pytest.raises(ModelError, match=r"mien convert .*net\.h5 "):
        find_model(str(tmp_path / "net.h5"), models_dir=tmp_path / "empty")
    with pytest.raises(UnknownModel, match="no model"):
        find_model(str(tmp_path / "other.h5"), models_dir=tmp_path / "empty")


def test_a_keras_model_hides_a_shipped_one_until_it_is_converted(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "base.h5").touch()
    with pytest.raises(ModelError, match=r"base\.h5 is a Keras model, not converted yet"):
        find_model("base", models_dir=tmp_path)
    assert [m.path for m in list_models(tmp_path) if m.name == "base"] == [tmp_path / "base.h5"]
    (tmp_path / "base.onnx").write_bytes(tiny_model.read_bytes())
    assert find_model("base", models_dir=tmp_path) == tmp_path / "base.onnx"
    assert [m.path for m in list_models(tmp_path) if m.name == "base"] == [tmp_path / "base.onnx"]


def test_keras_models_are_not_among_the_choices(tmp_path: Path) -> None:
    (tmp_path / "mine.h5").touch()
    assert find_model("base", models_dir=tmp_path) == shipped_dir() / "base.onnx"
    with pytest.raises(UnknownModel) as refused:
        find_model("nobody", models_dir=tmp_path)
    assert "mine" not in str(refused.value)
