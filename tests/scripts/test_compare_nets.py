"""scripts/compare_nets.py: its verdicts, and its arguments."""

from __future__ import annotations

import json
import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from mien.evaluation.compare import compare
from mien.evaluation.evaluate import evaluate
from mien.models.classifier import OnnxClassifier
from mien.models.onnx_file import read_spec, write_with_spec

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "compare_nets.py"))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", ["compare_nets.py", *map(str, arguments)])
    SCRIPT["main"]()


def test_the_page_calls_equal_models_not_significantly_different(
    tiny_model: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = {"backbone_rate": 1.0, "freeze": []}  # the first recipe doesn't name them, but that is no difference
    recipe = {"learning_rate": 0.2, "net": "tiny", "name": "other", **usual}
    spec = replace(read_spec(tiny_model), name="other", recipe=recipe)
    write_with_spec(tiny_model, tmp_path / "other.onnx", spec)
    run(monkeypatch, tiny_model, tmp_path / "other.onnx", "--data", drawn, "--out", tmp_path / "reports" / "page.md")
    page = (tmp_path / "reports" / "page.md").read_text(encoding="utf-8")
    assert re.search(r"\| other \| .* \| \+0\.00 \(.*\) \| \+0\.00 \(.*\) \| = 1\.000 \| not significant \|", page)
    assert "Compared with tiny: better: none; worse: none; not significant: other." in page
    assert "\n- other: A net of two convolutions" in page
    assert "**other was not trained as tiny:** learning_rate differ" in page
    nets = json.loads((tmp_path / "reports" / "page.json").read_text(encoding="utf-8"))["nets"]
    assert [(net["name"], net["verdict"]) for net in nets] == [("tiny", ""), ("other", "not significant")]
    assert nets[0]["accuracies"] == nets[1]["accuracies"]
    assert nets[1]["against"]["flip"]["only_a"] == 0


@pytest.mark.parametrize(
    ("difference", "p_value", "verdict"),
    [(0.02, 0.01, "better"), (-0.02, 0.01, "worse"), (0.02, 0.06, "not significant"), (-0.02, 0.06, "not significant")],
)
def test_a_net_is_better_or_worse_only_if_the_difference_is_significant(
    difference: float, p_value: float, verdict: str, tiny_model: Path, drawn_evaluation: Any
) -> None:
    against = {"single": replace(compare(drawn_evaluation, drawn_evaluation), difference=difference)}
    row = SCRIPT["Row"](
        name="a", net="tiny", cost=SCRIPT["Cost"](1, 1), face_ms=1.0, accuracies={}, against=against, p_value=p_value,
        differs=(),
    )  # fmt: skip
    assert row.verdict == verdict


@pytest.fixture(scope="module")
def drawn_evaluation(tiny_model: Path, drawn: Path) -> Any:
    from mien.data.readers import read_dataset

    return evaluate(OnnxClassifier(tiny_model), read_dataset(drawn), split="valid", views=["single"])


def test_a_model_given_twice_is_refused_in_one_line(
    tiny_model: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="several models are called 'tiny'; give each once"):
        run(monkeypatch, tiny_model, tiny_model, "--data", drawn, "--out", tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()


def test_a_folder_without_a_run_is_refused_in_one_line(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="is not a run folder"):
        run(monkeypatch, tmp_path, "--data", drawn, "--out", tmp_path / "page.md")


def test_a_missing_run_is_named(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"nosuch is not a run folder .*expected one that `mien train` made"):
        run(monkeypatch, tmp_path / "nosuch", "--data", drawn, "--out", tmp_path / "page.md")
