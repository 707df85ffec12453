"""The networks: a backbone that turns images into features, and one linear head per label set.

See docs/decisions/0006.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor, nn

from mien.errors import ConfigError
from mien.models.spec import Normalize, Preprocess
from mien.nets.blocks import (
    CBAM,
    Centred,
    DlibBlock,
    Enlarged,
    FixedSide,
    GlobalAverage,
    ReNet,
    RepConvolution,
    ResidualBlock,
    SequencePool,
    SqueezeExcite,
    Tokens,
    TransformerBlock,
    conv_bn_relu,
)
from mien.settings import shown


class Net(nn.Module):
    """A backbone and its heads.

    Args:
        backbone: Maps normalised images, float (n, channels, size, size), to features (n, n_features).
        n_features: Width of the features.
        heads: Label set name -> number of labels, the default head first.
    """

    def __init__(self, backbone: nn.Module, n_features: int, heads: Mapping[str, int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleDict({head_key(name): nn.Linear(n_features, n) for name, n in heads.items()})
        self.names = tuple(heads)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return the logits (n, k) of each head by its name."""
        features = self.backbone(images)
        return {name: head(features) for name, head in zip(self.names, self.heads.values(), strict=True)}


def head_key(name: str) -> str:
    """Return the module name of a head; dots and the attributes of `ModuleDict` are not allowed there."""
    key = name.replace(".", "-")
    return f"{key}-" if not key or hasattr(nn.ModuleDict(), key) else key


def normalize(images: Tensor, mode: Normalize) -> Tensor:
    """Normalise images, float (n, C, H, W) in [0, 255], by a mode of `models.spec.Preprocess`."""
    if mode == "unit":
        return images / 255
    if mode == "signed":
        return images / 127.5 - 1
    if mode == "none":
        return images
    centred = images - images.mean((1, 2, 3), keepdim=True)
    # 1 grey level keeps a blank image finite.
    return centred / (centred.square().mean((1, 2, 3), keepdim=True).sqrt() + 1)


def freeze(net: nn.Module, parts: Iterable[str]) -> list[nn.Module]:
    """Freeze parts of a net, in place.

    Args:
        net: The net.
        parts: Names of modules, e.g. "backbone" or "backbone.0"; their submodules are frozen too.

    Returns:
        The frozen batch norms, which must stay in eval mode while the net trains.

    Raises:
        ConfigError: No such part, or no trainable parameter is left.
    """
    modules = dict(net.named_modules())
    norms: list[nn.Module] = []
    for part in parts:
        if not part or part not in modules:
            known = [name for name in modules if name and name.count(".") < 2]
            raise ConfigError(f"cannot freeze '{part}': the net has no such part; choose from {', '.join(known)}, …")
        modules[part].requires_grad_(False)
        norms += [module for module in modules[part].modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise ConfigError("all parameters are frozen; leave at least the heads out of freeze")
    return norms


def check_net(arch: str) -> None:
    """Make sure that there is an architecture of a name.

    Raises:
        ConfigError: There is none.
    """
    if arch not in NETS:
        raise ConfigError(f"unknown net {shown(arch)}; choose from {', '.join(NETS)}")


def build_net(arch: str, preprocess: Preprocess, heads: Mapping[str, int]) -> Net:
    """Build a net of a named architecture, with random weights.

    Raises:
        ConfigError: No such architecture.
    """
    check_net(arch)
    backbone, n_features = NETS[arch](preprocess.channels, preprocess.size)
    return Net(backbone, n_features, heads)


Backbone = tuple[nn.Module, int]  # the module and the width of its features


def model2020(channels: int, size: int) -> Backbone:
    """The three-convolution net of the 2020 prototype (Pranav et al. 2020)."""
    widths = (64, 128, 256)
    layers: list[nn.Module] = []
    for previous, width in zip((channels, *widths), widths, strict=False):
        layers += [conv_bn_relu(previous, width), nn.MaxPool2d(2)]
    side = size // 8
    layers += [FixedSide(side), nn.Flatten(), nn.Dropout(0.5)]
    layers += [nn.Linear(256 * side**2, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU()]
    return nn.Sequential(*layers), 128


def ferg(channels: int, size: int) -> Backbone:
    """The cartoon net of the 2020 prototype, made for FERG-DB's faces at 100×100 RGB: 4.8 M parameters there.

    The prototype had no batch norm; one after each convolution is ours, as in `model2020`.
    """
    widths = (32, 64, 128)
    layers: list[nn.Module] = []
    for previous, width in zip((channels, *widths), widths, strict=False):
        layers += [conv_bn_relu(previous, width), nn.MaxPool2d(2)]
    side = size // 8  # each pooling rounds down: 100, 50, 25, 12
    layers += [FixedSide(side), nn.Flatten(), nn.Dropout(0.5)]
    layers += [nn.Linear(128 * side**2, 256), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers), 256


def vgg_b(channels: int, size: int) -> Backbone:
    """VGG-B for small images (Pramerdorfer & Kampel 2016, arXiv:1612.02903): 8 convolutions, dense 1024."""
    widths = (64, 128, 256, 512)
    layers: list[nn.Module] = []
    for previous, width in zip((channels, *widths), widths, strict=False):
        layers += [conv_bn_relu(previous, width), conv_bn_relu(width, width), nn.MaxPool2d(2)]
    side = size // 16
    layers += [FixedSide(side), nn.Flatten(), nn.Dropout(0.5)]
    layers += [nn.Linear(512 * side**2, 1024), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers), 1024


def base(channels: int, size: int) -> Backbone:
    """The flagship: residual (He et al. 2016, arXiv:1512.03385) with squeeze-and-excitation (Hu et al. 2018).

    5.3 M parameters, 349 MMAC at 48×48; pooling is by stride, which is what a processor does fastest.
    """
    del size  # global average pooling takes any
    return nn.Sequential(*_base_maps(channels, SqueezeExcite), GlobalAverage(), nn.Dropout(0.3)), 320


def base_plain(channels: int, size: int) -> Backbone:
    """`base` without attention."""
    del size
    return nn.Sequential(*_base_maps(channels, nn.Identity), GlobalAverage(), nn.Dropout(0.3)), 320


def base_cbam(channels: int, size: int) -> Backbone:
    """`base` with channel and spatial attention (Woo et al. 2018, arXiv:1807.06521)."""
    del size
    return nn.Sequential(*_base_maps(channels, CBAM), GlobalAverage(), nn.Dropout(0.3)), 320


def base_gru(channels: int, size: int) -> Backbone:
    """`base` with a ReNet layer, recurrent sweeps over its last maps, before pooling."""
    del size
    maps = _base_maps(channels, SqueezeExcite)
    return nn.Sequential(*maps, ReNet(320, 128), GlobalAverage(), nn.Dropout(0.3)), 256


def base_vit(channels: int, size: int) -> Backbone:
    """`base` with three transformer blocks in place of its last two blocks, with as many parameters: 36 · 320².

    Convolutions before the transformer and attention pooling suit small datasets: compact transformers, Hassani et al.
    2021, arXiv:2104.05704.
    """
    blocks = [TransformerBlock(320, heads=5) for _ in range(3)]
    tokens = Tokens(320, -(-size // 8))
    maps = _base_maps(channels, SqueezeExcite)[:-2]
    return nn.Sequential(*maps, tokens, *blocks, nn.LayerNorm(320), SequencePool(320), nn.Dropout(0.3)), 320


def _base_maps(channels: int, attention: Callable[[int], nn.Module]) -> list[nn.Module]:
    """Return the layers of `base` up to its maps (n, 320, size / 8, size / 8); its last four blocks have attention."""
    return [
        conv_bn_relu(channels, 32),
        conv_bn_relu(32, 64, stride=2),
        ResidualBlock(64, attention=nn.Identity),
        conv_bn_relu(64, 160, stride=2),
        ResidualBlock(160, attention=attention),
        ResidualBlock(160, attention=attention),
        conv_bn_relu(160, 320, stride=2),
        ResidualBlock(320, attention=attention),
        ResidualBlock(320, attention=attention),
    ]


def tiny(channels: int, size: int) -> Backbone:
    """A net of two convolutions, for tests and quick trials: trains in seconds."""
    del size
    return nn.Sequential(conv_bn_relu(channels, 16, stride=2), conv_bn_relu(16, 32, stride=2), GlobalAverage()), 32


def mini(channels: int, size: int) -> Backbone:
    """A small net for phones and browsers: 0.85 M parameters, 9.6 MMAC at 48×48, once its branches are folded."""
    del size
    widths = (16, 32, 64, 128, 192)
    layers: list[nn.Module] = []
    for previous, width in zip((channels, *widths), widths, strict=False):
        layers += [RepConvolution(previous, width, stride=2), RepConvolution(width, width)]
    return nn.Sequential(*layers, GlobalAverage()), widths[-1]


def dlib_resnet(channels: int, size: int) -> Backbone:
    """dlib's ResNet for face recognition (King 2017, dlib.net/dnn_face_recognition_ex.cpp): 29 convolutions, 5.6 M.

    Its affine layers are batch norms here. Its last layer is left out: a linear map of the 256 features to a 128-number
    identity embedding, trained to ignore changes of expression. It takes pixels from 0 to 255 (`normalize = "none"`)
    and centres them itself.
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


def vggface(channels: int, size: int) -> Backbone:
    """VGGFace's VGG16 (Parkhi et al. 2015), with one dense layer of 1024 in place of its last three.

    It takes pixels from 0 to 255 (`normalize = "none"`) and centres them itself.
    """
    del channels  # grey becomes RGB in `Centred`
    # Means of its training images, in RGB: keras_vggface, preprocess_input, version 1.
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


DLIB_LEAST = 103  # pixels; for smaller sides, dlib's unpadded strides leave no map for the last one
NETS: dict[str, Callable[[int, int], Backbone]] = {
    "model2020": model2020,
    "vgg-b": vgg_b,
    "base": base,
    "base-plain": base_plain,
    "base-cbam": base_cbam,
    "base-gru": base_gru,
    "base-vit": base_vit,
    "mini": mini,
    "tiny": tiny,
    "ferg": ferg,
    "dlib-resnet": dlib_resnet,
    "vggface": vggface,
}
