"""The networks. A net is a body that turns pictures into features, and one linear head per label set."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

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


def freeze(net: nn.Module, parts: Iterable[str]) -> list[nn.Module]:
    """Keep parts of a net from learning, in place.

    Args:
        net: The net.
        parts: Names of its modules, e.g. "body" or "body.0"; all below them is meant.

    Returns:
        The batch norms that are frozen; while the net trains they are to stay in eval mode.

    Raises:
        ConfigError: No such part, or nothing is left that learns.
    """
    modules = dict(net.named_modules())
    norms: list[nn.Module] = []
    for part in parts:
        if not part or part not in modules:
            known = [name for name in modules if name and name.count(".") < 2]
            raise ConfigError(f"cannot freeze '{part}', the net has no such part; choose from {', '.join(known)}, …")
        modules[part].requires_grad_(False)
        norms += [module for module in modules[part].modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise ConfigError("everything is frozen, so nothing would learn; leave at least the heads out of freeze")
    return norms


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


def dlib_resnet(channels: int, size: int) -> Body:
    """dlib's ResNet for face recognition (King 2017, dlib.net/dnn_face_recognition_ex.cpp): 29 convolutions, 5.6 M.

    Its affine layers are batch norms here, and the last layer, to 128 numbers that tell people apart, is left out: they
    are a linear map of the 256 features below, and made to forget what changes in a face. It takes pixels from 0 to
    255 (`normalize = "none"`) and centres them itself.
    """
    del channels  # grey becomes RGB in `Centred`
    stages = ((32, 32, 3), (32, 64, 4), (64, 128, 3), (128, 256, 3), (256, 256, 1))
    layers: dict[str, nn.Module] = {
        "pixels": Centred((122.782, 117.001, 104.298), 256),
        "enlarged": Enlarged(DLIB_LEAST, to=112, always=size < DLIB_LEAST),
        "stem": nn.Sequential(
            nn.Conv2d(3, 32, 7, stride=2, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)
        ),
    }
    for number, (previous, width, n_blocks) in enumerate(stages, start=1):
        blocks = [DlibBlock(previous, width, down=number > 1)]
        layers[f"stage{number}"] = nn.Sequential(*blocks, *(DlibBlock(width, width) for _ in range(n_blocks - 1)))
    return nn.Sequential(OrderedDict(layers | {"pool": GlobalAverage(), "dropout": nn.Dropout(0.3)})), 256


def vggface(channels: int, size: int) -> Body:
    """VGG16 as VGGFace has it (Parkhi et al. 2015), and a dense layer of 1024 in place of its last three.

    It takes pixels from 0 to 255 (`normalize = "none"`) and centres them itself.
    """
    del channels  # grey becomes RGB in `Centred`
    # Means of the training pictures, here in RGB: keras_vggface, preprocess_input, version 1.
    layers: dict[str, nn.Module] = {"pixels": Centred((129.1863, 104.7624, 93.5940), 1)}
    previous = 3
    for block, (width, n_convolutions) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        parts: dict[str, nn.Module] = {}
        for number in range(1, n_convolutions + 1):
            parts[f"conv{block}_{number}"] = nn.Conv2d(previous, width, 3, padding=1)
            parts[f"relu{block}_{number}"] = nn.ReLU(inplace=True)
            previous = width
        layers[f"conv{block}"] = nn.Sequential(OrderedDict(parts | {"pool": nn.MaxPool2d(2)}))
    side = size // 32
    layers |= {"side": FixedSide(side), "flatten": nn.Flatten(), "dropout": nn.Dropout(0.5)}
    layers |= {"dense": nn.Linear(512 * side**2, 1024), "relu": nn.ReLU(), "norm": nn.BatchNorm1d(1024)}
    return nn.Sequential(OrderedDict(layers)), 1024


DLIB_LEAST = 103  # pixels a side, below which nothing is left for the last of dlib's unpadded strides

NETS: dict[str, Callable[[int, int], Body]] = {
    "model2020": model2020,
    "vgg-b": vgg_b,
    "base": base,
    "tiny": tiny,
    "dlib-resnet": dlib_resnet,
    "vggface": vggface,
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


class DlibBlock(nn.Module):
    """Two 3×3 convolutions beside a short cut, as dlib adds them: what is smaller is filled up with zeros."""

    def __init__(self, channels: int, width: int, *, down: bool = False) -> None:
        super().__init__()
        # dlib pads by half the filter where the stride is 1, else not at all.
        self.conv1 = nn.Conv2d(channels, width, 3, stride=2 if down else 1, padding=0 if down else 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.down, self.widens, self.channels = down, width > channels, channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, H, W) to (n, width, H, W), or to half that height and width, rounded down."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.down:
            x = F.avg_pool2d(x, 2)
            y = torch.cat([y, torch.zeros_like(y[:, :, :1])], 2)
            y = torch.cat([y, torch.zeros_like(y[:, :, :, :1])], 3)
            y = y[:, :, : x.shape[2], : x.shape[3]]  # one more than before where the side was even
        if self.widens:
            return F.relu(torch.cat([x + y[:, : self.channels], y[:, self.channels :]], 1))
        return F.relu(x + y)


class Centred(nn.Module):
    """Subtract each colour's mean and divide by a number; grey pictures become RGB."""

    def __init__(self, mean: tuple[float, float, float], divisor: float) -> None:
        super().__init__()
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.divisor = divisor

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 1 or 3, H, W) to (n, 3, H, W)."""
        return (x - self.mean) / self.divisor


class Enlarged(nn.Module):
    """Enlarge pictures that are too small for a net.

    Args:
        least: Side from which on they stay as they are.
        to: Side that smaller ones get.
        always: Whether the net is made for pictures that are too small; it is then exported so.
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
