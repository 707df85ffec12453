"""The precision of training is measured once, and shared by all processes of a run."""

from __future__ import annotations

import pytest

from mien.training import precision


def test_a_chosen_precision_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(precision, "fastest_precision")
    assert precision.agreed_precision("bf16-mixed", 2) == "bf16-mixed"


def test_further_processes_take_the_precision_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(precision.VARIABLE, "")
    monkeypatch.setattr(precision, "fastest_precision", lambda: "bf16-mixed")
    assert precision.agreed_precision("auto", 2) == "bf16-mixed"
    monkeypatch.setattr(precision, "fastest_precision", lambda: "32-true")  # as another process may measure
    assert precision.agreed_precision("auto", 2) == "bf16-mixed"
    assert precision.agreed_precision("auto", 1) == "32-true"
