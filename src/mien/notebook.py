"""For notebooks: results that Jupyter displays below a cell, and a whole training in one call.

Jupyter is not imported: it calls the `_repr_…_` methods of a cell's last value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from mien.data.audit import Selection
from mien.data.dataset import Dataset
from mien.data.speech import read_speech
from mien.errors import needs
from mien.evaluation.results import Evaluation
from mien.evaluation.voice import VoiceEvaluation
from mien.models.classifier import OnnxClassifier
from mien.pixels import write_picture
from mien.reports.metrics_json import to_metrics
from mien.reports.plots import curves as draw_curves
from mien.reports.plots import draw_confusion
from mien.reports.tables import report_title, views_table
from mien.reports.voice import speakers_text, voice_table
from mien.settings import from_dict
from mien.structures import ImageArray
from mien.training.recipe import TrainConfig, VoiceConfig, load_recipe, new_folder

if TYPE_CHECKING:
    from mien.training.voice import TrainedVoice


@dataclass(frozen=True, slots=True)
class Shown:
    """An image or a text that Jupyter displays as a cell's last value.

    Args:
        png: An image as PNG; None for a text.
        markdown: A text; None for an image.
    """

    png: bytes | None = None
    markdown: str | None = None

    def _repr_png_(self) -> bytes | None:
        return self.png

    def _repr_markdown_(self) -> str | None:
        return self.markdown

    def __repr__(self) -> str:
        return self.markdown or "an image"


def show(item: ImageArray | str) -> Shown:
    """Show an image, RGB uint8 (H, W, 3), or a text in Markdown."""
    return Shown(markdown=item) if isinstance(item, str) else _drawn(lambda path: write_picture(path, item))


def results(*evaluations: Evaluation) -> Shown:
    """Show a table of evaluations, one row per view."""
    return Shown(markdown=views_table([to_metrics(evaluation) for evaluation in evaluations]))


def confusion(evaluation: Evaluation, *, view: str = "single") -> Shown:
    """Show the confusion matrix of one view."""
    title, matrix = report_title(to_metrics(evaluation)), evaluation.views[view].confusion
    return _drawn(lambda path: draw_confusion(matrix, evaluation.labels, path, title=f"{title}, {view}"))


def curves(classifier: OnnxClassifier) -> Shown:
    """Show losses and accuracy of the run that a classifier from `train` belongs to.

    Raises:
        RunError: There is no run beside the model's file.
    """
    from mien.training.run import Run

    return _drawn(lambda path: draw_curves(Run.open(classifier.path.parent).metrics(), path))


def train(
    recipe: str,
    datasets: Dataset | Sequence[Dataset],
    *,
    settings: Mapping[str, object] | None = None,
    selection: Selection | None = None,
    run: Path | None = None,
) -> OnnxClassifier:
    """Train a model, print a line per epoch, export it, and load it.

    Args:
        recipe: Its name, or a .toml file.
        datasets: One or several with a "train" split; "valid" measures progress and calibrates.
        settings: Overrides of the recipe: {"seed": 1, "augment.rotation": 10}.
        selection: Which images of "train" of the first dataset to fit on, if not all.
        run: Folder to make; runs/NAME-DATE-TIME when None, so that a cell can be run again.

    Returns:
        The classifier; its `path` is the model's file, in the run's folder.

    Raises:
        MissingExtra: PyTorch is not installed.
        ConfigError, DatasetError, RunError: As `training.Run.start`.
    """
    with needs("training", "train"):
        from mien.training.run import Run
    config = load_recipe(recipe, settings)
    started = Run.start(config, datasets, run or new_folder(config.name or config.net), selection=selection)
    if started.origin:
        print(started.origin)
    started.fit(_Lines(config))
    path, _ = started.export()
    print(f"model: {path}")
    return OnnxClassifier(path)


def train_voice(
    source: str | Path, *, settings: Mapping[str, object] | None = None, run: Path | None = None
) -> TrainedVoice:
    """Train a voice model on a folder of recordings, and measure it by speaker.

    Args:
        source: The folder; see `mien train voice`.
        settings: Settings in place of the defaults: {"copies": 2}.
        run: Folder to make, or to continue; runs/NAME-DATE-TIME when None.

    Returns:
        The model's `path`, its `card`, and its `evaluation`.

    Raises:
        MissingExtra: PyTorch is not installed.
        ConfigError, DatasetError, ModelError, RunError: As `mien train voice`.
    """
    with needs("training", "train"):
        from mien.training.voice import train_voice
    config, speech = from_dict(VoiceConfig, dict(settings or {})), read_speech(source)
    print(f"{len(speech):,} clips by {len(set(speech.speakers.tolist()))} speakers: {', '.join(speech.labels)}")
    trained = train_voice(speech, run or new_folder(config.name or "voice"), config)
    print(f"model: {trained.path}")
    return trained


def voice_results(evaluation: VoiceEvaluation) -> Shown:
    """Show a table of a voice model's figures, one row per kind of speech, and the range of the speakers."""
    return Shown(markdown=f"{voice_table([evaluation])}\n\n{speakers_text(evaluation)}")


def voice_confusion(evaluation: VoiceEvaluation) -> Shown:
    """Show the confusion matrix of a voice model."""
    matrix, title = np.array(evaluation.confusion), f"{evaluation.model} on {evaluation.data}, by speaker"
    return _drawn(lambda path: draw_confusion(matrix, evaluation.labels.labels, path, title=title))


class _Lines:
    """A reporter that prints a line per epoch."""

    def __init__(self, config: TrainConfig) -> None:
        self._epochs = config.epochs

    def step(self, epoch: int, done: int, total: int, loss: float, images_per_second: float) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None:
        valid = f", valid {100 * row['valid_accuracy']:.1f} %" if "valid_accuracy" in row else ""
        print(f"epoch {row['epoch']:.0f} of {self._epochs}: loss {row['train_loss']:.3f}{valid}", flush=True)


def _drawn(write: Callable[[Path], None]) -> Shown:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        write(path)
        return Shown(png=path.read_bytes())
