"""The precision of training is chosen by the recipe, or measured."""

from __future__ import annotations

import pytest
import torch

from mien.training import precision


def test_a_chosen_precision_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(precision, "_seconds")
    assert precision.chosen_precision("bf16-mixed") == "bf16-mixed"


@pytest.mark.parametrize(
    ("seconds", "fastest"), [(0.5, "bf16-mixed"), (0.89, "bf16-mixed"), (0.91, "32-true"), (2, "32-true")]
)
def test_auto_is_bfloat16_where_that_saves_a_tenth_of_the_time(
    seconds: float, fastest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(precision, "_seconds", {torch.float32: 1.0, torch.bfloat16: seconds}.__getitem__)
    assert precision.chosen_precision("auto") == fastest


@pytest.mark.parametrize(("supported", "fastest"), [(True, "bf16-mixed"), (False, "32-true")])
def test_on_cuda_auto_is_bfloat16_where_the_gpu_has_it(
    supported: bool, fastest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: supported)
    monkeypatch.delattr(precision, "_seconds")
    assert precision.chosen_precision("auto") == fastest


def test_both_precisions_are_timed() -> None:
    assert all(precision._seconds(dtype) > 0 for dtype in (torch.float32, torch.bfloat16))
