"""Training recipes: their settings, and the shipped ones."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from mien.errors import ConfigError
from mien.files import as_path
from mien.models.spec import Preprocess, current_name
from mien.models.store import check_name
from mien.settings import NotNegative, Positive, Range, Seed, Share, check_fields, from_dict, read_toml

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Precision = Literal["auto", "32-true", "bf16-mixed"]
DataWeight: TypeAlias = Annotated[float, Range(0, above=True, hint="--weight takes one number per --data")]
Count: TypeAlias = Annotated[int, Range(1, 1_000_000)]
BatchSize: TypeAlias = Annotated[int, Range(2, 65_536, hint="batch normalisation needs at least 2")]
BelowOne: TypeAlias = Annotated[float, Range(0, 1, below=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Consecutive epochs at one image size."""

    size: Annotated[int, Range(8, 1024)]  # side in pixels
    epochs: Annotated[int, Range(1, 100_000)]
    augment: Share = 1.0  # strength: 0 switches augmentation off, 1 is `Augment` in full

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augment:
    """Ranges of the augmentation at strength 1; each is sampled uniformly and symmetrically, unless a comment differs.

    Images are degraded as real photographs are: in shares of them, `degraded`, independently for each kind.
    """

    flip: bool = True  # mirror half of the images
    rotation: Annotated[float, Range(0, 180)] = 15.0  # degrees
    scale: BelowOne = 0.15  # ratio
    shift: Share = 0.1  # of the side
    brightness: Share = 0.3  # ratio
    contrast: Share = 0.3  # ratio, around the mean of the image
    erase: Share = 0.5  # probability of a random rectangle (Zhong et al. 2017, arXiv:1708.04896)
    box_jitter: Share = 0.0  # σ of a detector's error: normal, of the centre in sides, of log width and log height
    degraded: Share = 0.5  # probability of each of the following
    side_light: NotNegative = 0.0  # ratio at the edge of the image, falling off linearly to the other one
    gamma: Annotated[float, Range(1)] = 1.0  # largest exponent of intensity, or its inverse; log-uniform
    blur: NotNegative = 0.0  # largest σ of a Gaussian, of the side; uniform from 0
    low_resolution: Annotated[float, Range(1)] = 1.0  # largest factor of shrinking and enlarging again; log-uniform
    noise: NotNegative = 0.0  # largest σ of Gaussian noise, in grey levels; uniform from 0
    jpeg_quality: Annotated[int, Range(1, 100)] = 100  # lowest of JPEG compression; uniform up to 95; 100 is off

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """An output of the net."""

    labels: str  # name of its label set: fer2013, ferplus, or a dataset's own
    weight: Positive = 1.0  # of its loss
    data: tuple[str, ...] = ()  # datasets whose labels train it; by default all whose labels it has, and no head before
    logit_adjustment: NotNegative = 0.0  # τ on the log prior; 1 favours no class (Menon et al. 2021, arXiv:2007.07314)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A training recipe."""

    net: str  # a name in `nets.nets.NETS`
    name: str = ""  # of the trained model; the net's name when empty
    init: str = ""  # initial weights: a model's name, a file or a run; random ones when empty
    freeze: tuple[str, ...] = ()  # parts that keep those weights and their batch statistics, e.g. "backbone.0"
    # Factor on the backbone's learning rate; below 1 where it is trained and heads are new.
    backbone_rate: Annotated[float, Range(0, above=True, hint="freeze = ['backbone'] stops it")] = 1.0
    preprocess: Preprocess = field(default_factory=Preprocess)
    stages: tuple[Stage, ...] = (Stage(size=48, epochs=30),)  # progressive size saves a third of the work
    augment: Augment = field(default_factory=Augment)
    batch_size: BatchSize = 128  # the last short batch of an epoch is dropped
    learning_rate: Positive = 0.1  # the peak, reached after warm-up; then one cosine
    final_rate: Share = 0.0  # where the cosine ends, of the peak; the average of the weights needs no 0
    warmup_epochs: Annotated[int, Range(0)] = 2  # linear, from a tenth of the peak
    momentum: BelowOne = 0.9  # Nesterov
    weight_decay: NotNegative = 5e-4  # on weights of convolutions and dense layers only
    clip_norm: Positive = 2.0  # of the whole gradient
    ema_decay: BelowOne = 0.999  # per step; the averaged weights are evaluated and exported
    label_smoothing: BelowOne = 0.1  # raters often disagree
    # Beta(α, α); 0 switches mixup off (Zhang et al. 2018, arXiv:1710.09412).
    mixup_alpha: Annotated[float, Range(0, 100)] = 0.0
    mixup_share: Share = 0.5  # of the batches
    mixup_epochs: Annotated[int, Range(0)] = 0  # mixup in this many first epochs; 0 means all
    heads: tuple[HeadConfig, ...] = ()  # in order of outputs; the data's labels, and FER+ for its votes, when empty
    ferplus_weight: NotNegative = 0.4  # of the loss by FER+ votes, where `heads` is empty
    data_weights: tuple[DataWeight, ...] = ()  # how often an epoch draws an image of each dataset; once when empty
    teacher: str = ""  # .npz of soft labels for the first dataset, see `training.teacher`; none when empty
    distil_weight: Share = 0.7  # of the loss by the teacher; the labels have the rest (Hinton et al. 2015)
    distil_temperature: Positive = 2.0  # softens teacher and student alike
    class_balance: Share = 0.0  # draws ∝ (class frequency)^-this in each dataset; 1 draws all classes equally often
    precision: Precision = "auto"  # auto measures, once, which is faster on this machine
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.stages:
            raise ConfigError("stages is empty; a recipe needs at least one stage")
        check_name(self.name or self.net)
        if len({head.labels for head in self.heads}) < len(self.heads):
            raise ConfigError(
                f"two heads have the labels {', '.join(head.labels for head in self.heads)}; name each once"
            )
        if self.freeze and not self.init:
            raise ConfigError("freeze needs initial weights; name them with init (--init)")

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def stage_of(self, epoch: int) -> Stage:
        """Return the stage of an epoch, counted from 0."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage
            epoch -= stage.epochs
        raise ValueError(f"epoch is past the last of {self.epochs}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporalConfig:
    """Settings of a temporal model and its training."""

    name: str = ""  # of the model; CLASSIFIER-temporal when empty
    drawn: Annotated[int, Range(0, 1_000_000)] = 60  # sequences of drawn faces
    extras: Count = 60  # random characters drawn in them; the named ones are held out
    stills: Annotated[int, Range(0, 1_000_000)] = 120  # sequences of the dataset's images set in motion
    state: Annotated[int, Range(16, 4096)] = 48  # size of the hidden state: the mean of each label, and some more
    steps: Count = 400
    batch_size: Annotated[int, Range(1, 65_536)] = 24  # sequences
    window: Count = 240  # frames of a sequence in one batch
    learning_rate: Positive = 3e-3  # the peak of one cycle (Smith & Topin 2019, arXiv:1708.07120)
    weight_decay: NotNegative = 1e-2
    dropout: BelowOne = 0.2
    left_out: BelowOne = 0.1  # share of frames dropped, so that the gaps of a slow machine are known
    clip_norm: Positive = 1.0
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.name:
            check_name(self.name)

    def name_for(self, classifier: str) -> str:
        """Return the name of the model for a classifier of that name."""
        return self.name or f"{classifier}-temporal"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceConfig:
    """Settings of a voice model and its training."""

    name: str = ""  # of the model; voice-DATA when empty
    init: str = ""  # encoder to start from: a file, or a voice model; that of the shipped one when empty
    blocks: tuple[int, ...] = (2, 3)  # of the encoder whose statistics are the features, counted from 1
    copies: Annotated[int, Range(0, 100)] = 4  # of each clip, with noise, at another speed, cut
    penalty: Positive = 0.1  # L2 of the head's weights, on features of deviation 1
    folds: Annotated[int, Range(0, 1000)] = 0  # of neighbouring speakers; see `data.speech.folds_of` for 0
    enrolment: bool = True  # train a second head for speakers with a sentence of their neutral voice
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.name:
            check_name(self.name)
        if not self.blocks or not all(1 <= block <= 32 for block in self.blocks):
            raise ConfigError(f"blocks is {list(self.blocks)}; expected one or more numbers of blocks, from 1")

    def name_for(self, data: str) -> str:
        """Return the name of the model for data of that name."""
        return self.name or f"voice-{data}"


def new_folder(name: str) -> Path:
    """Return the default folder of a new run, runs/NAME-DATE-TIME."""
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(Path(entry.name).stem for entry in _folder().iterdir() if entry.name.endswith(".toml"))


def current_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe or run under their current names: older versions called the backbone "body"."""
    renamed = {"backbone_rate" if key == "body_rate" else key: value for key, value in settings.items()}
    if isinstance(frozen := renamed.get("freeze"), (list, tuple)):
        renamed["freeze"] = [current_name(part) if isinstance(part, str) else part for part in frozen]
    return renamed


def load_recipe(name: str | Path, overrides: Mapping[str, object] | None = None) -> TrainConfig:
    """Read a recipe and override some of its settings.

    Args:
        name: One of `recipe_names()`, or a path that ends in .toml.
        overrides: Dotted key -> value, e.g. {"augment.rotation": 10}.

    Raises:
        ConfigError: No such recipe, not TOML, an unknown key, or a value of the wrong type.
    """
    as_path(name)  # or InputError
    name = os.fspath(name)
    if name.endswith(".toml"):
        data = read_toml(Path(name), name=f"recipe {name}")
    elif name in recipe_names():
        data = read_toml(_folder() / f"{name}.toml", name=f"recipe {name}")
    else:
        raise ConfigError(f"unknown recipe '{name}'; choose from {', '.join(recipe_names())} or give a .toml file")
    data = current_settings(data)
    for key, value in current_settings(overrides or {}).items():
        *parents, last = key.split(".")
        table = data
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"cannot set '{key}': '{parent}' is not a table")
        table[last] = value
    return from_dict(TrainConfig, data)


def _folder() -> Traversable:
    return resources.files("mien.training") / "recipes"
