"""Training of temporal models: a GRU over what a classifier says of each frame (extra: train).

The classifier stays as it is, so its answers are computed once, and what is left to learn is small: minutes.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from textwrap import fill

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from mien.cartoons.characters import CHARACTERS
from mien.cartoons.sequences import drawn_sequences
from mien.data.dataset import SPLITS, Dataset
from mien.data.sequences import FaceSequence, moving_stills, read_clips
from mien.errors import ConfigError, DatasetError, OutputError
from mien.evaluation.temporal import (
    PredictedSequence,
    TemporalScores,
    compare_smoothing,
    head_columns,
    predict_sequences,
    run_temporal,
)
from mien.files import atomic_path
from mien.labels import FER2013, LabelSet
from mien.models.classifier import OnnxClassifier
from mien.models.onnx_file import check_target, graph_fingerprint, write_with_spec
from mien.models.spec import Head, ModelSpec, Temporal
from mien.models.temporal import TemporalModel
from mien.nets.export import OPSET
from mien.nets.temporal import Step, TemporalNet
from mien.reports.temporal import MEASURE, temporal_table
from mien.structures import IntArray, Progress
from mien.vision.detect import FaceDetector

PADDING = -1  # target of what fills a batch up
HELD_OUT = 18, 30  # sequences of drawn faces and of pictures in motion that are measured on, at 30 frames a second
THINNED = {"30 frames/s": 1, "15 frames/s": 2, "10 frames/s": 3}  # one of how many frames at 30 a second is taken
AS_FILMED = {"as filmed": 1}  # clips have rates of their own
DRAWN, PICTURES, CLIPS = "drawn faces", "pictures of ", "clips of "  # how the names of what is learnt from begin
MADE = {
    DRAWN: "drawn faces that move as the textbook has it",
    PICTURES: "pictures of different people that replace one another",
}
Sequences = dict[str, list[PredictedSequence]]  # by what they were made of


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporalConfig:
    """Settings of a temporal model and its training."""

    name: str = ""  # what it is called; CLASSIFIER-temporal when empty
    drawn: int = 60  # sequences of drawn faces
    extras: int = 60  # made-up characters that they show; those with names are held out
    stills: int = 120  # sequences of the dataset's pictures in motion
    state: int = 48  # numbers that are remembered of a track
    steps: int = 400
    batch_size: int = 24  # sequences
    window: int = 240  # frames of a sequence that are learnt from at once
    learning_rate: float = 3e-3  # the peak of one cycle (Smith & Topin 2019, arXiv:1708.07120)
    weight_decay: float = 1e-2
    dropout: float = 0.2
    left_out: float = 0.1  # share of frames, so that a slow machine's gaps are known
    clip_norm: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.state < 16:
            raise ConfigError(f"state is {self.state}; expected 16 or more, the labels' means and some besides")
        for name in ("steps", "batch_size", "window"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if min(self.drawn, self.stills) < 0 or self.extras < 1:
            raise ConfigError("drawn and stills are numbers of sequences, 0 or more, and extras is 1 or more")
        for name in ("learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < inf:  # nan too
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a positive number")
        if not 0 <= self.weight_decay < inf:
            raise ConfigError(f"weight_decay is {self.weight_decay}; expected 0 or more")
        for name in ("dropout", "left_out"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 <= {name} < 1")
        if not 0 <= self.seed < 2**64:  # what numpy and PyTorch both take
            raise ConfigError(f"seed is {self.seed}; expected 0 or more, below 2**64")


@dataclass(frozen=True, slots=True)
class Trained:
    """A temporal model that was made.

    Args:
        path: Its file.
        card: The page about it.
        difference: How far, at most, it is from PyTorch, step by step.
        results: How labels follow sequences that were held out, by what these are of and by what labels go by.
    """

    path: Path
    card: Path
    difference: float
    results: dict[str, dict[str, TemporalScores]]


def check_place(path: Path) -> None:
    """Make sure that a model can be written to a path, and its card beside it, as .md.

    Raises:
        ConfigError: It is no .onnx file.
        OutputError: There is no such folder.
    """
    check_target(path)
    if not path.parent.is_dir():
        raise OutputError(f"cannot write '{path}': there is no such folder; make it or choose another place")


def train_temporal(
    classifier: OnnxClassifier,
    path: Path,
    config: TemporalConfig,
    *,
    labels: LabelSet,
    pictures: Dataset | None = None,
    clips: Path | None = None,
    detector: FaceDetector | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Make sequences, see them, train on them, export, check, measure on sequences that were held out, write a card.

    Args:
        classifier: What the model is for.
        path: The .onnx file to write; the card lies beside it, as .md.
        config: Settings.
        labels: What the model is to answer with: those of one of the classifier's heads.
        pictures: Set in motion: those of train to learn from, those of valid to measure on; none when None.
        clips: Folder of clips with splits, see `data.sequences.read_clips`; none when None.
        detector: Finds the faces in clips.
        progress: Is told (done, of how many or None) of sequences seen, then of steps.

    Raises:
        DatasetError: Pictures or clips have other labels, or there is no train split.
        ConfigError: There is nothing to train on, or the path is no .onnx file.
        OutputError: A file cannot be written.
    """
    check_place(path)  # told now, not when all is trained
    if clips is not None and not clips.is_dir():
        raise DatasetError(f"no folder '{clips}' of clips; check the path")
    train, held_out = _see_all(classifier, config, labels, pictures, clips, detector, progress)
    net = fit_temporal(
        [s for part in train.values() for s in part], config, head=head_columns(classifier, labels), progress=progress
    )
    counts = {what: f"{len(part):,} sequences" for what, part in train.items()}
    if pictures is not None and config.stills:
        counts[PICTURES + pictures.name] += f", fingerprint {pictures.fingerprint}"
    spec = export_temporal(net, path, classifier=classifier, labels=labels, config=config, trained_on=counts)
    model = TemporalModel(path)
    model.check(classifier, labels)
    difference = step_difference(net, model, [s for part in train.values() for s in part[:2]])
    results = {
        f"{what}, {rate}": compare_smoothing(model, classifier, [s.thinned(every) for s in part])
        for what, part in held_out.items()
        for rate, every in (AS_FILMED if what.startswith(CLIPS) else THINNED).items()
    }
    card = path.with_suffix(".md")
    with atomic_path(card) as temporary:
        temporary.write_text(temporal_card(spec, results), encoding="utf-8", newline="\n")
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
        head: Which of a frame's probabilities are those of the chosen head, start and stop.
        progress: Is told (steps done, of how many).

    Raises:
        ConfigError: There is no sequence.
    """
    if not sequences:
        raise ConfigError("there is no sequence to train on; give pictures, clips, or a number of drawn ones")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        width = sequences[0].heads.shape[1]
        net = TemporalNet(width, head, state=config.state, dropout=config.dropout).train()
        optimizer = torch.optim.AdamW(net.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=config.steps)
        for done, (heads, seconds, targets) in enumerate(_batches(sequences, config), start=1):
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
    """Write a net's step as ONNX, with a spec that says which classifier it belongs to.

    Raises:
        OutputError: The file cannot be written.
    """
    seer = classifier.spec
    width = net.gru.input_size - 1
    spec = ModelSpec(
        name=config.name or f"{seer.name}-temporal",
        arch="gru",
        heads=(Head(labels),),
        preprocess=seer.preprocess,
        crop=seer.crop,
        trained_on=trained_on,
        license=seer.license,
        recipe=asdict(config),
        temporal=Temporal(
            classifier=seer.name, fingerprint=graph_fingerprint(classifier.path), width=width, state=config.state
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
        model.doc_string, model.producer_name, model.producer_version = f"mien model {spec.name}", "mien", ""
        onnx.save(model, plain)
        write_with_spec(plain, path, spec)
    return spec


@torch.no_grad()
def step_difference(net: TemporalNet, model: TemporalModel, sequences: Sequence[PredictedSequence]) -> float:
    """Return how far, at most, the file's probabilities, step by step, are from the net's on whole sequences."""
    worst = 0.0
    for sequence, found in zip(sequences, run_temporal(model, sequences), strict=True):
        heads, seconds = torch.from_numpy(sequence.heads), torch.from_numpy(sequence.seconds)
        expected = net.eval()(heads[None], seconds[None, :, None]).softmax(-1)[0].numpy()
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst


def temporal_card(spec: ModelSpec, results: dict[str, dict[str, TemporalScores]]) -> str:
    """Return the page about a temporal model: what it is for, what it learnt from, how labels follow with it."""
    seer = "" if spec.temporal is None else spec.temporal.classifier
    sources = "\n".join(f"- {what}: {count}" for what, count in spec.trained_on.items())
    return f"""# {spec.name}

> mien names the expression annotators saw, not what a person feels.

Follows what each face of a stream shows, on top of the classifier {seer}, in place of smoothing:
`mien live --model {seer} --temporal`. It sees no faces by itself, and works with that very {seer} alone. Labels:
{", ".join(spec.labels)}.

## Training

{sources}

```json
{json.dumps(spec.recipe, indent=2, sort_keys=True)}
```

## How labels follow

{MEASURE}

{temporal_table(results)}

## Limits

{_limits(spec, results)}
- Its probabilities are not calibrated; those of single frames, kept as `raw`, are.
"""


def _limits(spec: ModelSpec, results: dict[str, dict[str, TemporalScores]]) -> str:
    """Return, as an item of a list, what cannot be known of a model that learnt from this and was measured so."""
    made = [text for start, text in MADE.items() if any(what.startswith(start) for what in spec.trained_on)]
    learnt, measured = (any(what.startswith(CLIPS) for what in found) for found in (spec.trained_on, results))
    sentences = []
    if made:
        sentences.append(f"{'Some of what' if learnt else 'What'} it learnt from is made: {', and '.join(made)}.")
    if not learnt and not measured:
        sentences.append(
            "No film of real faces with a label for each frame was at hand, so how often it is right on one has not "
            "been measured."
        )
    else:
        sentences.append(
            "Each clip has one label, that of its folder, for all its frames, so how soon it follows a change on film "
            "has not been measured."
        )
    if learnt and not measured:
        sentences.append("No clip was held out, so how often it is right on one has not been measured either.")
    return fill(" ".join(sentences), 120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


def _see_all(
    classifier: OnnxClassifier, config: TemporalConfig, labels: LabelSet, pictures: Dataset | None, clips: Path | None,
    detector: FaceDetector | None, progress: Progress | None,
) -> tuple[Sequences, Sequences]:  # fmt: skip
    """Return what the classifier says of sequences to train on and of those held out."""
    train: Sequences = {}
    held_out: Sequences = {}

    def add(to: Sequences, what: str, sequences: Iterable[FaceSequence], known: LabelSet, total: int) -> None:
        ids = _ids(known, labels, what)
        seen = predict_sequences(classifier, sequences, total=total, progress=progress)
        to[what] = [replace(sequence, targets=ids[sequence.targets]) for sequence in seen]

    n_drawn, n_stills = HELD_OUT
    if config.drawn:
        extras = [f"extra{i}" for i in range(1, config.extras + 1)]
        drawn = drawn_sequences(config.drawn, seed=config.seed, characters=extras)
        others = drawn_sequences(n_drawn, seed=config.seed, characters=tuple(CHARACTERS), rate=30)
        add(train, DRAWN, drawn, FER2013, config.drawn)
        add(held_out, DRAWN, others, FER2013, n_drawn)
    if pictures is not None and config.stills:
        what = PICTURES + pictures.name
        moving = moving_stills(pictures.split("train"), config.stills, seed=config.seed)
        add(train, what, moving, pictures.labels, config.stills)
        if SPLITS.index("valid") in pictures.splits:
            others = moving_stills(pictures.split("valid"), n_stills, seed=config.seed, rate=30)
            add(held_out, what, others, pictures.labels, n_stills)
    if clips is not None and detector is not None:
        what = CLIPS + clips.name
        for split, sequence in read_clips(clips, detector, labels, size=classifier.spec.preprocess.size):
            part = train if split == "train" else held_out
            part[what] = part.get(what, []) + predict_sequences(classifier, [sequence])
    return train, held_out


def _ids(known: LabelSet, labels: LabelSet, what: str) -> IntArray:
    """Return the id among labels of each id of a known set."""
    ids = known.mapping_to(labels)
    if None in ids:
        lacking = ", ".join(label for label, i in zip(known, ids, strict=True) if i is None)
        raise DatasetError(f"{what} show {lacking}, which is not among the labels {', '.join(labels)}; leave them out")
    return np.array(ids, np.int64)


def _batches(sequences: Sequence[PredictedSequence], config: TemporalConfig) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield heads (n, t, width), seconds (n, t, 1) and targets (n, t) of random parts of random sequences."""
    rng = np.random.default_rng(config.seed)
    for _ in range(config.steps):
        parts = [_part(sequences[int(i)], config, rng) for i in rng.integers(len(sequences), size=config.batch_size)]
        heads = pad_sequence([torch.from_numpy(part.heads) for part in parts], batch_first=True)
        seconds = pad_sequence([torch.from_numpy(part.seconds) for part in parts], batch_first=True)
        targets = pad_sequence([torch.from_numpy(part.targets) for part in parts], True, PADDING)
        yield heads, seconds[:, :, None], targets


def _part(sequence: PredictedSequence, config: TemporalConfig, rng: np.random.Generator) -> PredictedSequence:
    """Return a random window of a sequence, without some random frames."""
    length = len(sequence.times)
    start = int(rng.integers(max(length - config.window, 0) + 1))
    rows = np.arange(start, min(start + config.window, length))
    rows = rows[(rng.random(len(rows)) >= config.left_out) | (rows == start)]
    return PredictedSequence(sequence.heads[rows], sequence.times[rows], sequence.targets[rows])
