"""Runs that start from weights: loaded, frozen and slow parts, and refused weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from commands import run as run_command
from mien.data import Dataset, draw_faces
from mien.errors import ConfigError, ModelError, RunError
from mien.labels import LabelSet
from mien.models.classifier import OnnxClassifier
from mien.models.onnx_file import read_spec
from mien.models.spec import Preprocess
from mien.nets.export import WithPixels
from mien.training import Run, Stage
from mien.training.checkpoint import load_average
from runs import assert_same_weights, finished, further_config, interrupted, small_config, small_dataset

DRAWN = f"drawn {small_dataset().fingerprint[:12]}"
MINE = LabelSet("mine", ("calm", "cross", "glad", "scared", "sad", "awed", "plain"))


def other_dataset() -> Dataset:
    """Return faces under labels that no model knows."""
    return replace(small_dataset(seed=1), labels=MINE, votes=None, name="faces")


def test_a_run_starts_from_weights_with_new_heads_and_says_so(undisturbed: Run, tmp_path: Path) -> None:
    Run.start(further_config(undisturbed.folder), other_dataset(), tmp_path / "run")
    run = Run.open(tmp_path / "run")
    parts = "loaded backbone; dropped head fer2013, head ferplus; new head mine"
    assert run.origin == f"started from tiny ({DRAWN}): {parts}"
    assert run.config.init == str(undisturbed.folder)
    spec = load_average(run.checkpoint)[1]
    assert spec.names == ("mine",)
    assert spec.trained_on["init"] == f"tiny ({DRAWN})"
    assert spec.recipe["init"] == undisturbed.folder.name  # without the path on its maker's machine


def test_a_run_starts_from_the_averaged_weights_of_another(undisturbed: Run, tmp_path: Path) -> None:
    run = Run.start(further_config(undisturbed.checkpoint), small_dataset(), tmp_path / "run")
    before, begun = load_file(undisturbed.checkpoint), load_file(run.checkpoint)
    assert begun.keys() == {name for name in before if not name.startswith("momentum.")}
    for part in ("net", "average"):
        names = [name.removeprefix("net.") for name in begun if name.startswith("net.")]
        assert [n for n in names if not torch.equal(begun[f"{part}.{n}"], before[f"average.{n}"])] == []


def test_a_frozen_part_stays_bit_for_bit_and_the_rest_learns(undisturbed: Run, tmp_path: Path) -> None:
    run = finished(further_config(undisturbed.folder), other_dataset(), tmp_path / "run")
    before, after = load_file(undisturbed.checkpoint), load_file(run.checkpoint)
    frozen = [name for name in before if name.startswith("average.backbone.0.")]
    assert len(frozen) == 6  # a convolution, weights and statistics of its norm
    for part in ("net", "average"):
        assert [n for n in frozen if not torch.equal(after[n.replace("average", part, 1)], before[n])] == []
    assert not torch.equal(after["net.backbone.1.0.weight"], before["average.backbone.1.0.weight"])
    assert not torch.equal(after["net.backbone.1.1.running_mean"], before["average.backbone.1.1.running_mean"])
    assert not any(name.startswith("momentum.backbone.0.") for name in after)


def test_an_export_keeps_the_statistics_of_a_frozen_part(
    undisturbed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(further_config(undisturbed.folder), other_dataset(), tmp_path / "run")
    nets = []
    monkeypatch.setattr("mien.training.finish.export", lambda net, *_, **__: nets.append(net))
    monkeypatch.setattr("mien.training.finish.check_parity", lambda *_: None)
    run.export()
    before = load_average(run.checkpoint)[0]
    assert torch.equal(nets[0].backbone[0][1].running_mean, before.backbone[0][1].running_mean)
    assert torch.equal(nets[0].backbone[0][1].running_var, before.backbone[0][1].running_var)
    assert not torch.equal(nets[0].backbone[1][1].running_mean, before.backbone[1][1].running_mean)


def test_a_slow_backbone_hardly_moves_while_its_heads_learn(undisturbed: Run, tmp_path: Path) -> None:
    config = further_config(undisturbed.folder, freeze=(), backbone_rate=1e-6)
    run = finished(config, small_dataset(), tmp_path / "run")
    before, after = load_file(undisturbed.checkpoint), load_file(run.checkpoint)
    backbone, head = "backbone.1.0.weight", "heads.fer2013.weight"
    assert 0 < (after[f"net.{backbone}"] - before[f"average.{backbone}"]).abs().max() < 1e-5
    assert (after[f"net.{head}"] - before[f"average.{head}"]).abs().max() > 1e-2


@pytest.mark.parametrize("at", [(0, 3), (1, 0), (2, 2)])
def test_a_resumed_run_no_longer_needs_its_initial_weights(
    undisturbed: Run, tmp_path: Path, at: tuple[int, int]
) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(undisturbed.checkpoint.read_bytes())
    whole = finished(further_config(weights), small_dataset(), tmp_path / "whole")
    run = interrupted(further_config(weights), small_dataset(), tmp_path / "run", at)
    weights.unlink()
    run.fit()
    assert_same_weights(run, whole)


@pytest.mark.parametrize("name", ["train", "faces.v2"])
def test_label_sets_may_have_names_that_pytorch_forbids_for_modules(name: str, tmp_path: Path) -> None:
    faces = draw_faces(100, seed=0, size=24)
    faces = replace(faces, labels=LabelSet(name, tuple("abcdefg")))
    config = replace(small_config(), stages=(Stage(size=24, epochs=1),))
    path, parity = finished(config, faces, tmp_path / "run").export()
    assert OnnxClassifier(path).spec.names == (name,)
    assert parity.max_difference < 0.01
    for init in (tmp_path / "run", path):
        run = Run.start(replace(config, init=str(init)), faces, tmp_path / f"from-{init.name}")
        assert f"loaded backbone, head {name}; nothing dropped; nothing new" in run.origin


def test_a_run_starts_from_an_exported_model(undisturbed: Run, tmp_path: Path) -> None:
    """Its batch norms were folded away, so they take their statistics from the first batch."""
    path, _ = undisturbed.export(target=tmp_path / "tiny.onnx", storage="float32")
    config = further_config(path, freeze=(), stages=(Stage(size=24, epochs=1, augment=0),))
    net, spec = load_average(Run.start(config, small_dataset(), tmp_path / "run").checkpoint)
    images = torch.from_numpy(draw_faces(5, seed=3, size=24).images)
    classifier = OnnxClassifier(path)
    temperatures = [head.temperature for head in classifier.spec.heads]
    with torch.inference_mode():
        got = WithPixels(net, "standardize", temperatures)(images)[0].numpy()
    np.testing.assert_allclose(got, classifier.predict_heads(list(images.numpy()))[0], atol=1e-4)
    assert spec.trained_on["init"] == f"tiny ({DRAWN})"
    assert (net.backbone[0][1].running_var - 1).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"net": "base"}, ConfigError, "has weights of net 'tiny', the recipe trains 'base'; .* --set net=tiny"),
        ({"freeze": ("backbone.7",)}, ConfigError, "cannot freeze 'backbone.7': the net has no such part"),
        ({"preprocess": Preprocess(size=24, channels=3)}, ModelError, "the recipe's net has"),
        ({"init": "runs/none.safetensors"}, RunError, "cannot read checkpoint"),
    ],
)
def test_weights_that_do_not_fit_leave_no_run_behind(
    undisturbed: Run, tmp_path: Path, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Run.start(further_config(undisturbed.folder, **changes), small_dataset(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_one_command_fine_tunes_on_a_folder_of_other_classes(
    undisturbed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    faces = draw_faces(210, seed=2, size=40)
    for i, (image, target) in enumerate(zip(faces.images, faces.targets, strict=True)):
        if target in (0, 3, 5):
            folder = tmp_path / "faces" / ("grumpy", "", "", "beaming", "", "startled")[target]
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{i}.png"), cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    settings = ["net=tiny", "batch_size=8", "stages=[{size=24,epochs=3,augment=0.2}]", "preprocess.size=24"]
    flags = [word for setting in (*settings, "precision=32-true") for word in ("--set", setting)]
    command = (
        "train",
        "finetune",
        "--data",
        "faces",
        "--init",
        undisturbed.folder,
        "--freeze",
        "backbone.0",
        "--run",
        "run",
    )
    assert run_command(*command, *flags) == 0
    assert "loaded backbone; dropped head fer2013, head ferplus; new head faces" in capsys.readouterr().out
    spec = read_spec(Path("run/finetuned.onnx"))
    assert spec.labels.labels == ("beaming", "grumpy", "startled")
    assert spec.recipe["freeze"] == ["backbone.0"]
    assert run_command("train", "--resume", "run", "--init", "base") == 2
    assert "a resumed run continues from its own checkpoint" in capsys.readouterr().err
