"""The networks. A net is a body that turns pictures into features, and one linear head per label set."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import ConfigError
from mien.models.spec import Normalize, Preprocess


class Net(nn.Module):
    """A body and its heads.

    Args:
        body: Maps normalised pictures, float (n, channels, size, size), to features (n, n_features).
        n_features: Width of the features.
        heads: Label set name -> number of labels, the default head first.
    """

    def __init__(self, body: nn.Module, n_features: int, heads: Mapping[str, int]) -> None:
        super().__init__()
        self.body = body
        self.heads = nn.ModuleDict({name: nn.Linear(n_features, n) for name, n in heads.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return the logits (n, k) of each head by its name."""
        features = self.body(pictures)
        return {name: head(features) for name, head in self.heads.items()}


def normalize(pictures: Tensor, mode: Normalize) -> Tensor:
    """Bring pixels to the range a net expects.

    Args:
        pictures: float (n, C, H, W) in [0, 255].
        mode: See `models.spec.Preprocess`.

    Returns:
        The same shape, normalised.
    """
    if mode == "unit":
        return pictures / 255
    if mode == "signed":
        return pictures / 127.5 - 1
    if mode == "none":
        return pictures
    centred = pictures - pictures.mean((1, 2, 3), keepdim=True)
    # 1 grey level keeps a blank picture finite.
    return centred / (centred.square().mean((1, 2, 3), keepdim=True).sqrt() + 1)


def build_net(arch: str, preprocess: Preprocess, heads: Mapping[str, int]) -> Net:
    """Make a net of a named architecture, with random weights.

    Raises:
        ConfigError: No such architecture.
    """
    if arch not in NETS:
        raise ConfigError(f"unknown net '{arch}'; choose from {', '.join(NETS)}")
    body, n_features = NETS[arch](preprocess.channels, preprocess.size)
    return Net(body, n_features, heads)


Body = tuple[nn.Module, int]  # the module and the width of its features


def model2020(channels: int, size: int) -> Body:
    """The three-convolution net of the 2020 prototype (Pranav et al. 2020)."""
    widths = (64, 128, 256)
    layers: list[nn.Module] = []
    for previous, width in zip((channels, *widths), widths, strict=False):
        layers += [_conv_bn_relu(previous, width), nn.MaxPool2d(2)]
    side = size // 8
    layers += [FixedSide(side), nn.Flatten(), nn.Dropout(0.5)]
    layers += [nn.Linear(256 * side**2, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU()]
    return nn.Sequential(*layers), 128


def vgg_b(channels: int, size: int) -> Body:
    """VGG-B for small pictures (Pramerdorfer & Kampel 2016, arXiv:1612.02903): 8 convolutions, dense 1024."""
    widths = (64, 128, 256, 512)
    layers: list[nn.Module] = []
    for previous, width in zip((channels, *widths), widths, strict=False):
        layers += [_conv_bn_relu(previous, width), _conv_bn_relu(width, width), nn.MaxPool2d(2)]
    side = size // 16
    layers += [FixedSide(side), nn.Flatten(), nn.Dropout(0.5)]
    layers += [nn.Linear(512 * side**2, 1024), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers), 1024


def base(channels: int, size: int) -> Body:
    """The flagship: residual (He et al. 2016, arXiv:1512.03385) with squeeze-and-excitation (Hu et al. 2018).

    5.3 M parameters, 349 MMAC at 48×48; pooling is by stride, which is what a processor does fastest.
    """
    del size  # global average pooling takes any
    return nn.Sequential(
        _conv_bn_relu(channels, 32),
        _conv_bn_relu(32, 64, stride=2),
        ResidualBlock(64, attention=False),
        _conv_bn_relu(64, 160, stride=2),
        ResidualBlock(160),
        ResidualBlock(160),
        _conv_bn_relu(160, 320, stride=2),
        ResidualBlock(320),
        ResidualBlock(320),
        GlobalAverage(),
        nn.Dropout(0.3),
    ), 320


def tiny(channels: int, size: int) -> Body:
    """A net of two convolutions for tests and for trying things out: seconds, not hours."""
    del size
    return nn.Sequential(_conv_bn_relu(channels, 16, stride=2), _conv_bn_relu(16, 32, stride=2), GlobalAverage()), 32


NETS: dict[str, Callable[[int, int], Body]] = {
    "model2020": model2020,
    "vgg-b": vgg_b,
    "base": base,
    "tiny": tiny,
}


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a short cut; starts as the identity (Goyal et al. 2017, arXiv:1706.02677)."""

    def __init__(self, width: int, *, attention: bool = True) -> None:
        super().__init__()
        self.first = _conv_bn_relu(width, width)
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.attention = SqueezeExcite(width) if attention else nn.Identity()
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, H, W) to the same shape."""
        return F.relu(x + self.attention(self.norm(self.conv(self.first(x)))))


class SqueezeExcite(nn.Module):
    """Weigh the channels by what the whole picture shows (Hu et al. 2018, arXiv:1709.01507)."""

    def __init__(self, width: int, reduction: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Linear(width, width // reduction)
        self.excite = nn.Linear(width // reduction, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, H, W) to the same shape."""
        weights = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return x * weights[:, :, None, None]


class GlobalAverage(nn.Module):
    """Mean over height and width: (n, C, H, W) to (n, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, C, H, W) to (n, C)."""
        return x.mean((2, 3))


class FixedSide(nn.Module):
    """Pool feature maps of other sizes to one side, so that a dense layer can train on smaller pictures too."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, C, H, W) to (n, C, side, side); of that size already, x comes back as it is."""
        if torch.onnx.is_in_onnx_export() or x.shape[2:] == (
            self.side,
            self.side,
        ):  # an exported net takes its one size
            return x
        return F.adaptive_avg_pool2d(x, self.side)


def _conv_bn_relu(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )
