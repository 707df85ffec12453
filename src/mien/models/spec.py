"""ModelSpec: all one must know to use a model, stored inside the checkpoint and the ONNX file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Literal, get_args

from mien.errors import MienError, ModelError
from mien.labels import LabelSet

SPEC_VERSION = 2  # the newest that is read; version 2 has temporal models, and all others are still written as 1
SPEC_KEY = "mien_spec"  # key of the JSON in ONNX metadata_props and in a checkpoint's header

Normalize = Literal["unit", "signed", "standardize", "none"]
Layout = Literal["uint8-nhwc", "float32-nhwc", "float32-nchw"]
Output = Literal["probabilities", "logits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How a face crop becomes the network's input; carried out by `vision.preprocess`.

    Args:
        size: Side of the square input in pixels.
        channels: 1 for grey, 3 for RGB.
        equalize: Histogram-equalise the grey picture, as the 2020 prototype did.
        normalize: "unit" divides by 255, "signed" maps to [-1, 1], "standardize" gives each picture mean 0 and
            standard deviation 1, "none" leaves 0 to 255. Our own models do it inside the graph.
    """

    size: int = 48
    channels: int = 1
    equalize: bool = False
    normalize: Normalize = "standardize"

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 1024:
            raise ModelError(f"input size {self.size} is out of range; expected 8 to 1024 pixels")
        if self.channels not in (1, 3):
            raise ModelError(f"{self.channels} channels; expected 1 (grey) or 3 (RGB)")
        if self.equalize and self.channels != 1:
            raise ModelError("histogram equalisation is defined for grey input; set channels to 1")
        _check("normalisation", self.normalize, get_args(Normalize))


@dataclass(frozen=True, slots=True)
class Head:
    """One output of a model: its labels and the temperature folded into its softmax.

    The temperature is fitted on the validation split (Guo et al. 2017, arXiv:1706.04599).
    """

    labels: LabelSet
    temperature: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What the ONNX graph itself takes and gives.

    Args:
        input: "uint8-nhwc" is our own form, pixels as they are, normalised inside the graph. A foreign model mostly
            wants float32, which is normalised before it.
        output: "probabilities", or "logits" to which softmax and temperature are still to be applied.
    """

    input: Layout = "uint8-nhwc"
    output: Output = "probabilities"

    def __post_init__(self) -> None:
        _check("graph input", self.input, get_args(Layout))
        _check("graph output", self.output, get_args(Output))


@dataclass(frozen=True, slots=True, kw_only=True)
class Temporal:
    """What a temporal model works on: the probabilities that one classifier gave for a track's face, frame by frame.

    Args:
        classifier: Its name, for messages.
        fingerprint: Of its graph, by `zoo.graph_fingerprint`: no other classifier is taken.
        width: How many probabilities those are, of all its heads together.
        state: How many numbers are remembered of a track.
    """

    classifier: str
    fingerprint: str
    width: int
    state: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The contract between training and use.

    Args:
        name: What the model is called on the command line.
        arch: Name of the network in `NETS`, or "foreign".
        heads: Its outputs, the default one first. The ONNX output of a head bears the name of its label set.
        preprocess: How a crop becomes the input.
        graph: Form of the ONNX graph's input and output.
        crop: Geometry of the faces it was trained on; "fer2013" is the only one so far.
        trained_on: Name and fingerprint of the data, and which of its training pictures were left out, if any
            ("dropped": "4,480 leaks", "fold": "2 of 5 left out"); "made" holds the commands that draw it, a line
            each, if mien drew it; empty when unknown.
        license: SPDX identifier or a sentence; empty when unknown.
        metrics: Published figures, e.g. {"test/flip/accuracy": 0.704}.
        recipe: The training settings as plain data, empty when unknown.
        temporal: What a temporal model works on; None for a classifier, which sees faces by itself. `preprocess` and
            `crop` are then those of the classifier.
        version: Version of this format.
    """

    name: str
    arch: str
    heads: tuple[Head, ...]
    preprocess: Preprocess
    graph: Graph = field(default_factory=Graph)
    crop: str = "fer2013"
    trained_on: dict[str, str] = field(default_factory=dict)
    license: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    recipe: dict[str, object] = field(default_factory=dict)
    temporal: Temporal | None = None
    version: int = 1

    @property
    def made_by(self) -> list[str]:
        """Commands that draw the training data again; none for data that comes from elsewhere."""
        return self.trained_on.get("made", "").splitlines()

    @property
    def labels(self) -> LabelSet:
        """Labels of the default head."""
        return self.heads[0].labels

    def head(self, name: str | None = None) -> Head:
        """Return a head by the name of its label set; the default one for None.

        Raises:
            ModelError: The model has no such head.
        """
        if name is None:
            return self.heads[0]
        for head in self.heads:
            if head.labels.name == name:
                return head
        raise ModelError(f"model '{self.name}' has no labels '{name}'; choose from {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the heads' label sets, the default one first."""
        return tuple(head.labels.name for head in self.heads)

    def with_temperatures(self, temperatures: dict[str, float]) -> ModelSpec:
        """Return a copy whose heads, named by their label sets, have these temperatures."""
        heads = tuple(Head(head.labels, temperatures.get(head.labels.name, head.temperature)) for head in self.heads)
        return replace(self, heads=heads)

    def to_json(self) -> str:
        """Return the spec as JSON with sorted keys, so that equal specs give equal bytes."""
        plain = asdict(self)
        if self.temporal is None:  # so that a mien that knows no such key reads classifiers
            del plain["temporal"]
        return json.dumps(plain, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what `to_json` wrote.

        Raises:
            ModelError: The text is not such JSON, is incomplete, or is of a newer version.
        """
        try:
            raw = json.loads(text)
            version = raw["version"]
            if version > SPEC_VERSION:
                raise ModelError(
                    f"the model's spec has version {version}, this mien reads up to {SPEC_VERSION}; "
                    "upgrade it: pip install -U mien"
                )
            unknown = sorted(set(raw) - {f.name for f in fields(cls)})
            if unknown:
                raise ModelError(f"the model's spec has unknown keys: {', '.join(unknown)}")
            heads = tuple(
                Head(LabelSet(head["labels"]["name"], tuple(head["labels"]["labels"])), head["temperature"])
                for head in raw.pop("heads")
            )
            preprocess = Preprocess(**raw.pop("preprocess"))
            graph = Graph(**raw.pop("graph", {}))
            temporal = raw.pop("temporal", None)
            temporal = temporal if temporal is None else Temporal(**temporal)
            if not heads:
                raise ModelError("the model's spec has no heads")
            return cls(heads=heads, preprocess=preprocess, graph=graph, temporal=temporal, **raw)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelError(f"the model's spec is unreadable ({error!r}); export the model again") from error
        except MienError as error:
            raise ModelError(str(error)) from error


def current_name(name: str) -> str:
    """Return the present name of a net's part or tensor; in old files "backbone.0" is called "body.0"."""
    first, dot, rest = name.partition(".")
    return f"backbone{dot}{rest}" if first == "body" else name


def _check(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ModelError(f"unknown {what} '{value}'; expected one of {', '.join(known)}")
