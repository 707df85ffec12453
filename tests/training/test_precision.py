"""The precision of training is chosen by the recipe, or measured."""

from __future__ import annotations

import pytest

from mien.training import precision


def test_a_chosen_precision_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(precision, "fastest_precision")
    assert precision.chosen_precision("bf16-mixed") == "bf16-mixed"


def test_auto_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for fastest in ("bf16-mixed", "32-true"):
        monkeypatch.setattr(precision, "fastest_precision", lambda fastest=fastest: fastest)
        assert precision.chosen_precision("auto") == fastest
