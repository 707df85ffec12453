import pytest
import torch
from torch import nn

from mien.errors import ConfigError
from mien.models.nets import NETS, Net, ResidualBlock, build_net, normalize
from mien.models.spec import Preprocess

HEADS = {"fer2013": 7, "ferplus": 8}


def count(net: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in net.modules())


def n_parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("arch", NETS)
def test_every_net_takes_the_sizes_of_all_stages(arch: str, channels: int) -> None:
    net = build_net(arch, Preprocess(size=48, channels=channels), HEADS).eval()
    for size in (32, 40, 48):
        with torch.inference_mode():
            logits = net(torch.randn(2, channels, size, size))
        assert list(logits) == list(HEADS)  # the default head first
        assert {name: tuple(out.shape) for name, out in logits.items()} == {"fer2013": (2, 7), "ferplus": (2, 8)}
        assert all(out.isfinite().all() for out in logits.values())


@pytest.mark.parametrize("size", [32, 40])
@pytest.mark.parametrize("arch", NETS)
def test_every_net_can_be_built_for_smaller_pictures(arch: str, size: int) -> None:
    net = build_net(arch, Preprocess(size=size), {"fer2013": 7}).eval()
    with torch.inference_mode():
        assert net(torch.zeros(1, 1, size, size))["fer2013"].shape == (1, 7)


@pytest.mark.parametrize("arch", NETS)
def test_every_parameter_learns(arch: str) -> None:
    net = build_net(arch, Preprocess(size=32), HEADS)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # the blocks that start as the identity let nothing back at first
    logits = net(torch.randn(4, 1, 32, 32))
    torch.stack([out.square().sum() for out in logits.values()]).sum().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


def test_the_flagship_has_5_3_million_parameters() -> None:
    assert n_parameters(build_net("base", Preprocess(), {"fer2013": 7})) == 5_325_983


def test_vgg_b_has_eight_convolutions() -> None:
    assert count(build_net("vgg-b", Preprocess(), HEADS), nn.Conv2d) == 8


def test_the_prototype_has_three_convolutions() -> None:
    assert count(build_net("model2020", Preprocess(), HEADS), nn.Conv2d) == 3


@pytest.mark.parametrize("attention", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_a_residual_block_starts_as_the_identity(attention: bool, training: bool) -> None:
    block = ResidualBlock(16, attention=attention).train(training)
    x = torch.randn(3, 16, 5, 5)
    assert torch.equal(block(x), x.relu())


def test_an_unknown_net_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown net 'resnet9'; choose from model2020, vgg-b, base, tiny"):
        build_net("resnet9", Preprocess(), HEADS)


def test_heads_share_the_body() -> None:
    one, two = build_net("tiny", Preprocess(), {"fer2013": 7}), build_net("tiny", Preprocess(), HEADS)
    assert isinstance(two, Net)
    assert n_parameters(two) - n_parameters(one) == 8 * 32 + 8


def test_unit_divides_by_255() -> None:
    pixels = torch.tensor([0.0, 51.0, 255.0]).view(1, 1, 1, 3)
    torch.testing.assert_close(normalize(pixels, "unit").flatten(), torch.tensor([0.0, 0.2, 1.0]))


def test_standardize_gives_each_picture_mean_0_and_deviation_1() -> None:
    checks = torch.tensor([[0.0, 200.0], [200.0, 0.0]]).view(1, 1, 2, 2)  # deviation 100, and 1 added to it
    result = normalize(torch.cat([checks, checks / 2 + 50]), "standardize")
    torch.testing.assert_close(result[0, 0], torch.tensor([[-1.0, 1.0], [1.0, -1.0]]) * 100 / 101)
    torch.testing.assert_close(result[1, 0], torch.tensor([[-1.0, 1.0], [1.0, -1.0]]) * 50 / 51)


def test_standardize_leaves_a_blank_picture_finite() -> None:
    assert (normalize(torch.full((1, 1, 4, 4), 17.0), "standardize") == 0).all()
