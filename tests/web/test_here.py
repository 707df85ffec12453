"""The service offers its models for recognition in the browser, unless a token guards it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")

from mien.files import sha256_of
from mien.models.store import find_model
from mien.vision import fetch
from mien.web.browser import RUNTIME_FILES
from services import Caller, calling, loaded

MODEL, YUNET = "/here/models/ferg.onnx", "/here/yunet.onnx"
TYPES = {".mjs": "text/javascript; charset=utf-8", ".wasm": "application/wasm", ".onnx": "application/octet-stream"}


@pytest.fixture(scope="module")
def caller() -> Iterator[Caller]:
    with calling(loaded()) as caller:
        yield caller


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The bytes of each address, once YuNet and ONNX Runtime, here short files, are on this machine."""
    files = {YUNET: b"YuNet"}
    yunet = tmp_path / "yunet.onnx"
    yunet.write_bytes(files[YUNET])
    monkeypatch.setenv("MIEN_YUNET", str(yunet))
    monkeypatch.setattr(fetch, "YUNET_HASH", sha256_of(yunet))
    runtime = tmp_path / "dist"
    runtime.mkdir()
    for name in RUNTIME_FILES:
        files[f"/here/ort/{name}"] = name.encode()
        (runtime / name).write_bytes(name.encode())
        monkeypatch.setitem(RUNTIME_FILES, name, sha256_of(runtime / name))
    (runtime / "package.json").write_text("{}")
    monkeypatch.setenv("MIEN_ORT_WEB", str(runtime))
    return {**files, MODEL: find_model("ferg").read_bytes()}


def test_models_and_runtime_are_served_as_their_files(caller: Caller, offered: dict[str, bytes]) -> None:
    for address, content in offered.items():
        answer = caller.get(address)
        assert (answer.status_code, answer.content) == (200, content)
        assert answer.headers["content-type"] == TYPES[Path(address).suffix]


def test_the_description_names_each_model_and_its_default(caller: Caller, offered: dict[str, bytes]) -> None:
    described = caller.get("/here/site.json").json()
    names = [model["name"] for model in described["about"]["models"]]
    assert described["about"]["model"] == "ferg"
    assert names.count("ferg") == 1
    assert sorted(described["specs"]) == sorted(names)
    assert all(caller.get(f"/here/models/{name}.onnx").status_code == 200 for name in names)


def test_other_files_beside_them_are_not_served(caller: Caller, offered: dict[str, bytes]) -> None:
    for address in ("/here/ort/package.json", "/here/ort/..%2fyunet.onnx", "/here/models/nothing.onnx"):
        assert caller.get(address).status_code == 404


def test_a_service_with_a_token_offers_none_of_it(offered: dict[str, bytes]) -> None:
    with calling(loaded(token="secret")) as caller:
        for headers in ({}, {"authorization": "Bearer secret"}):
            assert {caller.get(address, headers=headers).status_code for address in offered} == {404}
            answer = caller.get("/here/site.json", headers=headers)
            assert (answer.status_code, answer.json()) == (200, {"about": None})


@pytest.mark.parametrize("missing", ["MIEN_YUNET", "MIEN_ORT_WEB"])
def test_nothing_is_offered_where_a_part_is_missing(
    caller: Caller, offered: dict[str, bytes], missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(missing, str(tmp_path / "nothing"))
    assert {caller.get(address).status_code for address in offered} == {404}
    assert caller.get("/here/site.json").json() == {"about": None}
