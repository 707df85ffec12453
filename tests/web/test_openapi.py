"""The service does as its OpenAPI document says, whatever it is sent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra: pip install '.[web]'")
pytest.importorskip("schemathesis", reason="needs schemathesis: pip install '.[dev]'")

from services import Caller, calling, loaded, serving


@pytest.fixture(scope="module")
def client() -> Iterator[Caller]:
    with calling(loaded()) as client:
        yield client


def test_any_request_is_answered_as_described(tmp_path: Path) -> None:
    """Bytes that are no picture are refused, which no document can say: that check is left out."""
    with serving(loaded(max_upload=100_000)) as port:
        done = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "run", f"http://localhost:{port}/v1/openapi.json",
                "--max-examples", "3", "--seed", "1", "--exclude-checks", "positive_data_acceptance", "--no-color",
                "--generation-database", "none",
            ],
            capture_output=True, text=True, cwd=tmp_path, timeout=300,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]


def test_the_document_describes_problems_bodies_and_the_names_of_this_moment(client: Caller) -> None:
    document = client.get("/v1/openapi.json").json()
    predict = document["paths"]["/v1/predict"]["post"]
    assert {"image/jpeg", "multipart/form-data", "application/json"} <= set(predict["requestBody"]["content"])
    for status in ("401", "408", "413", "415", "421", "422", "503"):
        assert "application/problem+json" in predict["responses"][status]["content"]
    parameters = {parameter["name"]: parameter["schema"] for parameter in predict["parameters"]}
    assert parameters["model"]["enum"][0] == "ferg"
    assert "yunet" not in parameters["detector"]["enum"]  # it is not at hand, and nothing may be fetched
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_the_document_of_a_service_with_a_token_names_no_models() -> None:
    with calling(loaded(token="secret")) as client:
        document = client.get("/v1/openapi.json").json()
    assert "ferg" not in str(document)


def test_a_wrong_method_names_those_of_all_routes(client: Caller) -> None:
    assert client.request("PUT", "/v1/videos/1").headers["allow"] == "DELETE, GET, HEAD"
    assert client.get("/v1/predict").headers["allow"] == "POST"
    assert client.request("OPTIONS", "/v1/videos").headers["allow"] == "POST"


def test_the_page_of_the_document_needs_nothing_from_elsewhere(client: Caller) -> None:
    page = client.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for name in ("docs.js", "docs.css"):
        assert f'"docs/{name}"' in page.text
        text = client.get(f"/docs/{name}").text
        assert "http:" not in text
        assert "https:" not in text
    assert "http" not in page.text
    assert "<style" not in page.text  # the CSP forbids it
