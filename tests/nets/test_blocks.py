"""Blocks of nets against their definition in numpy, or PyTorch's own layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from mien.nets.blocks import (
    CBAM,
    GRU,
    Convolution,
    DlibBlock,
    ReNet,
    RepConvolution,
    ResidualBlock,
    SequencePool,
    SqueezeExcite,
    Tokens,
    TransformerBlock,
    fold,
)
from mien.structures import FloatArray


def sigmoid(x: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-x))


def weights_of(module: nn.Module) -> dict[str, FloatArray]:
    """Return its weights in float64."""
    return {name: tensor.double().numpy() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("attention", [nn.Identity, SqueezeExcite, CBAM])
@pytest.mark.parametrize("training", [False, True])
def test_a_residual_block_starts_as_the_identity(attention: Callable[[int], nn.Module], training: bool) -> None:
    block = ResidualBlock(16, attention=attention).train(training)
    x = torch.randn(3, 16, 5, 5)
    assert torch.equal(block(x), x.relu())


def test_cbam_weights_channels_then_positions() -> None:
    """Woo et al. 2018, equations 2 and 3, term by term; the convolution reaches over the border, where all is 0."""
    torch.manual_seed(0)
    block = CBAM(8, reduction=2)
    x = np.random.default_rng(0).normal(size=(2, 8, 5, 6))
    w = weights_of(block)

    def shared(y: FloatArray) -> FloatArray:
        hidden = np.maximum(y @ w["squeeze.weight"].T + w["squeeze.bias"], 0)
        return hidden @ w["excite.weight"].T + w["excite.bias"]

    channels = sigmoid(shared(x.mean((2, 3))) + shared(x.max((2, 3))))
    weighed = x * channels[:, :, None, None]
    padded = np.pad(np.stack([weighed.mean(1), weighed.max(1)], 1), ((0, 0), (0, 0), (3, 3), (3, 3)))
    expected = np.empty_like(x)
    for row in range(5):
        for column in range(6):
            window = padded[:, :, row : row + 7, column : column + 7]
            place = sigmoid((window * w["places.weight"]).sum((1, 2, 3)) + w["places.bias"])
            expected[:, :, row, column] = weighed[:, :, row, column] * place[:, None]
    with torch.inference_mode():
        result = block(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_recurrent_units_agree_with_pytorch_in_both_directions() -> None:
    torch.manual_seed(0)
    forth, back, oracle = GRU(5, 3), GRU(5, 3, back=True), nn.GRU(5, 3, batch_first=True, bidirectional=True)
    for unit, suffix in ((forth, ""), (back, "_reverse")):
        for layer, kind in ((unit.input, "ih"), (unit.state, "hh")):
            for part in ("weight", "bias"):
                getattr(layer, part).data = getattr(oracle, f"{part}_{kind}_l0{suffix}").data
    x = torch.randn(2, 4, 5)
    with torch.inference_mode():
        torch.testing.assert_close(torch.cat([forth(x), back(x)], 2), oracle(x)[0])


def test_a_recurrent_unit_of_one_number_can_be_computed_by_hand() -> None:
    """From state 0, with reset and update gates at 1/2 throughout and the new state x."""
    unit = GRU(1, 1)
    for parameter in unit.parameters():
        nn.init.zeros_(parameter)
    unit.input.weight.data[2] = 1
    with torch.inference_mode():
        states = unit(torch.tensor([[[0.5], [-1.0]]])).flatten()
    first = np.tanh(0.5) / 2
    np.testing.assert_allclose(states, [first, (np.tanh(-1.0) + first) / 2], atol=1e-6)


def test_renet_sweeps_columns_then_rows() -> None:
    torch.manual_seed(0)
    block = ReNet(5, 3)
    x = torch.randn(2, 5, 4, 6)
    with torch.inference_mode():
        result = block(x)
        columns = torch.empty(2, 6, 4, 6)
        for column in range(6):
            steps = x[:, :, :, column].transpose(1, 2)
            columns[:, :, :, column] = torch.cat([block.down(steps), block.up(steps)], 2).transpose(1, 2)
        for row in range(4):
            steps = columns[:, :, row].transpose(1, 2)
            expected = torch.cat([block.right(steps), block.left(steps)], 2).transpose(1, 2)
            torch.testing.assert_close(result[:, :, row], expected)


def test_each_position_of_a_renet_output_depends_on_the_whole_map() -> None:
    torch.manual_seed(0)
    block, x = ReNet(3, 4), torch.randn(1, 3, 5, 5, requires_grad=True)
    for row, column in ((0, 0), (2, 3), (4, 4)):
        (gradient,) = torch.autograd.grad(block(x)[0, :, row, column].square().sum(), x)
        assert (gradient.abs().sum(1) > 0).all()


def test_each_position_has_its_embedding_at_the_net_s_input_size() -> None:
    tokens = Tokens(2, 3)
    with torch.inference_mode():
        result = tokens(torch.zeros(4, 2, 3, 3))
    for i in range(9):
        assert torch.equal(result[:, i], tokens.weight[:, :, i // 3, i % 3].expand(4, -1))


def test_embeddings_are_interpolated_for_other_sizes() -> None:
    tokens = Tokens(1, 4)
    tokens.weight.data = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4).clone()
    with torch.inference_mode():
        torch.testing.assert_close(tokens(torch.zeros(1, 1, 2, 2)).flatten(), torch.tensor([0.5, 2.5, 0.5, 2.5]))
        assert tokens(torch.zeros(1, 1, 6, 6)).flatten().diff().view(-1)[:5].ge(0).all()
        assert tokens(torch.zeros(1, 1, 5, 6)).shape == (1, 30, 1)


def test_a_transformer_block_agrees_with_pytorch() -> None:
    """With the norms before the layers, and weights taken over."""
    torch.manual_seed(0)
    block = TransformerBlock(12, heads=3)
    oracle = nn.TransformerEncoderLayer(12, 3, 48, dropout=0, activation="gelu", batch_first=True, norm_first=True)
    own = {"norm1": block.norm1, "self_attn.in_proj_": block.ask, "self_attn.out_proj": block.answer,
           "norm2": block.norm2, "linear1": block.widen, "linear2": block.narrow}  # fmt: skip
    state = {}
    for name, module in own.items():
        for part, tensor in module.state_dict().items():
            state[f"{name}{part}" if name.endswith("_") else f"{name}.{part}"] = tensor
    oracle.load_state_dict(state)
    x = torch.randn(2, 5, 12, requires_grad=True)  # with a gradient it takes no short way of its own
    torch.testing.assert_close(block(x), oracle(x), atol=1e-5, rtol=1e-5)


def test_tokens_are_pooled_evenly_at_first_and_by_attention_once_trained() -> None:
    pool, x = SequencePool(2), torch.tensor([[[0.0, 4.0], [2.0, 8.0]]])
    with torch.inference_mode():
        torch.testing.assert_close(pool(x), torch.tensor([[1.0, 6.0]]))
        pool.weight.data = torch.tensor([np.log(3) / 2, 0.0], dtype=torch.float32)  # the second counts three times
        torch.testing.assert_close(pool(x), torch.tensor([[1.5, 7.0]]))


@pytest.mark.parametrize(("side", "short"), [(7, 3), (8, 3)])
def test_dlibs_block_pads_with_zeros(side: int, short: int) -> None:
    """Of 8 pixels the unpadded stride leaves 3, the pooled short cut 4; 4 more channels have no short cut."""
    block = DlibBlock(2, 6, down=True).eval()
    x = torch.rand(1, 2, side, side)
    with torch.inference_mode():
        result, pooled = block(x), nn.functional.avg_pool2d(x, 2)
        branch = block.norm2(block.conv2(block.norm1(block.conv1(x)).relu()))
    assert (branch.shape[2], result.shape[2]) == (short, side // 2)
    expected = torch.zeros(1, 6, side // 2, side // 2)
    expected[:, :2] += pooled
    expected[:, :, :short, :short] += branch
    torch.testing.assert_close(result, expected.relu())


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [((6, 6), 1, 1), ((4, 5), 1, 1), ((12, 12), 2, 1), ((11, 11), 2, 0)]
)
def test_gradients_of_convolutions_on_small_maps_agree_with_pytorch(
    size: tuple[int, int], stride: int, padding: int
) -> None:
    torch.manual_seed(0)
    mine = Convolution(16, 24, stride=stride, padding=padding)
    x = torch.randn(4, 16, *size).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = mine(x)
    assert "SmallMaps" in y.grad_fn.name()
    gradient = torch.randn_like(y)
    y.backward(gradient)

    exact = mine.weight.detach().bfloat16().float().requires_grad_()
    exact_x = x.detach().float().requires_grad_()
    expected = nn.functional.conv2d(exact_x, exact, stride=stride, padding=padding)
    expected.backward(gradient.float())
    for got, wanted in ((y, expected), (x.grad, exact_x.grad), (mine.weight.grad, exact.grad)):
        assert (got.float() - wanted).abs().max() < 0.01 * wanted.abs().max()  # bfloat16 keeps 8 bits


@pytest.mark.parametrize(("size", "dtype"), [(7, torch.bfloat16), (6, torch.float32)])
def test_other_convolutions_use_pytorch(size: int, dtype: torch.dtype) -> None:
    mine = Convolution(4, 4).to(dtype)
    assert "SmallMaps" not in mine(torch.randn(1, 4, size, size, dtype=dtype)).grad_fn.name()


@pytest.mark.parametrize(("channels", "width", "stride"), [(8, 8, 1), (8, 8, 2), (4, 8, 1)])
def test_a_folded_convolution_computes_what_its_branches_do(channels: int, width: int, stride: int) -> None:
    torch.manual_seed(0)
    block = RepConvolution(channels, width, stride=stride)
    for _ in range(3):  # batch statistics that are neither 0 nor 1
        block(2 * torch.randn(8, channels, 9, 9) + 1)
    block.eval()
    x = torch.randn(2, channels, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(block.folded()(x), block(x), atol=1e-5, rtol=1e-4)


def test_folding_replaces_nested_convolutions_only() -> None:
    net = nn.Sequential(nn.Sequential(RepConvolution(1, 4)), nn.Linear(4, 2))
    fold(net)
    assert [type(module).__name__ for module in net.modules()] == [
        "Sequential", "Sequential", "Sequential", "Conv2d", "ReLU", "Linear",
    ]  # fmt: skip
