"""ModelSpec: everything needed to use a model, stored inside its checkpoint and its ONNX file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from math import inf
from typing import Any, Literal, get_args

from mien.errors import MienError, ModelError
from mien.labels import LabelSet

# The newest version that is read: 1 face, 2 temporal, 3 voice and ensemble. Each kind is written with the first version
# that has it, so that older releases read the models they can use and ask for an upgrade for others.
SPEC_VERSION = 3
SPEC_KEY = "mien_spec"  # key of the JSON in ONNX metadata_props and in a checkpoint's header

Kind = Literal["face", "temporal", "voice", "ensemble"]  # the last two are reserved
Input = Literal["image", "sound"]
Normalize = Literal["unit", "signed", "standardize", "none"]
Layout = Literal["uint8-nhwc", "float32-nhwc", "float32-nchw"]
Output = Literal["probabilities", "logits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How a face crop becomes the network's input; see `models.preprocess`.

    Args:
        size: Side of the square input in pixels.
        channels: 1 for grey, 3 for RGB.
        equalize: Histogram-equalise the grey image, as the 2020 prototype did.
        normalize: "unit" divides by 255, "signed" maps to [-1, 1], "standardize" gives each image mean 0 and
            standard deviation 1, "none" leaves 0 to 255. mien's own models normalise inside the graph.
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
        if not isinstance(self.equalize, bool):
            raise ModelError(f"equalize is {self.equalize!r}; expected true or false")
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

    def __post_init__(self) -> None:
        if not 0 < self.temperature < inf:  # nan too
            raise ModelError(f"temperature {self.temperature} of head '{self.labels.name}'; expected a positive number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Input and output format of the ONNX graph.

    Args:
        input: "uint8-nhwc" for mien's own models: raw pixels, normalised inside the graph. Models of other origin
            mostly take float32, which mien normalises before it runs the graph.
        output: "probabilities", or "logits", to which mien applies softmax and temperature.
    """

    input: Layout = "uint8-nhwc"
    output: Output = "probabilities"

    def __post_init__(self) -> None:
        _check("graph input", self.input, get_args(Layout))
        _check("graph output", self.output, get_args(Output))


@dataclass(frozen=True, slots=True, kw_only=True)
class Temporal:
    """Input and state of a temporal model, which reads the probabilities of one classifier frame by frame.

    Args:
        classifier: Name of the classifier, for messages.
        fingerprint: `graph_fingerprint` of the classifier; no other one is accepted.
        width: Number of probabilities per frame, those of all heads side by side.
        state: Size of the state kept per track.
    """

    classifier: str
    fingerprint: str
    width: int
    state: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The contract between training and use.

    Args:
        name: Name of the model on the command line.
        arch: Name of the network in `NETS`, or "foreign".
        heads: Outputs, the default one first. The ONNX output of a head has the name of its label set.
        preprocess: How a crop becomes the input. A temporal model has that of its classifier, like `crop`.
        graph: Input and output format of the ONNX graph.
        kind: "face" for a classifier of face crops, "temporal" for one that smooths a classifier's probabilities over
            time; "voice" and "ensemble" are reserved.
        input: "image" or "sound".
        crop: Geometry of the face crops it was trained on; "fer2013" is the only one so far.
        trained_on: Name and fingerprint of the data; "detector" names the one that found the faces in photographs,
            if they were no crops; "dropped" and "fold" describe training images left out, if any
            ("4,480 leaks", "2 of 5 left out"); "with NAME" describes a further dataset, "weight" is then that of the
            first; "teacher" names a file of soft labels; "made" holds the commands that draw the data, one per line, if
            mien drew it. Empty when unknown.
        license: SPDX identifier or a sentence; empty when unknown.
        metrics: Published figures, e.g. {"test/flip/accuracy": 0.704}.
        recipe: Training settings as plain data; empty when unknown.
        temporal: Input and state of a temporal model; None for other kinds.
        version: Version of this format.
    """

    name: str
    arch: str
    heads: tuple[Head, ...]
    preprocess: Preprocess
    graph: Graph = field(default_factory=Graph)
    kind: Kind = "face"
    input: Input = "image"
    crop: str = "fer2013"
    trained_on: dict[str, str] = field(default_factory=dict)
    license: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    recipe: dict[str, object] = field(default_factory=dict)
    temporal: Temporal | None = None
    version: int = 1

    def __post_init__(self) -> None:
        if not self.heads:
            raise ModelError("the model's spec has no heads")
        _check("kind of model", self.kind, get_args(Kind))
        _check("input", self.input, get_args(Input))
        if (self.temporal is None) == (self.kind == "temporal"):
            raise ModelError(f"the spec of a model of kind '{self.kind}' has temporal = {self.temporal}")

    @property
    def made_by(self) -> list[str]:
        """Commands that draw the training data again; empty if mien did not draw it."""
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
        # Releases that don't know these keys refuse them; where they are absent, `from_json` derives them.
        if self.temporal is None:
            del plain["temporal"]
        if self.kind in ("face", "temporal"):
            del plain["kind"]
        if self.input == "image":
            del plain["input"]
        return json.dumps(plain, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read a spec that `to_json` wrote.

        Raises:
            ModelError: The text is not such JSON, is incomplete, or is of a newer version.
        """
        try:
            return cls(**_arguments(json.loads(text)))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ModelError(f"the model's spec is unreadable ({error!r}); export the model again") from error
        except MienError as error:
            raise ModelError(str(error)) from error


def _arguments(plain: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `ModelSpec` from its JSON."""
    if plain["version"] > SPEC_VERSION:
        raise ModelError(
            f"the model's spec has version {plain['version']}, this mien reads up to {SPEC_VERSION}; upgrade mien"
        )
    if unknown := sorted(set(plain) - {f.name for f in fields(ModelSpec)}):
        raise ModelError(f"the model's spec has unknown keys: {', '.join(unknown)}; upgrade mien")
    for name, kind in (
        ("name", str), ("arch", str), ("license", str), ("trained_on", dict), ("recipe", dict), ("metrics", dict)
    ):  # fmt: skip
        if not isinstance(plain.get(name, kind()), kind):
            raise TypeError(f"{name} is {plain[name]!r}")
    temporal = plain.get("temporal")
    return {
        "kind": "face" if temporal is None else "temporal",
        **plain,
        "heads": tuple(map(_head, plain["heads"])),
        "preprocess": Preprocess(**plain["preprocess"]),
        "graph": Graph(**plain.get("graph", {})),
        "temporal": None if temporal is None else Temporal(**temporal),
    }


def _head(plain: dict[str, Any]) -> Head:
    labels = plain["labels"]
    return Head(LabelSet(labels["name"], tuple(labels["labels"])), plain["temperature"])


def current_name(name: str) -> str:
    """Return the current name of a net's part or tensor; in old files "backbone.0" is called "body.0"."""
    first, dot, rest = name.partition(".")
    return f"backbone{dot}{rest}" if first == "body" else name


def _check(setting: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ModelError(f"unknown {setting} '{value}'; expected one of {', '.join(known)}")
