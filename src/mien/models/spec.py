"""ModelSpec: everything needed to use a model, stored inside its checkpoint and its ONNX file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Literal, get_args

from mien.errors import ConfigError, ModelError
from mien.escape import INVISIBLE
from mien.labels import FERPLUS, LabelSet
from mien.settings import from_dict, shown

# The newest version that is read: 1 face, 2 temporal, 3 voice and ensemble. Each kind is written with the first version
# that has it, so that older releases read the models they can use and ask for an upgrade for others.
DEFAULT_MODEL = "base-photos"  # the model used unless another is named; see docs/decisions/0041
DEFAULT_VOICE = "voice"  # likewise, for voices
SPEC_VERSION = 3
SPEC_KEY = "mien_spec"  # key of the JSON in ONNX metadata_props and in a checkpoint's header
# Limits that no real model reaches; a spec beyond them is damaged or hostile.
MAX_CHARACTERS, MAX_HEADS, MAX_LABELS, MAX_MEMBERS = 2**20, 16, 1000, 16

Kind = Literal["face", "temporal", "voice", "ensemble"]
FACE_KINDS: tuple[Kind, ...] = ("face", "ensemble")  # those that classify face crops
Input = Literal["image", "sound"]
Normalize = Literal["unit", "signed", "standardize", "none"]
Layout = Literal["uint8-nhwc", "uint8-nchw", "float16-nhwc", "float16-nchw", "float32-nhwc", "float32-nchw"]
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
        if not 1e-3 <= self.temperature <= 1e3:  # nan too; beyond, logits overflow or all classes are equal
            raise ModelError(f"temperature {self.temperature} of head '{self.labels.name}'; expected 0.001 to 1000")
        _check_text("the name of a label set", self.labels.name, 200)
        for label in self.labels:
            _check_text(f"a label of '{self.labels.name}'", label, 100)
        if len(self.labels) > MAX_LABELS:
            raise ModelError(f"'{self.labels.name}' has {len(self.labels):,} labels, expected at most {MAX_LABELS:,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Input and output format of the ONNX graph.

    Args:
        input: "uint8-nhwc" for mien's own models: raw pixels, normalised inside the graph. Models of other origin
            mostly take floats, which mien normalises before it runs the graph.
        output: "probabilities", or "logits", to which mien applies softmax and temperature.
        bgr: Whether the channels of the input are blue, green, red.
        mean: Subtracted after `Preprocess.normalize`: one number, or one per channel of the graph; empty for none.
        deviation: What remains is divided by this: one number, or one per channel; empty for none.
        scores: Name of the output with the scores. When empty, outputs are named after the heads' label sets, or are
            in the order of the heads.
        columns: Columns of that output that belong to the labels, in their order; all of them when empty.
        batch: Number of images per run; 0 for any number.
    """

    input: Layout = "uint8-nhwc"
    output: Output = "probabilities"
    bgr: bool = False
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    scores: str = ""
    columns: tuple[int, ...] = ()
    batch: int = 0

    def __post_init__(self) -> None:
        _check("graph input", self.input, get_args(Layout))
        _check("graph output", self.output, get_args(Output))
        if len(self.mean) not in (0, 1, 3) or len(self.deviation) not in (0, 1, 3) or 0 in self.deviation:
            raise ModelError(
                f"mean {shown(self.mean)} and deviation {shown(self.deviation)} of pixels; expected one number or "
                "three each, and no deviation of 0"
            )
        if self.input.startswith("uint8") and (self.mean or self.deviation):
            raise ModelError("a graph that takes uint8 normalises pixels itself; expected no mean and no deviation")
        if len(set(self.columns)) < len(self.columns) or not all(0 <= column < 2**16 for column in self.columns):
            raise ModelError(f"columns {shown(self.columns)} of the output; expected different numbers from 0")
        if not 0 <= self.batch <= 2**16:
            raise ModelError(f"{self.batch} images per run; expected 0 (any) to {2**16}")


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

    def __post_init__(self) -> None:
        if not (1 <= self.width <= 2**16 and 1 <= self.state <= 2**16):
            raise ModelError(f"a temporal model of width {self.width} and state {self.state}; expected 1 to {2**16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A classifier inside an ensemble; see `models.ensemble`.

    Args:
        name: Its name, for messages and cards.
        fingerprint: `graph_fingerprint` of the file it was taken from.
        preprocess: How a crop becomes its input.
    """

    name: str
    fingerprint: str
    preprocess: Preprocess

    def __post_init__(self) -> None:
        _check_text("the name of a member", self.name, 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """Input of a voice model; see `models.log_mel`.

    Args:
        rate: Samples per second, mono.
        bands: Mel bands of the spectrogram.
        window: Window length in samples.
        hop: Hop length in samples.
        shortest: Seconds of speech below which the model's answers are not to be used.
        longest: Seconds that the graph takes at most; longer speech is cut into equal parts.
        width: Number of features of a speaker's neutral voice, see `models.voice`; 0 if the model doesn't use them.
    """

    rate: int = 16_000
    bands: int = 80
    window: int = 400
    hop: int = 160
    shortest: float = 1.5
    longest: float = 10.0
    width: int = 0

    def __post_init__(self) -> None:
        sizes = {"rate": (8_000, 48_000), "bands": (8, 512), "window": (16, 2**14), "hop": (1, self.window)}
        for name, (least, most) in (sizes | {"width": (0, 2**16)}).items():
            if not least <= getattr(self, name) <= most:
                raise ModelError(f"{name} of the sound is {getattr(self, name)}; expected {least} to {most}")
        if not 0.1 <= self.shortest <= self.longest <= 600:
            raise ModelError(f"sounds of {self.shortest} to {self.longest} s; expected 0.1 to 600 s")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The contract between training and use.

    Args:
        name: Name of the model on the command line.
        arch: Name of the network in `NETS`, "foreign" or "ensemble".
        heads: Outputs; see `default_head`. The ONNX output of a head has the name of its label set.
        preprocess: How a crop becomes the input. A temporal model has that of its classifier, like `crop`; an ensemble
            that of its member with the largest input; a voice model has none.
        graph: Input and output format of the ONNX graph.
        kind: "face" for a classifier of face crops, "temporal" for one that smooths a classifier's probabilities over
            time, "ensemble" for several classifiers of face crops in one graph, "voice" for one that classifies speech.
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
        members: The classifiers in an ensemble; empty for other kinds.
        sound: Input of a voice model; None for other kinds.
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
    members: tuple[Member, ...] = ()
    sound: Sound | None = None
    version: int = 1

    def __post_init__(self) -> None:
        _check_text("the name of the model", self.name, 200)
        if not 1 <= len(self.heads) <= MAX_HEADS:
            raise ModelError(f"the model's spec has {len(self.heads)} heads, expected 1 to {MAX_HEADS}")
        if len(set(self.names)) < len(self.heads):
            raise ModelError(f"two heads of the model have the same name: {shown(', '.join(self.names))}")
        coloured = self.graph.bgr or 3 in (len(self.graph.mean), len(self.graph.deviation))
        if coloured and self.preprocess.channels != 3:
            raise ModelError("BGR, or a mean or deviation per channel, is for RGB input, but this one is grey")
        if self.graph.columns and [len(self.graph.columns)] != [len(head.labels) for head in self.heads]:
            raise ModelError(f"{len(self.graph.columns)} columns of the output were chosen; expected one per label")
        _check("kind of model", self.kind, get_args(Kind))
        _check("input", self.input, get_args(Input))
        if (self.temporal is None) == (self.kind == "temporal"):
            raise ModelError(f"the spec of a model of kind '{self.kind}' has temporal = {self.temporal}")
        if len(self.members) > MAX_MEMBERS or bool(self.members) != (self.kind == "ensemble"):
            raise ModelError(
                f"the spec of a model of kind '{self.kind}' has {len(self.members)} members; expected 2 to "
                f"{MAX_MEMBERS} in an ensemble, none otherwise"
            )
        voice = self.kind == "voice"
        if (self.sound is not None) != voice or (self.input == "sound") != voice:
            raise ModelError(
                f"the spec of a model of kind '{self.kind}' has the input '{self.input}' and sound = {self.sound}"
            )

    @property
    def inputs(self) -> tuple[Preprocess, ...]:
        """Preprocessing of each input of the graph; members of an ensemble with the same one share an input."""
        return tuple(dict.fromkeys(member.preprocess for member in self.members)) or (self.preprocess,)

    @property
    def exported(self) -> bool:
        """Whether mien trained and exported the model, so that its graph has the form and names of mien's own."""
        return self.arch != "foreign" and self.graph == Graph()

    @property
    def made_by(self) -> list[str]:
        """Commands that draw the training data again; empty if mien did not draw it."""
        return self.trained_on.get("made", "").splitlines()

    @property
    def labels(self) -> LabelSet:
        """Labels of the default head."""
        return self.default_head.labels

    @property
    def default_head(self) -> Head:
        """The head used unless another is named: that of FER+ votes if there is one, else the first.

        On photographs it agrees with people more often than FER2013's; see docs/decisions/0040.
        """
        return next((head for head in self.heads if head.labels.name == FERPLUS.name), self.heads[0])

    def head(self, name: str | None = None) -> Head:
        """Return a head by the name of its label set; the default one for None.

        Raises:
            ModelError: The model has no such head.
        """
        if name is None:
            return self.default_head
        for head in self.heads:
            if head.labels.name == name:
                return head
        raise ModelError(f"model '{self.name}' has no labels '{name}'; choose from {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the heads' label sets, in the order of the heads."""
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
        if not self.members:
            del plain["members"]
        if self.kind in ("face", "temporal"):
            del plain["kind"]
        if self.input == "image":
            del plain["input"]
        if self.sound is None:
            del plain["sound"]
        else:  # they are about pictures
            del plain["preprocess"], plain["crop"]
        for added in fields(Graph):
            if added.name not in ("input", "output") and getattr(self.graph, added.name) == added.default:
                del plain["graph"][added.name]
        return json.dumps(plain, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read a spec that `to_json` wrote.

        Raises:
            ModelError: The text is not such JSON, is incomplete, or is of a newer version.
        """
        if len(text) > MAX_CHARACTERS:
            raise ModelError(f"the model's spec has {len(text):,} characters, expected at most {MAX_CHARACTERS:,}")
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"the model's spec is not JSON ({shown(str(error))}); export the model again") from error
        try:
            return from_dict(cls, _current(plain))
        except ConfigError as error:
            raise ModelError(f"the model's spec is unreadable: {error}; export the model again") from error


def _current(plain: object) -> object:
    """Return the plain data of a spec with the kind, which the first versions lack; refuse those of a newer version."""
    if not isinstance(plain, dict):
        return plain
    version = plain.get("version")
    if isinstance(version, int) and version > SPEC_VERSION:
        raise ModelError(
            f"the model's spec has version {shown(version)}, this mien reads up to {SPEC_VERSION}; upgrade mien"
        )
    if unknown := sorted(set(plain) - {f.name for f in fields(ModelSpec)}):
        raise ModelError(f"the model's spec has unknown keys: {shown(', '.join(unknown))}; upgrade mien")
    if version is None:
        raise ModelError("the model's spec has no version; export the model again")
    if plain.get("input") == "sound":
        plain = {"preprocess": {}, **plain}
    return {"kind": "face" if plain.get("temporal") is None else "temporal", **plain}


def current_name(name: str) -> str:
    """Return the current name of a net's part or tensor; in old files "backbone.0" is called "body.0"."""
    first, dot, rest = name.partition(".")
    return f"backbone{dot}{rest}" if first == "body" else name


def _check_text(setting: str, value: str, most: int) -> None:
    """Check a name: it is printed on terminals and drawn into images."""
    if len(value) > most or INVISIBLE.search(value):
        raise ModelError(f"{setting} is {shown(value)}; expected at most {most} characters, none of them control codes")


def _check(setting: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ModelError(f"unknown {setting} '{value}'; expected one of {', '.join(known)}")
