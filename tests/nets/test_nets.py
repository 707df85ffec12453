import hashlib

import pytest
import torch
from torch import nn

from mien.errors import ConfigError
from mien.models.spec import Preprocess
from mien.nets.nets import NETS, Net, build_net, freeze, normalize

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
def test_every_net_can_be_built_for_smaller_images(arch: str, size: int) -> None:
    net = build_net(arch, Preprocess(size=size), {"fer2013": 7}).eval()
    with torch.inference_mode():
        assert net(torch.zeros(1, 1, size, size))["fer2013"].shape == (1, 7)


@pytest.mark.parametrize("arch", NETS)
def test_every_parameter_gets_a_gradient(arch: str) -> None:
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


def test_the_weights_of_the_flagship_keep_their_names_shapes_and_initial_values() -> None:
    """Checkpoints refer to names, and a seed must give the same model."""
    torch.manual_seed(0)
    state = build_net("base", Preprocess(), HEADS).state_dict()
    form = "".join(f"{name} {tuple(tensor.shape)}\n" for name, tensor in state.items())
    assert hashlib.sha256(form.encode()).hexdigest()[:16] == "95ee38d01a44db38"
    assert torch.rand(1).item() == 0.5000482797622681  # as many random numbers were drawn
    assert state["backbone.8.attention.excite.weight"][0, 0].item() == -0.027455197647213936


@pytest.mark.parametrize(
    ("arch", "n"),
    [("base-plain", 5_260_903), ("base-cbam", 5_326_379), ("base-gru", 5_967_583), ("base-vit", 5_296_463)],
)
def test_variants_of_the_flagship_have_similar_sizes(arch: str, n: int) -> None:
    assert n_parameters(build_net(arch, Preprocess(), {"fer2013": 7})) == n


def test_vgg_b_has_eight_convolutions() -> None:
    assert count(build_net("vgg-b", Preprocess(), HEADS), nn.Conv2d) == 8


def test_the_prototype_has_three_convolutions() -> None:
    assert count(build_net("model2020", Preprocess(), HEADS), nn.Conv2d) == 3


def test_the_prototypes_cartoon_net_has_three_convolutions_and_4_8_million_parameters() -> None:
    """Three poolings of 100×100 pixels give 12×12 feature maps, since 25 is halved to 12."""
    net = build_net("ferg", Preprocess(size=100, channels=3), {"fer2013": 7})
    assert count(net, nn.Conv2d) == 3
    norms = 2 * (32 + 64 + 128)
    convolutions = 9 * (3 * 32 + 32 * 64 + 64 * 128)
    assert n_parameters(net) == convolutions + norms + (128 * 12**2 + 1) * 256 + (256 + 1) * 7 == 4_814_119
    with torch.inference_mode():
        assert net.eval()(torch.zeros(2, 3, 100, 100))["fer2013"].shape == (2, 7)


def test_dlibs_net_has_29_convolutions() -> None:
    net = build_net("dlib-resnet", Preprocess(size=112, channels=3, normalize="none"), HEADS)
    assert count(net, nn.Conv2d) == count(net, nn.BatchNorm2d) == 29
    assert n_parameters(net.backbone) == 5_578_272


def test_vggface_has_the_thirteen_convolutions_of_vgg16() -> None:
    net = build_net("vggface", Preprocess(size=32, channels=3, normalize="none"), HEADS)
    assert count(net, nn.Conv2d) == 13
    assert sum(p.numel() for name, p in net.named_parameters() if ".conv" in name) == 14_714_688  # as Keras counts


@pytest.mark.parametrize("arch", ["dlib-resnet", "vggface"])
def test_a_face_net_reads_a_grey_image_as_rgb_with_equal_channels(arch: str) -> None:
    net = build_net(arch, Preprocess(size=48, normalize="none"), HEADS).eval()
    grey = torch.rand(2, 1, 48, 48) * 255
    with torch.inference_mode():
        torch.testing.assert_close(net(grey)["fer2013"], net(grey.expand(-1, 3, -1, -1))["fer2013"])


def test_dlibs_net_upscales_images_too_small_for_its_strides() -> None:
    net = build_net("dlib-resnet", Preprocess(size=112, channels=3, normalize="none"), HEADS).eval()
    x = torch.rand(1, 3, 48, 48) * 255
    with torch.inference_mode():
        enlarged = nn.functional.interpolate(x, size=(112, 112), mode="bilinear")
        torch.testing.assert_close(net(x)["fer2013"], net(enlarged)["fer2013"], atol=1e-4, rtol=1e-4)
        assert net.backbone(torch.rand(1, 3, 103, 103)).isfinite().all()  # the smallest that is not upscaled


def test_frozen_parts_do_not_learn_and_the_others_do() -> None:
    net = build_net("base", Preprocess(), HEADS)
    norms = freeze(net, ["backbone.0", "backbone.2.first"])
    fixed = {name for name, p in net.named_parameters() if not p.requires_grad}
    assert fixed == {n for n, _ in net.named_parameters() if n.startswith(("backbone.0.", "backbone.2.first."))}
    assert norms == [net.backbone[0][1], net.backbone[2].first[1]]


def test_freezing_a_part_does_not_freeze_parts_with_a_longer_name() -> None:
    net = build_net("base", Preprocess(), HEADS)
    freeze(net, ["backbone.1"])
    assert not net.backbone[1][0].weight.requires_grad
    assert net.backbone[0][0].weight.requires_grad
    assert all(p.requires_grad for p in net.backbone[10].parameters())


@pytest.mark.parametrize("part", ["backbon", "", "backbone.0.weight", "backbone.99"])
def test_an_unknown_part_lists_the_known_ones(part: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"cannot freeze '{part}': the net has no such part; choose from backbone, backbone\.0"
    ):
        freeze(build_net("tiny", Preprocess(), HEADS), [part])


def test_freezing_all_parameters_is_refused() -> None:
    with pytest.raises(ConfigError, match="all parameters are frozen"):
        freeze(build_net("tiny", Preprocess(), HEADS), ["backbone", "heads"])


def test_an_unknown_net_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown net 'resnet9'; choose from model2020, .*base, .*tiny"):
        build_net("resnet9", Preprocess(), HEADS)


def test_heads_share_the_backbone() -> None:
    one, two = build_net("tiny", Preprocess(), {"fer2013": 7}), build_net("tiny", Preprocess(), HEADS)
    assert isinstance(two, Net)
    assert n_parameters(two) - n_parameters(one) == 8 * 32 + 8


@pytest.mark.parametrize("name", ["my faces", "train", "training", "keys", "faces.v2", ""])
def test_a_head_may_have_any_name(name: str) -> None:
    net = build_net("tiny", Preprocess(), {name: 3, "ferplus": 8})
    logits = net.eval()(torch.zeros(2, 1, 48, 48))
    assert {key: tuple(scores.shape) for key, scores in logits.items()} == {name: (2, 3), "ferplus": (2, 8)}


def test_unit_divides_by_255() -> None:
    pixels = torch.tensor([0.0, 51.0, 255.0]).view(1, 1, 1, 3)
    torch.testing.assert_close(normalize(pixels, "unit").flatten(), torch.tensor([0.0, 0.2, 1.0]))


def test_standardize_gives_each_image_mean_0_and_deviation_1() -> None:
    checks = torch.tensor([[0.0, 200.0], [200.0, 0.0]]).view(1, 1, 2, 2)  # deviation 100, and 1 added to it
    result = normalize(torch.cat([checks, checks / 2 + 50]), "standardize")
    torch.testing.assert_close(result[0, 0], torch.tensor([[-1.0, 1.0], [1.0, -1.0]]) * 100 / 101)
    torch.testing.assert_close(result[1, 0], torch.tensor([[-1.0, 1.0], [1.0, -1.0]]) * 50 / 51)


def test_standardize_keeps_a_blank_image_finite() -> None:
    assert (normalize(torch.full((1, 1, 4, 4), 17.0), "standardize") == 0).all()
