"""The net of voice models: the first blocks of a pretrained speech encoder, statistics over time, a linear head
(extra: train).

Whisper's encoder (Radford et al. 2022, arXiv:2212.04356): two convolutions, sinusoidal positions, and transformer
blocks with the normalisation before each part. Its last blocks forget how speech sounds in favour of what is said; see
docs/decisions/0044.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from safetensors import SafetensorError
from safetensors.numpy import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from mien.errors import ModelError
from mien.files import as_path
from mien.models.onnx_file import read_spec
from mien.models.spec import Sound
from mien.structures import FloatArray

MIN_VARIANCE = 1e-10  # under the root of the standard deviation


class Block(nn.Module):
    """A transformer block: self-attention and a feed-forward part, each added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, t, width) to the same shape."""
        n, t, width = x.shape
        split = self.attend(self.norm1(x)).view(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(split[0], split[1], split[2])
        x = x + self.project(mixed.transpose(1, 2).reshape(n, t, width))
        return x + self.narrow(F.gelu(self.widen(self.norm2(x))))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Log-mel spectrograms to frames, 50 per second.

    Args:
        sound: Input format.
        width: Numbers per frame.
        blocks: Number of transformer blocks.
        heads: Heads of their attention.
    """

    positions: Tensor

    def __init__(self, sound: Sound, *, width: int = 512, blocks: int = 3, heads: int = 8) -> None:
        super().__init__()
        self.width = width
        self.conv1 = nn.Conv1d(sound.bands, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        longest = round(sound.longest * sound.rate / sound.hop / 2) + 1
        step = np.exp(-np.log(10_000) / (width // 2 - 1) * np.arange(width // 2))
        angle = np.arange(longest)[:, None] * step
        table = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
        self.register_buffer("positions", torch.tensor(table, dtype=torch.float32), persistent=False)

    def forward(self, mel: Tensor) -> list[Tensor]:
        """Map spectrograms (n, bands, t) to the output of each block, (n, (t + 1) // 2, width)."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.positions[: x.shape[1]]
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return outputs


def statistics(frames: Tensor) -> Tensor:
    """Return mean and standard deviation over time, (n, 2 × width), of frames (n, t, width)."""
    mean = frames.mean(1)
    variance = (frames - mean[:, None]).square().mean(1)
    return torch.cat([mean, variance.clamp_min(MIN_VARIANCE).sqrt()], 1)


def read_encoder(path: str | Path, sound: Sound, *, blocks: int | None = None) -> Encoder:
    """Read the first blocks of Whisper's encoder.

    Args:
        path: A .safetensors file with the tensor names of CTranslate2, or the .onnx file of a voice model.
        sound: Input format.
        blocks: Number of blocks; all that are in the file when None.

    Raises:
        ModelError: No such file, a damaged one, one of another net, or one with fewer blocks.
    """
    path = as_path(path)
    try:
        tensors = _of_voice_model(path) if path.suffix == ".onnx" else load_file(path)
    except (OSError, SafetensorError, DecodeError, ValueError, KeyError, IndexError) as error:
        raise ModelError(
            f"cannot read the encoder in {path}: {error!r}; expected a .safetensors file of Whisper's encoder, or a "
            "voice model"
        ) from error
    found = len({name.split("/")[1] for name in tensors if name.startswith("encoder/layer_") and name.count("/") > 2})
    wanted = found if blocks is None else blocks
    if not 1 <= wanted <= found:
        raise ModelError(f"{path} has {found} blocks of an encoder, the recipe takes {wanted}; give another file")
    encoder = Encoder(sound, width=len(tensors["encoder/conv1/weight"]), blocks=wanted)
    _fill(encoder, tensors, path)
    return encoder.eval()


def _of_voice_model(path: Path) -> dict[str, FloatArray]:
    """Return the tensors of a voice model's encoder by CTranslate2's names, 8-bit weights as floats."""
    if read_spec(path).sound is None:
        raise ValueError("it is no voice model")
    graph = onnx.load(path).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:  # weights stored as float16
        if node.op_type == "Cast" and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]].astype(np.float32)
    # The weights of dense layers over time, in the order of the graph; they lose their names. Heads come after them and
    # are too few for one more block.
    dense = []
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in values:
            dense.append(values[node.input[1]].T)
        elif node.op_type == "MatMulInteger":
            name = node.input[1].removesuffix("_quantized")
            zero = values[node.input[3]].astype(np.float32)
            dense.append(((values[node.input[1]] - zero) * values[f"{name}_scale"]).T)
    tensors = {}
    for convolution in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            tensors[f"encoder/{convolution}/{part}"] = values[f"encoder.{convolution}.{part}"]
    for i in range(len(dense) // len(_DENSE)):
        for j, ours in enumerate(_DENSE):
            tensors[f"encoder/layer_{i}/{_PARTS[ours]}/weight"] = dense[len(_DENSE) * i + j]
            tensors[f"encoder/layer_{i}/{_PARTS[ours]}/bias"] = values[f"encoder.blocks.{i}.{ours}.bias"]
        for ours in ("norm1", "norm2"):
            for part, theirs in (("weight", "gamma"), ("bias", "beta")):
                tensors[f"encoder/layer_{i}/{_PARTS[ours]}/{theirs}"] = values[f"encoder.blocks.{i}.{ours}.{part}"]
    return tensors


_DENSE = ("attend", "project", "widen", "narrow")  # as they follow one another in a block
# Names in CTranslate2's files of the parts of a block, and of its normalisations.
_PARTS = {
    "norm1": "self_attention/layer_norm",
    "attend": "self_attention/linear_0",
    "project": "self_attention/linear_1",
    "norm2": "ffn/layer_norm",
    "widen": "ffn/linear_0",
    "narrow": "ffn/linear_1",
}


def _fill(encoder: Encoder, tensors: Mapping[str, FloatArray], path: Path) -> None:
    places = {"conv1": "conv1", "conv2": "conv2"}
    for i in range(len(encoder.blocks)):
        places |= {f"blocks.{i}.{ours}": f"layer_{i}/{theirs}" for ours, theirs in _PARTS.items()}
    state = {}
    for ours, theirs in places.items():
        norm = ours.split(".")[-1].startswith("norm")
        for own, name in (("weight", "gamma" if norm else "weight"), ("bias", "beta" if norm else "bias")):
            tensor = tensors.get(f"encoder/{theirs}/{name}")
            if tensor is None or not np.isfinite(tensor).all():
                raise ModelError(f"{path} lacks encoder/{theirs}/{name}, or it is damaged; expected Whisper's encoder")
            state[f"{ours}.{own}"] = torch.from_numpy(tensor.astype(np.float32))
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{path} is no encoder of Whisper: {' '.join(str(error).split())[:200]}") from error


class VoiceNet(nn.Module):
    """An encoder, statistics of some blocks' frames, and a linear head, with a second one for enrolled speakers.

    Args:
        encoder: The encoder.
        taken: Blocks whose statistics are features, counted from 0.
        n_labels: Number of labels.
        enrolment: Whether there is a second head, for features beside their difference from those of the speaker's
            neutral voice.
    """

    def __init__(self, encoder: Encoder, taken: Sequence[int], n_labels: int, *, enrolment: bool = True) -> None:
        super().__init__()
        self.encoder, self.taken = encoder, tuple(taken)
        width = 2 * encoder.width * len(self.taken)
        self.head = nn.Linear(width, n_labels)
        self.enrolled = nn.Linear(2 * width, n_labels) if enrolment else None

    def features(self, mel: Tensor) -> Tensor:
        """Map spectrograms (n, bands, t) to features, (n, width)."""
        outputs = self.encoder(mel)
        return torch.cat([statistics(outputs[i]) for i in self.taken], 1)

    def forward(self, mel: Tensor, neutral: Tensor | None = None) -> tuple[Tensor, ...]:
        """Map spectrograms (n, bands, t) to probabilities (n, k); with the features of the speakers' neutral voice,
        (n, width), to those without and with them, and the features."""
        found = self.features(mel)
        probabilities = self.head(found).softmax(1)
        if self.enrolled is None or neutral is None:
            return (probabilities,)
        return probabilities, self.enrolled(torch.cat([found, found - neutral], 1)).softmax(1), found
