"""Pictures by HTTP: every way to send them gives the command line's records; bad ones are one line."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import struct
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")

from PIL import Image

from clips import write_video
from commands import run
from mien.models.store import shipped_dir
from mien.pixels import encode
from mien.web.answers import AboutAnswer, PredictAnswer
from photographs import scene
from services import ASTRONAUT, PNG, Caller, calling, loaded


@pytest.fixture(scope="module")
def client() -> Iterator[Caller]:
    with calling(loaded(max_upload=3_000_000)) as client:
        yield client


@pytest.fixture(scope="module")
def photo() -> bytes:
    return encode(Path("scene"), ".png", scene(0))


def problem_of(response, status: int) -> str:
    """Return the detail of a problem, which is one line."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert set(body) == {"status", "code", "title", "detail"}
    assert body["status"] == status
    assert len(body["detail"].splitlines()) == 1
    return body["detail"]


@pytest.mark.parametrize("way", ["raw", "octets", "form", "json", "data url", "wrapped lines"])
def test_each_way_to_send_a_picture_gives_the_record_of_the_command_line(
    client: Caller, way: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ASTRONAUT.read_bytes()
    text = base64.b64encode(data).decode()
    sent = {
        "raw": {"content": data, "headers": PNG},
        "octets": {"content": data, "headers": {"content-type": "application/octet-stream"}},
        "form": {"files": {"file": ("astronaut.png", data, "image/png")}},
        "json": {"json": {"image": text}},
        "data url": {"json": {"image": f"data:image/png;base64,{text}"}},
        "wrapped lines": {"json": {"image": base64.encodebytes(data).decode()}},
    }[way]
    answer = client.post("/v1/predict", **sent)
    assert answer.status_code == 200, answer.text
    PredictAnswer.model_validate(answer.json(), strict=False)
    run("predict", ASTRONAUT, "--model", "ferg", "--detector", "haar", "--json")
    (expected,) = json.loads(capsys.readouterr().out)
    (picture,) = answer.json()["pictures"]
    assert picture["source"] == ("astronaut.png" if way == "form" else "picture")
    assert picture == {**expected, "source": picture["source"], "error": None, "code": None, "warnings": []}
    assert len(picture["faces"]) == 1
    assert (picture["width"], picture["height"]) == (512, 512)


def test_pictures_of_a_form_are_answered_in_order_and_an_unreadable_one_in_its_own_entry(
    client: Caller, photo: bytes
) -> None:
    files = [("file", (f"{i}.png", b"not a picture" if i == 3 else photo)) for i in range(6)]
    pictures = client.post("/v1/predict", files=files).json()["pictures"]
    assert [picture["source"] for picture in pictures] == [f"{i}.png" for i in range(6)]
    assert [picture["error"] is None for picture in pictures] == [True, True, True, False, True, True]
    assert pictures[3]["error"].startswith("'3.png' is a text file, not a picture")
    assert (pictures[3]["faces"], pictures[3]["width"], pictures[3]["code"]) == ([], None, "unreadable-picture")
    assert [len(picture["faces"]) for picture in pictures] == [1, 1, 1, 0, 1, 1]


def warned(code: str, detail: str) -> dict[str, str]:
    return {"code": code, "detail": detail}


def test_warnings_of_a_picture_are_beside_its_record(client: Caller, photo: bytes) -> None:
    jpeg, wave = io.BytesIO(), io.BytesIO()
    frames = [Image.new("L", (64, 48), 20 * i) for i in range(4)]
    Image.open(io.BytesIO(photo)).convert("RGB").save(jpeg, "JPEG")
    frames[0].save(wave, "GIF", save_all=True, append_images=frames[1:])
    pages = io.BytesIO()
    frames[0].save(pages, "TIFF", save_all=True, append_images=frames[1:])
    sent = {"whole.png": photo, "cut.jpg": jpeg.getvalue()[:-2], "wave.gif": wave.getvalue(), "p.tif": pages.getvalue()}
    files = [("file", item) for item in sent.items()] * 4  # several threads
    pictures = client.post("/v1/predict", files=files).json()["pictures"]
    assert [picture["warnings"] for picture in pictures] == 4 * [
        [],
        [warned("picture-cut", "'cut.jpg' lacks its end, as after a broken download; all its pixels are there")],
        [
            warned(
                "first-frame", "'wave.gif' is an animation; only its first frame is read: send it to /v1/videos for all"
            )
        ],
        [warned("first-page", "'p.tif' holds 4 pictures; only the first is read")],
    ]
    alone = client.post("/v1/predict", files={"file": ("c\x1bt.jpg", jpeg.getvalue()[:-2])}).json()["pictures"][0]
    end = r"'c\x1bt.jpg' lacks its end, as after a broken download; all its pixels are there"
    assert alone["warnings"] == [warned("picture-cut", end)]


def test_settings_of_a_request(client: Caller) -> None:
    query = {"model": "model2020", "labels": "fer2013", "detector": "whole", "min_confidence": "1"}
    answer = client.post("/v1/predict", content=ASTRONAUT.read_bytes(), headers=PNG, params=query).json()
    assert (answer["model"], answer["label_set"], answer["detector"]) == ("model2020", "fer2013", "whole")
    (face,) = answer["pictures"][0]["faces"]
    assert (face["label"], face["certain"], face["box"]) == ("uncertain", False, [0, 0, 512, 512])
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert list(face["probabilities"]) == answer["labels"]


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("model=nix", "no model 'nix'; choose from ferg, "),
        ("model=", "no model ''; choose from ferg, "),
        ("model=/etc/x.onnx", "no model '/etc/x.onnx'; choose from ferg, "),
        (f"model={shipped_dir() / 'base.onnx'}", "choose from ferg, "),
        ("model=../weights/base", "choose from ferg, "),
        ("labels=nix", "model 'ferg' has no labels 'nix'; choose from "),
        ("detector=nix", "unknown detector 'nix'; choose from auto, "),
        ("detector=yunet", "the detector 'yunet' is not installed here"),
        ("min_score=nan", "query.min_score: "),
        ("min_score=0", "query.min_score: Input should be greater than or equal to 0.1"),  # thousands of candidates
        ("min_score=2", "query.min_score: Input should be less than or equal to 1"),
        ("min_confidence=-1", "query.min_confidence: "),
        ("min_confidence=a", "query.min_confidence: "),
        ("min_confidnce=.5", "query.min_confidnce: unknown; /docs lists what this address takes"),
    ],
)
def test_a_wrong_setting_is_one_line(client: Caller, photo: bytes, query: str, detail: str) -> None:
    assert detail in problem_of(client.post(f"/v1/predict?{query}", content=photo, headers=PNG), 422)


def bomb() -> bytes:
    """Return a PNG of 1,600 megapixels in two kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">2I5B", 40_000, 40_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


PART = b'--a\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\nx\r\n'
HALF_FORM = PART + PART + b"--"
PLAYLIST = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nfile:///etc/passwd\n"


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"", "'picture' is empty (0 bytes); expected a picture"),
        (b"hello\n", "'picture' is a text file, not a picture"),
        (PLAYLIST, "'picture' is a text file, not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "'picture' is an SVG drawing"),
        (b"\x89PNG\r\n\x1a\n", "cannot decode 'picture'"),
        (bomb(), "'picture' has 40000x40000 pixels"),
    ],
    ids=["empty", "text", "playlist", "svg", "damaged", "bomb"],
)
def test_bytes_that_are_no_picture_are_one_line(client: Caller, data: bytes, detail: str) -> None:
    answer = client.post("/v1/predict", content=data, headers=PNG)
    assert detail in problem_of(answer, 422)
    assert answer.json()["code"] == "unreadable-picture"


def test_without_its_extra_heic_is_refused_without_a_word_about_this_machine(
    client: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.web.predict.find_spec", lambda _: None)
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    answer = client.post("/v1/predict", content=data, headers=PNG)
    assert problem_of(answer, 422) == "'picture' is HEIC, which this service cannot read; save it as JPEG"


def test_a_video_that_poses_as_a_picture_is_refused(client: Caller, tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mp4").read_bytes()
    assert "'picture' is " in problem_of(client.post("/v1/predict", content=data, headers=PNG), 422)


@pytest.mark.parametrize(
    ("sent", "status", "detail"),
    [
        ({"content": b"x"}, 415, "the content type is ''; expected image/*"),
        ({"data": {"a": "b"}}, 415, "the content type is 'application/x-www-form-urlencoded'; expected image/*"),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "the content type is 'text/plain'"),
        ({"content": b"x", "headers": {"content-type": "video/mp4"}}, 415, "the content type is 'video/mp4'"),
        ({"files": {"picture": ("a.png", b"x")}}, 422, "unknown part 'picture'; expected files as parts"),
        ({"files": {"file": (None, b"x")}}, 422, "the part 'file' has no file name"),
        ({"files": [("file", ("a.png", b"x"))] * 33}, 422, "the form has more than 32 files"),
        ({"content": b"--a--\r\n", "headers": {"content-type": "multipart/form-data; boundary=a"}}, 422, "no parts"),
        ({"content": b"", "headers": {"content-type": "multipart/form-data; boundary=a"}}, 422, "no parts"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 422, "the form has no boundary"),
        (
            {"content": HALF_FORM, "headers": {"content-type": "multipart/form-data; boundary=a"}},
            422, "it ends before its last boundary",
        ),
        ({"content": b"junk", "headers": {"content-type": "multipart/form-data; boundary=a"}}, 422, "the form "),
        ({"json": {}}, 422, "image: Field required"),
        ({"json": []}, 422, "Input should be an object"),
        ({"json": {"image": 7}}, 422, "image: Input should be a valid string"),
        ({"json": {"image": "aGk=", "url": "x"}}, 422, "url: unknown; /docs lists what"),
        ({"json": {"image": "/etc/passwd.png"}}, 422, "addresses and paths are not read"),
        ({"json": {"image": "http://localhost/a.png"}}, 422, "addresses and paths are not read"),
        ({"json": {"image": "data:image/png,raw"}}, 422, "expected base64"),
        ({"json": {"image": "é"}}, 422, "expected base64"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 422, "Invalid JSON"),
        ({"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, 422, "Invalid JSON"),
        ({"content": b'{"image": "\\ud800"}', "headers": {"content-type": "application/json"}}, 422, "Invalid JSON"),
    ],
)  # fmt: skip
def test_a_body_of_another_shape_is_one_line(client: Caller, sent: dict, status: int, detail: str) -> None:
    assert detail in problem_of(client.post("/v1/predict", **sent), status)


def test_a_body_that_is_too_large_is_refused_with_and_without_its_announced_length(client: Caller) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield bytes(100_000)

    for content in (bytes(4_000_000), chunks()):
        detail = problem_of(client.post("/v1/predict", content=content, headers=PNG), 413)
        assert "more than 3,000,000 bytes" in detail


def test_a_picture_is_drawn_into(client: Caller) -> None:
    answer = client.post("/v1/draw", params={"top": 2}, content=ASTRONAUT.read_bytes(), headers=PNG)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    drawn = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))
    original = np.asarray(Image.open(ASTRONAUT).convert("RGB"))
    assert drawn.shape == original.shape
    changed = (drawn != original).any(axis=2)
    assert 0.001 < changed.mean() < 0.2


def test_a_picture_too_long_to_be_drawn_into_is_named(client: Caller) -> None:
    file = io.BytesIO()
    Image.new("RGB", (1_100_000, 1)).save(file, "PNG")
    answer = client.post("/v1/draw", content=file.getvalue(), headers=PNG)
    assert ".png has at most 1,000,000 pixels a side" in problem_of(answer, 422)
    assert answer.json()["code"] == "unwritable-image"


@pytest.mark.parametrize(("query", "n", "status"), [("top=0", 1, 422), ("top=1000", 1, 422), ("", 2, 422)])
def test_a_drawing_is_of_one_picture(client: Caller, photo: bytes, query: str, n: int, status: int) -> None:
    problem_of(client.post(f"/v1/draw?{query}", files=[("file", ("a.png", photo))] * n), status)


def test_uploads_never_become_files(
    client: Caller, monkeypatch: pytest.MonkeyPatch, photo: bytes
) -> None:  # Starlette moves uploads of more than a megabyte into temporary files
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", lambda *_: pytest.fail("an upload became a file"))
    large = photo + bytes(2_000_000)
    assert client.post("/v1/predict", files={"file": ("a.png", large)}).status_code == 200


def test_about_names_models_labels_detectors_and_limits(client: Caller) -> None:
    about = AboutAnswer.model_validate(client.get("/v1/about").json())
    assert (about.model, about.detector) == ("ferg", "haar")
    assert {"ferg", "model2020"} <= {model.name for model in about.models}
    ours = next(model for model in about.models if model.name == "ferg")
    assert ours.default_labels in ours.labels
    assert ours.size > 100_000
    assert about.limits.bytes == 3_000_000
    assert "haar" in about.detectors


def test_models_come_and_go_while_the_service_runs(tmp_path: Path, photo: bytes) -> None:
    models = tmp_path / "models"
    models.mkdir()
    path = models / "mine.onnx"

    def status(client: Caller, model: str = "mine") -> int:
        return client.post("/v1/predict", params={"model": model}, content=photo, headers=PNG).status_code

    with calling(loaded(models_dir=models)) as client:
        assert status(client) == 422
        shutil.copy(shipped_dir() / "model2020.onnx", path)
        assert status(client) == 200
        path.unlink()
        answer = client.post("/v1/predict", params={"model": "mine"}, content=photo, headers=PNG)
        assert "no model 'mine'; choose from ferg" in problem_of(answer, 422)
        path.write_bytes(b"damaged")
        assert status(client) == 422
        assert "mine" not in {model["name"] for model in client.get("/v1/about").json()["models"]}


def test_the_default_model_stays_when_its_file_vanishes(tmp_path: Path, photo: bytes) -> None:
    path = tmp_path / "mine.onnx"
    shutil.copy(shipped_dir() / "ferg.onnx", path)
    with calling(loaded(model=str(path))) as client:
        path.unlink()
        answer = client.post("/v1/predict", content=photo, headers=PNG)
        assert answer.status_code == 200
        assert client.get("/v1/about").json()["model"] == "mine"
        assert os.fspath(tmp_path) not in client.get("/v1/about").text
