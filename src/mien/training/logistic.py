"""Multinomial logistic regression (extra: train)."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from mien.models.classifier import softmax
from mien.structures import FloatArray, IntArray

Layer = tuple[FloatArray, FloatArray]  # weight (k, width) and bias (k,)

STEPS = 300  # of L-BFGS at most; the loss is convex


def fit_logistic(
    features: FloatArray, targets: IntArray, *, n_classes: int, penalty: float, balanced: bool = False
) -> Layer:
    """Fit a multinomial logistic regression with an L2 penalty on standardised features; it needs no seed.

    Args:
        features: (n, width).
        targets: Class ids, (n,).
        n_classes: k.
        penalty: L2 coefficient λ: the objective is mean loss + λ/2 · ‖W‖².
        balanced: Give all classes the same weight, however many images or clips they have.

    Returns:
        Weight (k, width) and bias (k,) for features as they are.
    """
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    x, y = torch.from_numpy((features - mean) / deviation), torch.from_numpy(targets)
    share = 1 / np.maximum(np.bincount(targets, minlength=n_classes), 1)[targets] if balanced else np.ones(len(targets))
    shares = torch.from_numpy((share / share.sum()).astype(np.float32))
    weight = torch.zeros(n_classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(n_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = (F.cross_entropy(F.linear(x, weight, bias), y, reduction="none") * shares).sum()
        value = value + penalty / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    scaled = weight.detach().numpy() / deviation
    return scaled.astype(np.float32), (bias.detach().numpy() - scaled @ mean).astype(np.float32)


def predict_logistic(layer: Layer, features: FloatArray) -> FloatArray:
    """Return the probabilities (n, k) of features (n, width)."""
    return softmax(features @ layer[0].T + layer[1])
