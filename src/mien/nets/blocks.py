"""Building blocks of the nets: convolutions, attention, recurrence, pooling and resizing.

See docs/decisions/0032.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input


def conv_bn_relu(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    """Return a 3×3 convolution, batch norm and ReLU: (n, channels, H, W) to (n, width, ⌈H / stride⌉, ⌈W / stride⌉)."""
    return nn.Sequential(
        Convolution(channels, width, stride=stride),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


class Convolution(nn.Conv2d):
    """A 3×3 convolution without bias, with a faster backward pass for small maps in bfloat16 on a CPU.

    There PyTorch 2.13 computes the gradient of the weights more slowly than the equivalent matrix product.
    """

    def __init__(self, channels: int, width: int, *, stride: int = 1, padding: int = 1) -> None:
        super().__init__(channels, width, 3, stride=stride, padding=padding, bias=False)
        self.small = SMALL_MAP * stride**2  # pixels of the input map

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, H, W) to (n, width, H', W')."""
        if self.training and x.dtype == torch.bfloat16 and x.device.type == "cpu" and x[0, 0].numel() <= self.small:
            y: Tensor = _SmallMaps.apply(x, self.weight, self.stride[0], self.padding[0])  # type: ignore[no-untyped-call]
            return y
        return super().forward(x)


# Pixels of the output map, up to which the matrix product saves more time than its copies cost.
SMALL_MAP = 36


class _SmallMaps(torch.autograd.Function):
    """The convolution of `Convolution` with its own gradient of the weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        weight = weight.to(x.dtype)
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, stride=stride, padding=padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        stride, padding, (width, channels, side, _) = ctx.stride, ctx.padding, weight.shape
        to_x = conv2d_input(x.shape, weight, gradient, stride=stride, padding=padding)  # type: ignore[no-untyped-call]
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
        patches = padded.unfold(1, side, stride).unfold(2, side, stride).permute(0, 1, 2, 4, 5, 3)
        rows = patches.reshape(-1, side * side * channels)  # one per position of the filter
        to_weight = gradient.permute(1, 0, 2, 3).reshape(width, -1) @ rows
        return to_x, to_weight.view(width, side, side, channels).permute(0, 3, 1, 2).float(), None, None


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut, initialised as the identity (Goyal et al. 2017, arXiv:1706.02677).

    Args:
        width: Channels of the maps.
        attention: Factory of the attention on the residual branch, called with `width`; `nn.Identity` for none.
    """

    def __init__(self, width: int, *, attention: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.first = conv_bn_relu(width, width)
        self.conv = Convolution(width, width)
        self.norm = nn.BatchNorm2d(width)
        self.attention = attention(width)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, H, W) to the same shape."""
        return F.relu(x + self.attention(self.norm(self.conv(self.first(x)))))


class RepConvolution(nn.Module):
    """A 3×3 convolution and ReLU that trains as three branches: RepVGG (Ding et al. 2021, arXiv:2101.03697).

    The branches, 3×3, 1×1 and, where shapes allow, the identity, each with batch norm, are linear, so `folded` returns
    their sum as one convolution.

    Args:
        channels: Channels of the input.
        width: Channels of the output.
        stride: Step of the convolution.
    """

    def __init__(self, channels: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        same = channels == width and stride == 1
        self.conv, self.norm = Convolution(channels, width, stride=stride), nn.BatchNorm2d(width)
        self.point = nn.Conv2d(channels, width, 1, stride=stride, bias=False)
        self.point_norm = nn.BatchNorm2d(width)
        self.identity_norm = nn.BatchNorm2d(width) if same else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, H, W) to (n, width, ⌈H / stride⌉, ⌈W / stride⌉)."""
        y = self.norm(self.conv(x)) + self.point_norm(self.point(x))
        return F.relu(y if self.identity_norm is None else y + self.identity_norm(x))

    @torch.no_grad()
    def folded(self) -> nn.Sequential:
        """Return a convolution and ReLU that compute the same in eval mode."""
        branches = [(self.conv.weight, self.norm), (F.pad(self.point.weight, (1, 1, 1, 1)), self.point_norm)]
        if self.identity_norm is not None:
            branches.append((nn.init.dirac_(torch.empty_like(self.conv.weight)), self.identity_norm))
        weight, bias = torch.zeros_like(self.conv.weight), torch.zeros_like(self.norm.bias)
        for kernel, norm in branches:
            mean, variance = norm.running_mean, norm.running_var
            assert mean is not None
            assert variance is not None
            scale = norm.weight / (variance + norm.eps).sqrt()
            weight += kernel * scale[:, None, None, None]
            bias += norm.bias - mean * scale
        conv = nn.Conv2d(weight.shape[1], len(weight), 3, stride=self.conv.stride[0], padding=1)
        conv.weight.copy_(weight)
        assert conv.bias is not None
        conv.bias.copy_(bias)
        return nn.Sequential(conv, nn.ReLU(inplace=True))


def fold(net: nn.Module) -> None:
    """Replace each `RepConvolution` of a net by its `folded` form, in place; the net is for eval mode then."""
    for name, child in list(net.named_children()):
        if isinstance(child, RepConvolution):
            setattr(net, name, child.folded())
        else:
            fold(child)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: weight channels by global context (Hu et al. 2018, arXiv:1709.01507)."""

    def __init__(self, width: int, reduction: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Linear(width, width // reduction)
        self.excite = nn.Linear(width // reduction, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, H, W) to the same shape."""
        weights = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return x * weights[:, :, None, None]


class CBAM(nn.Module):
    """Channel attention, then spatial attention (Woo et al. 2018, arXiv:1807.06521).

    The shared dense layers are as wide as those of `SqueezeExcite`; the paper's are half as wide.
    """

    def __init__(self, width: int, reduction: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Linear(width, width // reduction)
        self.excite = nn.Linear(width // reduction, width)
        self.places = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, H, W) to the same shape."""
        mean, largest = (self.excite(F.relu(self.squeeze(y))) for y in (x.mean((2, 3)), x.amax((2, 3))))
        x = x * torch.sigmoid(mean + largest)[:, :, None, None]
        summary = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.places(summary))


class ReNet(nn.Module):
    """Bidirectional recurrent sweeps over columns, then over rows (Visin et al. 2015, arXiv:1505.00393).

    Each position of the output depends on the whole map. After convolutions: Visin et al. 2016, arXiv:1511.07053.

    Args:
        channels: Channels of the maps.
        units: Recurrent units per direction.
    """

    def __init__(self, channels: int, units: int) -> None:
        super().__init__()
        self.down, self.up = GRU(channels, units), GRU(channels, units, back=True)
        self.right, self.left = GRU(2 * units, units), GRU(2 * units, units, back=True)
        self.width = 2 * units

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, H, W) to (n, 2 · units, H, W)."""
        height, width = x.shape[2:]
        columns = x.permute(0, 3, 2, 1).flatten(0, 1)  # (n · W, H, channels)
        columns = torch.cat([self.down(columns), self.up(columns)], 2)
        rows = columns.reshape(-1, width, height, self.width).transpose(1, 2).flatten(0, 1)  # (n · H, W, 2 · units)
        rows = torch.cat([self.right(rows), self.left(rows)], 2)
        return rows.reshape(-1, height, width, self.width).permute(0, 3, 1, 2)


class GRU(nn.Module):
    """A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078) with weights in PyTorch's layout.

    `nn.GRU` warns about batch sizes other than 1 when it is exported, and its weights lose their names.

    Args:
        channels: Features per step.
        units: Size of the state.
        back: Whether it runs from the last step to the first.
    """

    def __init__(self, channels: int, units: int, *, back: bool = False) -> None:
        super().__init__()
        self.input = Dense(channels, 3 * units)  # to the reset gate, the update gate and the new state
        self.state = nn.Linear(units, 3 * units)
        self.units, self.back = units, back

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, steps, channels) to the states after each step, (n, steps, units)."""
        inputs = self.input(x).unbind(1)
        states: list[Tensor] = []
        for gates in reversed(inputs) if self.back else inputs:
            # The initial state is 0; as a tensor of zeros it would fix the batch size of the export.
            past = self.state(states[-1]) if states else self.state.bias
            (reset, update, new), (r, u, n) = gates.split(self.units, 1), past.split(self.units, -1)
            new, kept = torch.tanh(new + torch.sigmoid(reset + r) * n), torch.sigmoid(update + u)
            states.append(new + kept * (states[-1] - new) if states else new - kept * new)
        return torch.stack(states[::-1] if self.back else states, 1)


class Dense(nn.Linear):
    """A dense layer on sequences, with all steps as one batch, so that its exported weight keeps its name and rows."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, steps, n_inputs) to (n, steps, n_outputs)."""
        return super().forward(x.reshape(-1, self.in_features)).reshape(-1, x.shape[1], self.out_features)


class Tokens(nn.Module):
    """Turn each position of a map into a token and add a learned positional embedding (Dosovitskiy et al. 2021).

    Args:
        width: Channels of the maps and features of a token.
        side: Height and width of the maps at the net's input size; for others, the embedding is interpolated.
    """

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, width, side, side), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, H, W) to (n, H · W, width), row by row."""
        places: Tensor = self.weight
        if not torch.onnx.is_in_onnx_export() and x.shape[2:] != places.shape[2:]:  # an export has one size
            places = F.interpolate(places, size=x.shape[2:], mode="bilinear", align_corners=False)
        return (x + places).flatten(2).transpose(1, 2)


class TransformerBlock(nn.Module):
    """Self-attention and an MLP, each with a shortcut (Dosovitskiy et al. 2021, arXiv:2010.11929).

    Args:
        width: Features of a token; a multiple of `heads`.
        heads: Number of attention heads.
    """

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.parts = (heads, width // heads)
        self.norm1 = nn.LayerNorm(width)
        self.ask = Dense(width, 3 * width)  # queries, keys and values
        self.answer = Dense(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.widen = Dense(width, 4 * width)
        self.narrow = Dense(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, t, width) to the same shape."""
        asked = self.ask(self.norm1(x)).reshape(-1, x.shape[1], 3, *self.parts)
        queries, keys, values = asked.permute(2, 0, 3, 1, 4).unbind()  # each (n, heads, t, width / heads)
        shares = (queries @ keys.transpose(2, 3) * self.parts[1] ** -0.5).softmax(3)
        x = x + self.answer((shares @ values).transpose(1, 2).flatten(2))
        y: Tensor = self.narrow(F.gelu(self.widen(self.norm2(x))))
        return x + y


class SequencePool(nn.Module):
    """Attention pooling: a weighted mean of the tokens (Hassani et al. 2021, arXiv:2104.05704)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))  # equal weights at initialisation

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, t, width) to (n, width)."""
        shares = (x @ self.weight).softmax(1)
        return torch.matmul(shares[:, None], x)[:, 0]


class GlobalAverage(nn.Module):
    """Mean over height and width."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, C, H, W) to (n, C)."""
        return x.mean((2, 3))


class DlibBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut, added as in dlib: the smaller of the two is padded with zeros."""

    def __init__(self, channels: int, width: int, *, down: bool = False) -> None:
        super().__init__()
        # dlib pads by half the filter where the stride is 1, else not at all.
        self.conv1 = Convolution(channels, width, stride=2 if down else 1, padding=0 if down else 1)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = Convolution(width, width)
        self.norm2 = nn.BatchNorm2d(width)
        self.down, self.widens, self.channels = down, width > channels, channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, H, W) to (n, width, H, W), or to half that height and width, rounded down."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.down:
            x = F.avg_pool2d(x, 2)
            y = torch.cat([y, torch.zeros_like(y[:, :, :1])], 2)
            y = torch.cat([y, torch.zeros_like(y[:, :, :, :1])], 3)
            y = y[:, :, : x.shape[2], : x.shape[3]]  # the padding is one too many where the side was even
        if self.widens:
            return F.relu(torch.cat([x + y[:, : self.channels], y[:, self.channels :]], 1))
        return F.relu(x + y)


class Centred(nn.Module):
    """Subtract the mean of each colour channel and divide by a constant; grey images become RGB."""

    def __init__(self, mean: tuple[float, float, float], divisor: float) -> None:
        super().__init__()
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.divisor = divisor

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 1 or 3, H, W) to (n, 3, H, W)."""
        return (x - self.mean) / self.divisor


class Enlarged(nn.Module):
    """Upscale images that are too small for a net.

    Args:
        least: Smallest side in pixels that is left unchanged.
        to: Side in pixels of upscaled images.
        always: Whether the net's input size is below `least`; the export then always upscales.
    """

    def __init__(self, least: int, *, to: int, always: bool) -> None:
        super().__init__()
        self.least, self.to_side, self.always = least, to, always

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, C, H, W) to the same or to (n, C, to, to)."""
        if not self.always and (torch.onnx.is_in_onnx_export() or min(x.shape[2:]) >= self.least):
            return x
        return F.interpolate(x, size=(self.to_side, self.to_side), mode="bilinear", align_corners=False)


class FixedSide(nn.Module):
    """Pool feature maps of other sizes to a fixed side, so that a net with dense layers can train on smaller images."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, C, H, W) to (n, C, side, side); return x unchanged if it has that size."""
        size = (self.side, self.side)
        if torch.onnx.is_in_onnx_export() or x.shape[2:] == size:  # an export has one size
            return x
        return F.adaptive_avg_pool2d(x, size)
