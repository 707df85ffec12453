"""The lists of models, expressions and face detectors, in everyday words."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from mien.app.layout import Layout, Tooltip, fit_list, widen_field
from mien.app.settings import Settings
from mien.app.yunet import window_detector
from mien.escape import visible
from mien.labels import LabelSet
from mien.models.spec import ModelSpec
from mien.models.store import Model
from mien.recognizer import Recognizer
from mien.vision.detect import DETECTORS

DETECTOR_TITLES = {
    "auto": "best available",
    "yunet": "accurate (YuNet)",
    "haar": "standard (Haar)",
    "whole": "whole picture",
}
DETECTOR_TIP = (
    "How faces are found.\n"
    "best available: YuNet; until it is downloaded, Haar.\n"
    "standard (Haar): comes with mien; upright faces seen from the front.\n"
    "accurate (YuNet): finds more faces, and small or turned ones; downloaded once (0.2 MB).\n"
    "whole picture: the picture is one face, cropped already."
)
LABELS_TIP = (
    "The expressions to choose from. FER2013: angry, disgust, fear, happy, sad, surprise, neutral. "
    "FER+: these and contempt."
)
WIDEST = 30  # digits; in a small window the list of models shrinks
DATA_TITLES = {"fer2013": "FER2013", "ferplus": "FER+"}


class Choices:
    """The model, its expressions and the detector that are chosen in the window's lists.

    Args:
        layout: Has the lists.
        settings: The choices to begin with.
    """

    def __init__(self, layout: Layout, settings: Settings) -> None:
        self._layout = layout
        self._models: dict[str, Model] = {}  # by title
        self._labels: dict[str, str] = {}  # title -> label set
        self._detectors = {detector_title(name): name for name in sorted(DETECTORS, key=_everyday_first)}
        self.model, self.labels = settings.model, settings.labels
        self.detector = settings.detector if settings.detector in DETECTORS else "auto"
        self.remembered = settings.model  # the model of the next start: the last one that is not for cartoons
        layout.widget("detectors").configure(values=list(self._detectors))
        layout.set("detector", detector_title(self.detector))
        for name in ("models", "label_sets", "detectors"):
            fit_list(layout.widget(name))
        Tooltip(layout.widget("models"), lambda: self.description)
        Tooltip(layout.widget("label_sets"), LABELS_TIP)
        Tooltip(layout.widget("detectors"), DETECTOR_TIP)

    @property
    def titles(self) -> list[str]:
        """Titles of the models."""
        return list(self._models)

    @property
    def description(self) -> str:
        """Description of the chosen model; empty until models are listed."""
        return f"{self.model}\n{describe(self._spec)}" if self.model in self._names else ""

    def offer(self, models: list[Model]) -> None:
        """List models; if the chosen one is missing, choose the first one for photos."""
        self._models = {model_title(model): model for model in models if model.spec is not None}
        if self._models and self.model not in self._names:
            photos = [m.name for m in self._models.values() if m.spec is not None and not is_for_cartoons(m.spec)]
            self.model = (photos or self._names)[0]
        self._layout.widget("models").configure(values=self.titles)
        self._list_labels()

    def read(self) -> bool:
        """Take over the choices in the lists; return whether one is new."""
        before = self.model, self.labels, self.detector
        chosen = self._models.get(self._layout.get("model"))
        if chosen is not None and chosen.name != self.model:
            self.model = chosen.name
        else:
            self.labels = self._labels.get(self._layout.get("labels"), "")
        self.detector = self._detectors[self._layout.get("detector")]
        self._list_labels()
        return before != (self.model, self.labels, self.detector)

    def recognizer(self, models_dir: Path | None) -> Callable[[], Recognizer]:
        """Return a function that loads the chosen model and detector."""
        return partial(_load, self.detector, self.model, self.labels, models_dir)

    @property
    def sentence(self) -> str:
        """Sentence about the chosen model, for the status line."""
        names = next((head.labels for head in self._spec.heads if head.labels.name == self.labels), self._spec.labels)
        return f"{self.model}: {', '.join(names)}{self.note}"

    @property
    def note(self) -> str:
        """Note on a model for cartoons, to append to a sentence; empty for other models."""
        if self.model not in self._names or not self._is_for_cartoons:
            return ""
        return f" – {self.model} is for drawn faces; mien starts with {self.remembered} next time"

    @property
    def _names(self) -> list[str]:
        return [model.name for model in self._models.values()]

    @property
    def _spec(self) -> ModelSpec:
        return next(m.spec for m in self._models.values() if m.spec is not None and m.name == self.model)

    @property
    def _is_for_cartoons(self) -> bool:
        return is_for_cartoons(self._spec)

    def _list_labels(self) -> None:
        """Show the chosen model and its label sets."""
        if self.model not in self._names:
            return
        if not self._is_for_cartoons:
            self.remembered = self.model
        self._labels = {label_title(head.labels): head.labels.name for head in self._spec.heads}
        if self.labels not in self._labels.values():
            self.labels = self._spec.labels.name
        self._layout.widget("label_sets").configure(values=list(self._labels))
        self._layout.set("labels", next(title for title, name in self._labels.items() if name == self.labels))
        self._layout.set("model", next(title for title, m in self._models.items() if m.name == self.model))
        for name in ("models", "label_sets", "detectors"):
            widen_field(self._layout.widget(name), most=WIDEST)


def detector_title(name: str) -> str:
    """Return a detector's title in the list."""
    return DETECTOR_TITLES.get(name, f"Haar ({name.removeprefix('haar-')})")


def label_title(labels: LabelSet) -> str:
    """Return a label set's title in the list: "7 expressions (FER2013)"."""
    return f"{len(labels)} expressions ({DATA_TITLES.get(labels.name, visible(labels.name))})"


def model_title(model: Model) -> str:
    """Return a model's title in the list: its name, with a mark if it is for drawn faces."""
    name = visible(model.name)
    return f"{name} (cartoons)" if model.spec is not None and is_for_cartoons(model.spec) else name


def is_for_cartoons(spec: ModelSpec) -> bool:
    """Return whether a model was trained on drawn faces: mien's own drawings, or FERG-DB."""
    return bool(spec.made_by) or spec.trained_on.get("name", "").startswith(("cartoons", "ferg"))


def describe(spec: ModelSpec) -> str:
    """Return a description of a model in a few lines."""
    name = spec.trained_on.get("name", "")
    data = DATA_TITLES.get(name, visible(name)) or "unknown data"
    lines = ["For drawn faces, not for photos." if is_for_cartoons(spec) else "For photos, cameras and videos."]
    accuracy = spec.metrics.get("test/flip/accuracy")
    right = "" if accuracy is None else f"; accuracy on its test images: {100 * accuracy:.0f} %"
    lines.append(f"Trained on {'drawn cartoons' if spec.made_by else data}{right}.")
    lines.append(f"Licence of the weights: {visible(spec.license) or 'unknown'}.")
    return "\n".join(lines)


def _load(detector: str, model: str, labels: str, models_dir: Path | None) -> Recognizer:
    return Recognizer(window_detector(detector), model, labels=labels or None, models_dir=models_dir)


def _everyday_first(name: str) -> int:
    return list(DETECTOR_TITLES).index(name) if name in DETECTOR_TITLES else len(DETECTOR_TITLES)
