"""ONNX Runtime: on which device a model runs."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.errors import ConfigError, ModelError
from mien.models import runtime
from mien.models.classifier import load_classifier
from mien.models.runtime import DEVICES, provider_of, usable_devices

FACE = [np.zeros((48, 48), np.uint8)]


def has(monkeypatch: pytest.MonkeyPatch, *devices: str) -> None:
    """Let ONNX Runtime have the providers of these devices."""
    monkeypatch.setattr(runtime.onnxruntime, "get_available_providers", lambda: [DEVICES[name] for name in devices])


def test_the_cpu_is_always_there() -> None:
    assert usable_devices()[-1] == "cpu"
    assert provider_of("cpu") == "CPUExecutionProvider"


def test_auto_is_the_first_device_that_is_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, "cpu", "openvino", "cuda")
    assert usable_devices() == ["cuda", "openvino", "cpu"]
    assert provider_of("auto") == "CUDAExecutionProvider"
    has(monkeypatch, "cpu")
    assert provider_of("auto") == "CPUExecutionProvider"


def test_a_device_without_a_provider_is_refused_with_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, "cpu", "openvino")
    with pytest.raises(ConfigError, match="cannot use cuda, only openvino, cpu; install the package"):
        load_classifier("base", device="cuda")
    with pytest.raises(ConfigError, match="unknown device 'gpu'; choose from auto, cuda"):
        load_classifier("base", device="gpu")


def test_a_device_on_which_the_model_does_not_run_is_an_error_not_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = runtime.onnxruntime.InferenceSession
    has(monkeypatch, "cpu", "cuda")
    monkeypatch.setattr(
        runtime.onnxruntime, "InferenceSession",
        lambda path, options, providers: real(path, options, providers=["CPUExecutionProvider"]),
    )  # fmt: skip
    with pytest.raises(ModelError, match="cannot use cuda on this machine; check its driver"):
        load_classifier("base", device="cuda")


def test_a_model_keeps_its_device_when_it_is_pickled(tiny_model: Path) -> None:
    classifier = load_classifier(tiny_model, device="auto")
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(FACE), classifier.predict_proba(FACE))
    assert again._session._device == "auto"


@pytest.mark.parametrize("device", [name for name in usable_devices() if name != "cpu"] or [None])
def test_a_device_gives_the_probabilities_of_the_cpu(device: str | None) -> None:
    if device is None:
        pytest.skip("the installed ONNX Runtime has no provider but the CPU's")
    crops = list(np.random.default_rng(0).integers(0, 256, (6, 60, 60, 3), np.uint8))
    expected = load_classifier("base").predict_proba(crops)
    np.testing.assert_allclose(load_classifier("base", device=device).predict_proba(crops), expected, atol=1e-3)
