"""The client of the service gives what a recogniser gives, and errors in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")
pytest.importorskip("httpx", reason="needs the extra: pip install '.[client]'")

import httpx

import mien
from clips import write_video
from mien.client import Client, Limits, _grouped
from mien.drawing.faces import draw
from mien.errors import ConfigError, InputError, MissingExtra, ServiceError
from mien.pixels import encode
from mien.recognizer import Recognizer
from mien.sources.pictures import read_picture
from photographs import scene, write_pictures
from services import ASTRONAUT, loaded, serving


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    engine = loaded(token="geheim-(ss)", max_upload=1_000_000)
    with serving(engine) as port, Client(f"http://localhost:{port}", token="geheim-(ss)") as client:
        yield client


def answering(*answers: httpx.Response) -> Client:
    """Return a client of a service that gives these answers, one after the other."""
    left = iter(answers)
    return Client("http://a", transport=httpx.MockTransport(lambda _: next(left)), retries=2)


@pytest.mark.parametrize("way", ["path", "text", "bytes", "array"])
def test_expressions_are_those_of_a_recogniser(client: Client, way: str) -> None:
    image = read_picture(ASTRONAUT)
    picture = {"path": ASTRONAUT, "text": str(ASTRONAUT), "bytes": ASTRONAUT.read_bytes(), "array": image}[way]
    result = client.predict(picture, min_confidence=1)
    (expected,) = Recognizer("haar", "ferg", min_confidence=1).recognize(image)
    (found,) = result.expressions
    assert (result.width, result.height, result.note, result.error) == (512, 512, "", None)
    got, wanted = found.to_dict(), expected.to_dict()
    assert got.pop("probabilities") == pytest.approx(wanted.pop("probabilities"), abs=2e-6)
    assert got.pop("confidence") == pytest.approx(wanted.pop("confidence"), abs=2e-6)
    assert got == wanted
    assert (found.label, found.prediction.labels) == ("uncertain", expected.prediction.labels)


def test_many_pictures_come_in_order_and_an_unreadable_one_as_its_error(client: Client, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path, {f"{i}.png": scene(i % 3) for i in range(34)})
    (folder / "33.png").write_bytes(b"no picture")  # alone in the second request
    (folder / "5.png").write_bytes(b"no picture")
    results = list(client.predict_many(folder / f"{i}.png" for i in range(34)))
    assert [result.source for result in results] == [f"{i}.png" for i in range(34)]
    assert [i for i, result in enumerate(results) if result.error is not None] == [5, 33]
    assert "'33.png' is a text file, not a picture" in (results[33].error or "")
    assert {results[i].code for i in (5, 33)} == {"unreadable-picture"}
    assert {len(result.expressions) for result in results if result.error is None} == {1}


def test_a_picture_that_is_too_large_costs_no_other(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    folder = write_pictures(tmp_path, {"large.png": noise})
    with serving(loaded(max_upload=1_000_000)) as port, Client(f"http://127.0.0.1:{port}") as client:
        results = list(client.predict_many([ASTRONAUT, folder / "large.png", ASTRONAUT]))
    assert [result.code for result in results] == [None, "too-large", None]


def test_a_number_of_retries_below_zero_is_none() -> None:
    with Client("http://127.0.0.1:9", retries=-1) as client, pytest.raises(ServiceError, match="cannot reach"):
        client.about()


def test_warnings_come_with_their_picture(client: Client) -> None:
    cut = encode(Path("cut"), ".jpg", read_picture(ASTRONAUT))[:-2]
    (warning,) = client.predict(cut).warnings
    assert warning == "'picture 1' lacks its end, as after a broken download; all its pixels are there"
    assert [result.warnings for result in client.predict_many([cut, ASTRONAUT])] == [(warning,), ()]


def test_a_drawing_is_that_of_mien(client: Client) -> None:
    image = read_picture(ASTRONAUT)
    expressions = Recognizer("haar", "ferg").recognize(image)
    drawn = client.draw(ASTRONAUT, top=2)
    assert (drawn.shape, drawn.dtype) == (image.shape, np.uint8)
    assert np.abs(drawn.astype(int) - draw(image, expressions, top=2)).mean() < 0.1


def test_about(client: Client) -> None:
    about = client.about()
    assert (about.version, about.model, about.detector) == (mien.__version__, "ferg", "haar")
    assert {"ferg", "model2020"} <= {model.name for model in about.models}
    assert about.models[0].label_sets[0].name in ("fer2013", "ferplus")
    assert about.limits.bytes == 1_000_000


def test_a_video_is_a_job_whose_results_are_files(client: Client, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    job = client.video(
        write_video(tmp_path / "a.avi", n=5), detector="whole", progress=lambda done, total: seen.append((done, total))
    )
    assert (job.state, job.done, job.warnings, seen[-1][0]) == ("done", 5, (), 5)
    assert job.statistics
    client.download(job, "faces.jsonl", tmp_path / "faces.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "faces.jsonl").read_text().splitlines()]
    assert [len(line["faces"]) for line in lines] == [1] * 5
    client.delete(job)
    with pytest.raises(ServiceError) as refused:
        client.download(job, "faces.csv", tmp_path / "faces.csv")
    assert refused.value.status == 404
    assert not (tmp_path / "faces.csv").exists()


@pytest.mark.parametrize(
    ("settings", "status", "message"),
    [
        ({"model": "nix"}, 422, "no model 'nix'; choose from ferg"),
        ({"labels": "nix"}, 422, "model 'ferg' has no labels 'nix'"),
        ({"min_score": 2.0}, 422, "query.min_score"),
        ({"picture": b"no picture"}, 422, "'picture 1' is a text file"),
        ({"picture": np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)}, 413, "1,000,000 bytes"),
    ],
)
def test_a_refusal_is_the_line_of_the_service(client: Client, settings: dict, status: int, message: str) -> None:
    with pytest.raises(ServiceError, match=message) as refused:
        client.predict(**{"picture": ASTRONAUT, **settings})
    assert refused.value.status == status


def test_files_and_arrays_that_are_no_pictures_are_errors_here(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nix"):
        client.predict(tmp_path / "nix.png")
    with pytest.raises(InputError):
        client.predict(np.zeros((2, 2, 7), np.uint8))
    with pytest.raises(InputError):
        client.predict(None)  # type: ignore[arg-type]


def test_a_wrong_token_is_a_refusal(client: Client) -> None:
    with Client(str(client._client.base_url), token="falsch") as other, pytest.raises(ServiceError) as refused:
        other.about()
    assert refused.value.status == 401


def test_a_busy_service_is_asked_again_when_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("mien.client.time.sleep", waited.append)
    problem = {"status": 503, "code": "busy", "title": "busy", "detail": "busy: later"}
    busy = [httpx.Response(503, headers={"retry-after": asked}, json=problem) for asked in ("2", "999")]
    body = {"label_set": "x", "labels": ["a", "b"], "pictures": [
        {"source": "p", "width": 1, "height": 1, "note": "", "faces": [], "error": None,
         "code": None, "warnings": []}]}  # fmt: skip
    assert answering(*busy, httpx.Response(200, json=body)).predict(b"x").source == "p"
    assert waited == [2, 30]
    with pytest.raises(ServiceError, match="busy: later") as refused:
        answering(*busy, httpx.Response(503, json=problem)).predict(b"x")
    assert refused.value.status == 503


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"), httpx.Response(200, json=[]), httpx.Response(200, json={"pictures": 1}),
        httpx.Response(404, text="<html>"), httpx.Response(500, json="x"), httpx.Response(302),
    ],
)  # fmt: skip
def test_something_else_at_the_address_is_one_line(answer: httpx.Response) -> None:
    with pytest.raises(ServiceError, match="is it mien"):
        answering(answer).predict(b"x")


FACE = {"track": None, "box": [1, 2, 3, 4], "score": 0.5, "probabilities": {"a": 0.25, "b": 0.75}}
PICTURE = {"source": "p", "width": 9, "height": 9, "note": "", "faces": [FACE], "error": None, "code": None,
           "warnings": []}  # fmt: skip


def results(*pictures: object) -> httpx.Response:
    """Return an answer whose JSON may have NaN, which httpx would refuse to write."""
    return httpx.Response(200, text=json.dumps({"label_set": "x", "labels": ["a", "b"], "pictures": pictures}))


def test_an_answer_of_the_expected_shape_is_read() -> None:
    (expression,) = answering(results(PICTURE)).predict(b"x").expressions
    assert (expression.label, expression.face.score, expression.face.box.x2) == ("b", 0.5, 3.0)


@pytest.mark.parametrize(
    "answer",
    [
        results(),
        results(PICTURE, PICTURE),
        *(
            results(PICTURE | {"faces": [FACE | damage]})
            for damage in (
                {"score": math.nan},
                {"box": [1, 2, math.inf, 4]},
                {"box": [1, 2, 3]},
                {"probabilities": {"a": math.nan, "b": 1}},
                {"probabilities": {"a": 7, "b": 1}},
                {"probabilities": {"a": 1}},
                {"track": "x"},
            )
        ),
        results(PICTURE | {"error": 5}),
        httpx.Response(200, json={"label_set": "x", "labels": ["a"], "pictures": [PICTURE]}),
        httpx.Response(200, text="[" * 9999),
        httpx.Response(404, text="[" * 9999),
        httpx.Response(404, json={"detail": 5, "code": "x"}),
    ],
)
def test_an_answer_with_impossible_values_is_of_another_shape(answer: httpx.Response) -> None:
    with pytest.raises(ServiceError, match="is it mien"):
        answering(answer).predict(b"x")


@pytest.mark.parametrize("n", [0, 2])
def test_as_many_pictures_are_answered_as_were_sent(n: int) -> None:
    limits = dict.fromkeys(Limits.__slots__, 10**6)
    about = {"version": "1", "model": "m", "models": [], "detector": "haar", "detectors": [], "limits": limits}
    with pytest.raises(ServiceError, match="is it mien"):
        list(answering(httpx.Response(200, json=about), results(*[PICTURE] * n)).predict_many([b"x"]))


def test_texts_of_a_service_do_not_act_on_a_terminal() -> None:
    problem = {"detail": "no\n\x1b[31mred", "code": "bad-input"}
    with pytest.raises(ServiceError) as refused:
        answering(httpx.Response(422, json=problem)).predict(b"x")
    assert (str(refused.value), refused.value.code) == (r"no \x1b[31mred", "bad-input")
    texts = {"error": "\x1b[31mred", "warnings": [{"detail": "\x1b[31mred"}]}
    result = answering(results(PICTURE | texts)).predict(b"x")
    assert (result.error, result.warnings) == (r"\x1b[31mred", (r"\x1b[31mred",))


@pytest.mark.parametrize("asked", ["nan", "-1", "inf", "soon"])
def test_a_time_to_come_again_that_is_none_is_within_bounds(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("mien.client.time.sleep", waited.append)
    answering(httpx.Response(503, headers={"retry-after": asked}), results(PICTURE)).predict(b"x")
    assert 0 <= waited[0] <= 30


def test_no_service_at_the_address_is_one_line() -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(ServiceError, match="is `mien serve` running there"):
        client.about()


@pytest.mark.parametrize("url", ["localhost:8008", "ftp://a", "", "http://", None])
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is no address of a service"):
        Client(url)


def test_without_httpx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    with pytest.raises(MissingExtra, match="the client needs the 'client' extra"):
        Client("http://a")


def test_pictures_are_grouped_by_number_and_size() -> None:
    limits = Limits(bytes=10_000, video_bytes=0, pixels=0, files=3, sessions=0)
    sizes = [100, 100, 100, 100, 4000, 100, 9000, 20_000]
    groups = _grouped((("", bytes(size)) for size in sizes), limits)
    assert [[len(data) for _, data in group] for group in groups] == [[100] * 3, [100, 4000], [100], [9000], [20_000]]
