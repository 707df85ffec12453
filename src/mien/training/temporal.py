"""Training of temporal models: a GRU over the predictions of a classifier for each frame (extra: train).

The classifier stays as it is, so its predictions are computed once, and the net is small: it trains in minutes.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional as F

from mien.data.dataset import Dataset
from mien.errors import ConfigError, DatasetError
from mien.evaluation.temporal import PredictedSequence, TemporalScores, compare_smoothing, head_columns, run_temporal
from mien.files import as_path, check_folder_of, make_folder, obstacle, write_text
from mien.labels import LabelSet
from mien.models.classifier import OnnxClassifier
from mien.models.onnx_file import check_target, graph_fingerprint, save_with_spec, write_with_spec
from mien.models.spec import Head, ModelSpec, Temporal
from mien.models.temporal import TemporalModel
from mien.nets.export import OPSET
from mien.nets.temporal import Step, TemporalNet
from mien.reports.temporal import CLIPS, PICTURES, temporal_card
from mien.structures import Progress
from mien.training.recipe import TemporalConfig
from mien.training.temporal_data import PADDING, Sequences, see_all, window_batches
from mien.vision.detect import FaceDetector

THINNED = {"30 frames/s": 1, "15 frames/s": 2, "10 frames/s": 3}  # every how many frames of 30 per second are taken
AS_FILMED = {"as filmed": 1}  # clips have rates of their own


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained temporal model.

    Args:
        path: Its file.
        card: Its card, a Markdown file.
        difference: Largest difference from PyTorch, step by step.
        results: How labels follow the held-out sequences, by their source and rate and by way of smoothing.
    """

    path: Path
    card: Path
    difference: float
    results: dict[str, dict[str, TemporalScores]]


def check_place(path: Path, *, install: Path | None = None) -> None:
    """Make sure that a model can be written to a path, its card beside it, and a copy into a models directory.

    Raises:
        ConfigError: It is no .onnx file.
        OutputError: There is no such folder, or the models directory cannot be made.
    """
    check_target(path)
    check_folder_of(path)
    if install is not None:
        make_folder(install)


def train_temporal(
    classifier: OnnxClassifier,
    path: str | Path,
    config: TemporalConfig,
    *,
    labels: LabelSet,
    images: Dataset | None = None,
    clips: Path | None = None,
    detector: FaceDetector | None = None,
    install: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train a temporal model on sequences, export it, measure it on held-out ones, and write its card.

    Args:
        classifier: The classifier whose predictions it smooths.
        path: The .onnx file to write; the card is written beside it, as .md.
        config: Settings.
        labels: Labels of the model: those of one of the classifier's heads.
        images: Images to set in motion: "train" to learn from, "valid" to measure on; none when None.
        clips: Folder of clips with splits, see `data.sequences.read_clips`; none when None.
        detector: Finds the faces in clips.
        install: Models directory to put a copy into; none when None.
        progress: Called with (done, total or None) of sequences, then of steps.

    Raises:
        DatasetError: Images or clips have other labels, or there is no train split.
        ConfigError: There is nothing to train on, or the path is no .onnx file.
        OutputError: A file cannot be written.
    """
    path = as_path(path)
    check_place(path, install=install)  # now, not after the training
    if clips is not None and not os.path.isdir(clips):
        raise DatasetError(f"no folder '{clips}' of clips{obstacle(clips)}; check the path")
    train, held_out = see_all(classifier, config, labels, images, clips, detector, progress)
    head = head_columns(classifier, labels)
    net = fit_temporal([s for part in train.values() for s in part], config, head=head, progress=progress)
    counts = {source: f"{len(part):,} sequences" for source, part in train.items()}
    if images is not None and config.stills:
        counts[PICTURES + images.name] += f", fingerprint {images.fingerprint}"
    spec = export_temporal(net, path, classifier=classifier, labels=labels, config=config, trained_on=counts)
    model = TemporalModel(path, spec=spec)
    model.check(classifier, labels)
    difference = step_difference(net, model, [s for part in train.values() for s in part[:2]])
    results = _measured(model, classifier, held_out)
    card = path.with_suffix(".md")
    write_text(card, temporal_card(spec, results))
    if install is not None:
        write_with_spec(path, install / path.name, spec)
    return Trained(path, card, difference, results)


def fit_temporal(
    sequences: Sequence[PredictedSequence],
    config: TemporalConfig,
    *,
    head: tuple[int, int],
    progress: Progress | None = None,
) -> TemporalNet:
    """Train a net on all frames of sequences; the same sequences and settings give the same net.

    Args:
        sequences: At least one.
        config: Settings.
        head: Range of the head's probabilities in a frame's, [start, end).
        progress: Called with (steps done, total).

    Raises:
        ConfigError: There is no sequence.
    """
    if not sequences:
        raise ConfigError("there is no sequence to train on; give images, clips, or a number of drawn ones")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        width = sequences[0].heads.shape[1]
        net = TemporalNet(width, head, state=config.state, dropout=config.dropout).train()
        optimizer = torch.optim.AdamW(net.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=config.steps)
        for done, (heads, seconds, targets) in enumerate(window_batches(sequences, config), start=1):
            loss = F.cross_entropy(net(heads, seconds).flatten(0, 1), targets.flatten(), ignore_index=PADDING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), config.clip_norm)
            optimizer.step()
            schedule.step()
            if progress is not None:
                progress(done, config.steps)
    return net.eval()


def export_temporal(
    net: TemporalNet, path: Path, *, classifier: OnnxClassifier, labels: LabelSet, config: TemporalConfig,
    trained_on: dict[str, str],
) -> ModelSpec:  # fmt: skip
    """Write one step of a net as ONNX, with a spec that names the classifier it belongs to.

    Raises:
        OutputError: The file cannot be written.
    """
    base = classifier.spec
    width = net.gru.input_size - 1
    spec = ModelSpec(
        name=config.name_for(base.name),
        arch="gru",
        heads=(Head(labels),),
        preprocess=base.preprocess,
        crop=base.crop,
        trained_on=trained_on,
        license=base.license,
        recipe=asdict(config),
        temporal=Temporal(
            classifier=base.name, fingerprint=graph_fingerprint(classifier.path), width=width, state=config.state
        ),
        kind="temporal",
        version=2,
    )
    example = (torch.full((2, width), 0.1), torch.full((2, 1), 0.1), torch.zeros(2, config.state))
    inputs, outputs = ["heads", "seconds", "state"], ["probabilities", "new_state"]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # as in models.export
        plain = Path(folder) / "plain.onnx"
        torch.onnx.export(
            Step(net.eval()), example, str(plain), dynamo=False, opset_version=OPSET, input_names=inputs,
            output_names=outputs, dynamic_axes={name: {0: "n"} for name in (*inputs, *outputs)},
        )  # fmt: skip
        model = onnx.load(plain)
    save_with_spec(model, path, spec)
    return spec


@torch.no_grad()
def step_difference(net: TemporalNet, model: TemporalModel, sequences: Sequence[PredictedSequence]) -> float:
    """Return the largest difference of the file's probabilities, step by step, from the net's on whole sequences."""
    worst = 0.0
    for sequence, found in zip(sequences, run_temporal(model, sequences), strict=True):
        heads, seconds = torch.from_numpy(sequence.heads), torch.from_numpy(sequence.seconds)
        expected = net.eval()(heads[None], seconds[None, :, None]).softmax(-1)[0].numpy()
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst


def _measured(
    model: TemporalModel, classifier: OnnxClassifier, held_out: Sequences
) -> dict[str, dict[str, TemporalScores]]:
    """Measure how labels follow held-out sequences, synthetic ones at several rates."""
    return {
        f"{source}, {rate}": compare_smoothing(model, classifier, [s.thinned(every) for s in part])
        for source, part in held_out.items()
        for rate, every in (AS_FILMED if source.startswith(CLIPS) else THINNED).items()
    }
