"""Specs inside ONNX files."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import helper

from mien.errors import MissingSpec, ModelError
from mien.models.onnx_file import graph_fingerprint, read_spec, save_with_spec, write_with_spec
from mien.models.spec import SPEC_KEY, SPEC_VERSION, ModelSpec
from mien.models.store import shipped_dir

GRAPH = b"\x3a\x04junk"  # field 7 of onnx.proto's ModelProto, 4 bytes long


def test_the_spec_is_read_back_and_agrees_with_onnx(tiny_model: Path) -> None:
    spec = read_spec(tiny_model)
    assert spec.names == ("fer2013", "ferplus")
    stored = {entry.key: entry.value for entry in onnx.load(tiny_model).metadata_props}
    assert ModelSpec.from_json(stored[SPEC_KEY]) == spec


def test_a_new_spec_replaces_the_old_one(tiny_model: Path, tmp_path: Path) -> None:
    renamed = replace(read_spec(tiny_model), name="other")
    write_with_spec(tiny_model, tmp_path / "other.onnx", renamed)
    assert read_spec(tmp_path / "other.onnx").name == "other"
    onnx.checker.check_model(onnx.load(tmp_path / "other.onnx"))
    write_with_spec(tmp_path / "other.onnx", tmp_path / "back.onnx", read_spec(tiny_model))
    assert (tmp_path / "back.onnx").read_bytes() == tiny_model.read_bytes()


@pytest.mark.parametrize("content", [b"", b"hello, I am a text", b"\x89PNG\r\n\x1a\n" + bytes(50), b"\xff" * 40])
def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not an ONNX file"):
        read_spec(path)


def test_truncated_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.onnx"
    path.write_bytes(tiny_model.read_bytes()[:5000])
    with pytest.raises(ModelError, match="not an ONNX file"):
        read_spec(path)


def test_a_newer_spec_asks_for_an_upgrade(tiny_model: Path, tmp_path: Path) -> None:
    write_with_spec(tiny_model, tmp_path / "new.onnx", replace(read_spec(tiny_model), version=SPEC_VERSION + 1))
    with pytest.raises(ModelError, match=rf"version {SPEC_VERSION + 1}, .*; upgrade mien"):
        read_spec(tmp_path / "new.onnx")


def test_everything_but_the_spec_is_kept(tiny_model: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_model)
    expected = read_spec(tiny_model)
    del model.metadata_props[:]
    helper.set_model_props(model, {"author": "someone", SPEC_KEY: "old", "préface": "été"})
    model.functions.append(helper.make_function("mien", "f", [], [], [], []))
    onnx.save(model, tmp_path / "other.onnx")
    write_with_spec(tmp_path / "other.onnx", tmp_path / "back.onnx", expected)
    helper.set_model_props(model, {"author": "someone", "préface": "été", SPEC_KEY: expected.to_json()})
    assert onnx.load(tmp_path / "back.onnx") == model


def test_a_graph_is_saved_with_its_spec_and_named_after_it(tiny_model: Path, tmp_path: Path) -> None:
    spec = replace(read_spec(tiny_model), name="other")
    save_with_spec(onnx.load(tiny_model), tmp_path / "other.onnx", spec)
    assert read_spec(tmp_path / "other.onnx") == spec
    assert graph_fingerprint(tmp_path / "other.onnx") == graph_fingerprint(tiny_model)
    assert onnx.load(tmp_path / "other.onnx").doc_string == "mien model other"


def test_a_spec_can_be_replaced_in_place(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(tiny_model.read_bytes())
    write_with_spec(tmp_path / "net.onnx", tmp_path / "net.onnx", replace(read_spec(tiny_model), name="other"))
    assert read_spec(tmp_path / "net.onnx").name == "other"
    assert graph_fingerprint(tmp_path / "net.onnx") == graph_fingerprint(tiny_model)


def test_the_fingerprint_is_the_hash_of_the_graph_as_stored(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08" + GRAPH + b"\x72\x05\x0a\x03key")
    assert graph_fingerprint(tmp_path / "net.onnx") == hashlib.sha256(b"junk").hexdigest()


def test_the_fingerprint_of_the_flagship_stays() -> None:
    """Temporal models hold it, users' own ones too."""
    fingerprint = graph_fingerprint(shipped_dir() / "base.onnx")
    assert fingerprint == "142d33ee381f7bb4974a6e0fd98bb8812bde9a8f1b5efe74339e4c45a74386b4"
    assert fingerprint != graph_fingerprint(shipped_dir() / "ferg.onnx")


def test_a_model_without_a_spec_is_refused_with_a_command_for_the_shell(tmp_path: Path) -> None:
    (tmp_path / "my net.onnx").write_bytes(GRAPH)
    with pytest.raises(MissingSpec, match=r"`mien models add '.*/my net\.onnx' --labels angry,disgust,…`"):
        read_spec(tmp_path / "my net.onnx")


@pytest.mark.parametrize("use", [read_spec, graph_fingerprint])
def test_a_missing_file_is_refused(use: object, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read model .*none\.onnx: No such file or directory"):
        use(tmp_path / "none.onnx")  # type: ignore[operator]
