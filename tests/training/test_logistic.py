"""Multinomial logistic regression; scikit-learn is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mien.training.logistic import fit_logistic, predict_logistic


@pytest.mark.parametrize("balanced", [False, True])
def test_probabilities_are_those_of_scikit_learn_on_standardised_features(balanced: bool) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [60, 30, 10])
    x = (rng.normal(size=(100, 4)) * [1, 5, 0.1, 2] + np.eye(3)[y] @ rng.normal(size=(3, 4))).astype(np.float32)
    found = predict_logistic(fit_logistic(x, y, n_classes=3, penalty=0.1, balanced=balanced), x)
    scaled, weights = (x - x.mean(0)) / x.std(0), "balanced" if balanced else None
    oracle = LogisticRegression(C=1 / (0.1 * 100), class_weight=weights, tol=1e-8, max_iter=1000).fit(scaled, y)
    np.testing.assert_allclose(found, oracle.predict_proba(scaled), atol=0.01)


def test_a_class_that_does_not_occur_is_never_likely() -> None:
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    layer = fit_logistic(x, (x[:, 0] > 0).astype(np.int64), n_classes=3, penalty=1e-3)
    assert (predict_logistic(layer, x)[:, 2] < 0.05).all()
