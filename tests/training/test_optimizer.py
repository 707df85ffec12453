"""Learning rate, weight decay and the moving average."""

from __future__ import annotations

import math

import pytest
import torch

from mien.models.spec import Preprocess
from mien.nets.nets import NETS, build_net
from mien.training import Stage, TrainConfig
from mien.training.optimizer import learning_rate, new_optimizer, update_average
from runs import small_config


@pytest.mark.parametrize(
    ("epochs_done", "expected"),
    [(0, 0.01), (1, 0.055), (2, 0.1), (6, 0.05), (8, 0.1 * (1 - math.sqrt(0.5)) / 2), (10, 0)],
)
def test_the_learning_rate_warms_up_and_then_follows_a_cosine(epochs_done: float, expected: float) -> None:
    config = TrainConfig(net="tiny", learning_rate=0.1, warmup_epochs=2, stages=(Stage(size=48, epochs=10),))
    assert learning_rate(config, epochs_done) == pytest.approx(expected, abs=1e-12)


def test_a_run_without_warm_up_begins_at_the_peak() -> None:
    config = TrainConfig(net="tiny", learning_rate=0.1, warmup_epochs=0, stages=(Stage(size=48, epochs=4),))
    assert learning_rate(config, 0) == pytest.approx(0.1)


def test_the_cosine_ends_at_the_final_rate() -> None:
    config = TrainConfig(
        net="tiny", learning_rate=0.1, final_rate=0.6, warmup_epochs=0, stages=(Stage(size=48, epochs=4),)
    )
    assert [learning_rate(config, epochs) for epochs in (0, 2, 4)] == pytest.approx([0.1, 0.08, 0.06])


def test_a_run_shorter_than_its_warm_up_ends() -> None:
    config = TrainConfig(net="tiny", learning_rate=0.1, warmup_epochs=5, stages=(Stage(size=48, epochs=2),))
    assert [learning_rate(config, e) for e in (0, 1, 2)] == pytest.approx([0.01, 0.055, 0.1])


@pytest.mark.parametrize("net", NETS)
def test_only_weights_of_convolutions_and_dense_layers_decay(net: str) -> None:
    """Not biases, norms or position embeddings, although the latter have as many axes as a convolution's weight."""
    built = build_net(net, Preprocess(size=32), {"fer2013": 7})
    names = {parameter: name for name, parameter in built.named_parameters()}
    groups = new_optimizer(built, small_config(net)).param_groups
    decayed = {names[p] for group in groups if group["weight_decay"] > 0 for p in group["params"]}
    kept = {names[p] for group in groups if group["weight_decay"] == 0 for p in group["params"]}
    assert decayed | kept == set(names.values())
    assert not decayed & kept
    assert all(name.endswith(".weight") and built.get_parameter(name).ndim in (2, 4) for name in decayed)
    assert {name for name in kept if built.get_parameter(name).ndim > 1} == (
        {"backbone.7.weight"} if net == "base-vit" else set()
    )


def test_the_average_moves_all_floats_by_the_decay_and_faster_at_first() -> None:
    for step, decay, expected in ((0, 0.99, 0.9), (10_000, 0.99, 0.01)):
        average, net = (build_net("tiny", Preprocess(size=24), {"fer2013": 7}) for _ in range(2))
        before = {name: tensor.clone() for name, tensor in average.state_dict().items()}
        update_average(average, net, decay=decay, step=step)
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                torch.testing.assert_close(average.state_dict()[name], before[name].lerp(tensor, expected))
