"""Ensembles: one file that answers as its members do on average."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import ConfigError, ModelError
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.models.classifier import OnnxClassifier, load_classifier, softmax
from mien.models.onnx_file import graph_fingerprint, read_spec, write_with_spec
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.models.store import list_models
from mien.structures import FloatArray, ImageArray

torch = pytest.importorskip("torch")
from mien.models.ensemble import write_ensemble  # noqa: E402
from mien.nets.export import export  # noqa: E402
from mien.nets.nets import build_net  # noqa: E402

CROPS = [np.random.default_rng(i).integers(0, 256, (60, 50, 3), np.uint8) for i in range(5)]


def exported(folder: Path, name: str, *, heads: tuple[Head, ...], preprocess: Preprocess, seed: int) -> Path:
    torch.manual_seed(seed)
    spec = ModelSpec(name=name, arch="tiny", heads=heads, preprocess=preprocess, license=f"licence of {name}")
    net = build_net("tiny", preprocess, {head.labels.name: len(head.labels) for head in heads}).eval()
    export(net, spec, folder / f"{name}.onnx", storage="float32")
    return folder / f"{name}.onnx"


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return three models: grey with both heads, RGB of another size with both, equalised with FER2013's alone."""
    folder = tmp_path_factory.mktemp("members")
    both = (Head(FER2013, 1.5), Head(FERPLUS, 0.7))
    return [
        exported(folder, "grey", heads=both, preprocess=Preprocess(), seed=0),
        exported(folder, "colour", heads=both, preprocess=Preprocess(size=64, channels=3), seed=1),
        exported(folder, "equal", heads=both[:1], preprocess=Preprocess(equalize=True), seed=2),
    ]


def mean_of(paths: list[Path], crops: list[ImageArray], head: str, *, temperature: float = 1.0) -> FloatArray:
    """Return the normalised mean of log-probabilities, from each member's own answers."""
    logs = [np.log(OnnxClassifier(path).predict_proba(crops, head=head).astype(np.float64)) for path in paths]
    return softmax(np.mean(logs, axis=0).astype(np.float32), temperature=temperature)


def test_each_head_is_the_mean_of_the_members_that_have_it(members: list[Path], tmp_path: Path) -> None:
    write_ensemble(members, tmp_path / "all.onnx", name="all", temperatures={"ferplus": 0.8})
    ensemble = OnnxClassifier(tmp_path / "all.onnx")
    first, second = ensemble.predict_heads(CROPS)
    np.testing.assert_allclose(first, mean_of(members, CROPS, "fer2013"), atol=1e-6)
    np.testing.assert_allclose(second, mean_of(members[:2], CROPS, "ferplus", temperature=0.8), atol=1e-6)
    np.testing.assert_allclose(ensemble.predict_proba(CROPS[:1]), second[:1], atol=1e-6)
    assert ensemble.predict_proba([]).shape == (0, 8)


def test_the_spec_names_its_members_and_their_inputs(members: list[Path], tmp_path: Path) -> None:
    written = write_ensemble(members, tmp_path / "all.onnx", name="all")
    spec = read_spec(tmp_path / "all.onnx")
    assert spec == written
    assert [member.name for member in spec.members] == ["grey", "colour", "equal"]
    assert [member.fingerprint for member in spec.members] == [graph_fingerprint(path) for path in members]
    assert spec.names == ("fer2013", "ferplus")
    assert spec.preprocess == Preprocess(size=64, channels=3)
    assert spec.license == "licence of grey AND licence of colour AND licence of equal"
    assert spec.trained_on == {}


def test_members_with_the_same_preprocessing_share_an_input(members: list[Path], tmp_path: Path) -> None:
    other = exported(tmp_path, "other", heads=(Head(FER2013),), preprocess=Preprocess(), seed=5)
    write_ensemble([members[0], other], tmp_path / "two.onnx", name="two")
    assert len(read_spec(tmp_path / "two.onnx").inputs) == 1
    found = OnnxClassifier(tmp_path / "two.onnx").predict_proba(CROPS, head="fer2013")
    np.testing.assert_allclose(found, mean_of([members[0], other], CROPS, "fer2013"), atol=1e-6)


def test_an_ensemble_is_listed_and_loaded_like_any_classifier(members: list[Path], tmp_path: Path) -> None:
    write_ensemble(members, tmp_path / "all.onnx", name="all")
    assert "all" in [model.name for model in list_models(tmp_path)]
    assert [model.name for model in list_models(tmp_path, kind="ensemble")] == ["all"]
    assert load_classifier("all", models_dir=tmp_path).predict_proba(CROPS).shape == (5, 8)


def test_the_spec_tells_the_data_of_all_members(members: list[Path], tmp_path: Path) -> None:
    origins = [
        {"name": "fer2013", "fingerprint": "aa", "with photos": "(fingerprint cc, weight 0.2)"},
        {"name": "ferg", "fingerprint": "bb", "init": "dlib"},
    ]
    paths = []
    for path, origin in zip(members[:2], origins, strict=True):
        paths.append(tmp_path / path.name)
        write_with_spec(path, paths[-1], replace(read_spec(path), trained_on=origin))
    assert write_ensemble(paths, tmp_path / "all.onnx", name="all").trained_on == {
        "name": "fer2013",
        "fingerprint": "aa",
        "with photos": "(fingerprint cc, weight 0.2)",
        "with ferg": "(fingerprint bb)",
        "init": "dlib",
    }


def test_members_that_cannot_be_averaged_are_refused(members: list[Path], foreign: Path, tmp_path: Path) -> None:
    def refused(*paths: Path) -> str:
        with pytest.raises(ModelError) as caught:
            write_ensemble(paths, tmp_path / "all.onnx", name="all")
        assert not (tmp_path / "all.onnx").exists()
        return str(caught.value)

    swapped = tmp_path / "swapped.onnx"
    labels = LabelSet("fer2013", FER2013.labels[::-1])
    write_with_spec(members[2], swapped, replace(read_spec(members[2]), heads=(Head(labels),)))
    mine = exported(tmp_path, "mine", heads=(Head(LabelSet("mine", ("a", "b"))),), preprocess=Preprocess(), seed=3)
    write_with_spec(foreign, foreign, replace(read_spec(mine), graph=replace(read_spec(mine).graph, output="logits")))
    write_ensemble(members, tmp_path / "inner.onnx", name="inner")
    assert "an ensemble of 1" in refused(members[0])
    assert "is given twice" in refused(members[0], members[1], members[0])
    assert "expected the same labels in the same order" in refused(members[0], swapped)
    assert "which no other member has" in refused(members[0], members[1], mine)
    assert "is a model of another origin" in refused(members[0], foreign)
    write_with_spec(members[0], tmp_path / "converted.onnx", replace(read_spec(members[0]), arch="foreign"))
    assert "is a model of another origin" in refused(members[1], tmp_path / "converted.onnx")
    assert "of kind 'ensemble'" in refused(members[0], tmp_path / "inner.onnx")
    with pytest.raises(ConfigError, match=r"ends in \.onnx"):
        write_ensemble(members, tmp_path / "all.txt", name="all")


def test_a_temporal_model_is_no_member(tiny_model: Path, tiny_temporal: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="of kind 'temporal'"):
        write_ensemble([tiny_model, tiny_temporal], tmp_path / "all.onnx", name="all")


def test_a_graph_with_fewer_inputs_than_its_spec_says_is_refused(members: list[Path], tmp_path: Path) -> None:
    spec = write_ensemble(members, tmp_path / "all.onnx", name="all")
    write_with_spec(members[0], tmp_path / "cut.onnx", spec)
    with pytest.raises(ModelError, match="has 1 inputs, but its spec has 3"):
        OnnxClassifier(tmp_path / "cut.onnx", spec=spec)
