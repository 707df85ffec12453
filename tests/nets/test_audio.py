"""The voice net: its encoder, statistics, and the file it is exported to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from mien.errors import ModelError
from mien.labels import LabelSet
from mien.models.log_mel import log_mel
from mien.models.onnx_file import read_spec
from mien.models.spec import Head, ModelSpec, Preprocess, Sound
from mien.models.voice import VoiceClassifier
from mien.nets.audio import Block, Encoder, VoiceNet, read_encoder, statistics
from mien.nets.export_voice import export_voice
from mien.structures import FloatArray

SOUND = Sound(longest=2.0)
RNG = np.random.default_rng(0)
SPEECH = (0.1 * RNG.normal(size=24_000)).astype(np.float32)


def tensors(*, width: int = 16, blocks: int = 2) -> dict[str, FloatArray]:
    """Random weights of an encoder by the names of CTranslate2."""

    def drawn(*shape: int) -> FloatArray:
        return RNG.normal(scale=0.2, size=shape).astype(np.float32)

    found = {"encoder/conv1/weight": drawn(width, 80, 3), "encoder/conv2/weight": drawn(width, width, 3)}
    found |= {f"encoder/conv{i}/bias": drawn(width) for i in (1, 2)}
    for i in range(blocks):
        for part, sizes in (
            ("self_attention", (3 * width, width, width, width)),
            ("ffn", (4 * width, width, width, 4 * width)),
        ):
            at = f"encoder/layer_{i}/{part}"
            found |= {f"{at}/layer_norm/gamma": 1 + drawn(width), f"{at}/layer_norm/beta": drawn(width)}
            for j in (0, 1):
                found |= {
                    f"{at}/linear_{j}/weight": drawn(*sizes[2 * j : 2 * j + 2]),
                    f"{at}/linear_{j}/bias": drawn(sizes[2 * j]),
                }
    return found


@pytest.fixture
def encoder_file(tmp_path: Path) -> Path:
    save_file(tensors(), tmp_path / "encoder.safetensors")
    return tmp_path / "encoder.safetensors"


def voice_spec(width: int) -> ModelSpec:
    return ModelSpec(
        name="mine", arch="whisper-voice", heads=(Head(LabelSet("two", ("high", "low"))),), preprocess=Preprocess(),
        kind="voice", input="sound", sound=replace(SOUND, width=width), version=3,
    )  # fmt: skip


def test_a_block_is_attention_and_a_dense_part_with_normalisation_before_each() -> None:
    """PyTorch's own transformer layer is the oracle."""
    block = Block(16, 8).eval()
    oracle = nn.TransformerEncoderLayer(
        16, 8, 64, dropout=0, activation="gelu", batch_first=True, norm_first=True
    ).eval()
    oracle.self_attn.in_proj_weight, oracle.self_attn.in_proj_bias = block.attend.weight, block.attend.bias
    for theirs, ours in (
        (oracle.self_attn.out_proj, block.project), (oracle.linear1, block.widen), (oracle.linear2, block.narrow),
        (oracle.norm1, block.norm1), (oracle.norm2, block.norm2),
    ):  # fmt: skip
        theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 7, 16)
    torch.testing.assert_close(block(x), oracle(x), atol=1e-5, rtol=1e-5)


def test_statistics_are_mean_and_standard_deviation() -> None:
    x = torch.randn(2, 30, 5)
    expected = np.concatenate([x.numpy().mean(1), x.numpy().std(1)], axis=1)
    np.testing.assert_allclose(statistics(x).numpy(), expected, atol=1e-5)


def test_an_encoder_is_read_up_to_a_block(encoder_file: Path) -> None:
    assert len(read_encoder(encoder_file, SOUND).blocks) == 2
    assert len(read_encoder(encoder_file, SOUND, blocks=1).blocks) == 1
    with pytest.raises(ModelError, match="has 2 blocks of an encoder, the recipe takes 3"):
        read_encoder(encoder_file, SOUND, blocks=3)


def test_positions_are_sinusoids_of_whisper() -> None:
    """Column k and k + width / 2 are sine and cosine of one frequency, from 1 down to 1/10,000."""
    positions = Encoder(SOUND, width=16).positions.numpy()
    assert positions.shape == (101, 16)
    np.testing.assert_allclose(positions[:, 0], np.sin(np.arange(101)), atol=1e-5)
    np.testing.assert_allclose(positions[:, 15], np.cos(np.arange(101) / 10_000), atol=1e-5)


@pytest.mark.parametrize("damage", ["text", "lacking", "shape", "nan", "missing"])
def test_what_is_no_encoder_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    path, found = tmp_path / "encoder.safetensors", tensors()
    if damage == "lacking":
        del found["encoder/layer_1/ffn/linear_0/bias"]
    elif damage == "shape":
        found["encoder/layer_1/ffn/linear_0/weight"] = found["encoder/layer_1/ffn/linear_0/weight"][:-1]
    elif damage == "nan":
        found["encoder/conv1/weight"][0, 0, 0] = np.nan
    if damage == "text":
        path.write_text("weights")
    elif damage != "missing":
        save_file(found, path)
    with pytest.raises(ModelError, match=r"encoder") as refused:
        read_encoder(path, SOUND)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("int8", "tolerance"), [(False, 1e-5), (True, 0.05)])
def test_the_exported_file_answers_like_the_net(
    int8: bool, tolerance: float, encoder_file: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net = VoiceNet(read_encoder(encoder_file, SOUND), [0, 1], 2).eval()
    export_voice(net, voice_spec(64), tmp_path / "mine.onnx", int8=int8)
    classifier = VoiceClassifier(tmp_path / "mine.onnx")
    neutral = classifier.enrol(SPEECH[:16_000])
    for part in (SPEECH, SPEECH[:9_000]):
        mel = torch.from_numpy(log_mel(part, SOUND))[None]
        with torch.no_grad():
            alone, enrolled, _ = net(mel, torch.from_numpy(neutral)[None])
        np.testing.assert_allclose(classifier.predict_proba(part), alone[0].numpy(), atol=tolerance)
        np.testing.assert_allclose(classifier.predict_proba(part, neutral=neutral), enrolled[0].numpy(), atol=tolerance)


def test_heads_are_not_rounded_to_8_bits(encoder_file: Path, tmp_path: Path) -> None:
    """One scale for all features would round small ones away beside a large one."""
    net = VoiceNet(read_encoder(encoder_file, SOUND), [0, 1], 2).eval()
    net.encoder.blocks[1].narrow.bias.data[0] += 100  # a large feature
    assert net.enrolled is not None
    net.head.weight.data[:, 32] = net.enrolled.weight.data[:, 32] = 0  # its mean, which is not to decide alone
    export_voice(net, voice_spec(64), tmp_path / "mine.onnx")
    classifier = VoiceClassifier(tmp_path / "mine.onnx")
    features, neutral = (torch.from_numpy(classifier.enrol(part))[None] for part in (SPEECH, SPEECH[:16_000]))
    with torch.no_grad():
        alone = net.head(features).softmax(1)[0].numpy()
        enrolled = net.enrolled(torch.cat([features, features - neutral], 1)).softmax(1)[0].numpy()
    np.testing.assert_allclose(classifier.predict_proba(SPEECH), alone, atol=1e-5)
    np.testing.assert_allclose(classifier.predict_proba(SPEECH, neutral=neutral[0].numpy()), enrolled, atol=1e-5)


def test_a_model_without_enrolment_needs_no_neutral_voice(encoder_file: Path, tmp_path: Path) -> None:
    net = VoiceNet(read_encoder(encoder_file, SOUND), [1], 2, enrolment=False)
    export_voice(net, voice_spec(0), tmp_path / "mine.onnx")
    classifier = VoiceClassifier(tmp_path / "mine.onnx")
    assert classifier.predict_proba(SPEECH).sum() == pytest.approx(1, abs=1e-5)
    with pytest.raises(ModelError, match="was trained without enrolment"):
        classifier.enrol(SPEECH)


@pytest.mark.parametrize(("int8", "tolerance"), [(False, 1e-6), (True, 0.02)])
def test_training_can_start_from_the_encoder_in_a_voice_model(
    int8: bool, tolerance: float, encoder_file: Path, tmp_path: Path
) -> None:
    encoder = read_encoder(encoder_file, SOUND)
    export_voice(VoiceNet(encoder, [1], 2), voice_spec(32), tmp_path / "mine.onnx", int8=int8)
    assert read_spec(tmp_path / "mine.onnx").sound is not None
    found = read_encoder(tmp_path / "mine.onnx", SOUND).state_dict()
    for name, tensor in encoder.state_dict().items():
        torch.testing.assert_close(found[name], tensor, atol=tolerance, rtol=0)


def test_a_model_of_faces_holds_no_encoder(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="it is no voice model"):
        read_encoder(tiny_model, SOUND)
