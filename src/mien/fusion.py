"""Join the voice with the faces: late fusion of calibrated probabilities. See docs/decisions/0045."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.errors import ConfigError, InputError
from mien.labels import LabelSet
from mien.settings import Range
from mien.structures import (
    UNCERTAIN,
    Expression,
    FloatArray,
    Prediction,
    Utterance,
    check_time,
    check_utterance,
    checked_expressions,
)

DISAGREE = "disagree"  # the label of a face and a voice that contradict each other
MIN_OVERLAP = 0.05  # probability of naming the same label below which two answers contradict each other
MAX_SILENCE = 3.0  # seconds after its end for which an utterance counts; an expression rarely lasts longer
PRIOR_WEIGHT = 0.5  # both answers contain the prior; half of it is taken off: the weight that fits best
SMALLEST = 1e-7  # probability taken for 0, so that its logarithm is finite


@dataclass(frozen=True, slots=True)
class Fused:
    """A face and a voice joined.

    Args:
        prediction: Probabilities over the face's labels; the voice's own prediction without a face.
        face: Prediction of the face; None without one.
        voice: Prediction of the voice; None without speech.
        min_confidence: Confidence below which the label is "uncertain", in [0, 1].
    """

    prediction: Prediction
    face: Prediction | None
    voice: Prediction | None
    min_confidence: float = 0.0

    @property
    def agree(self) -> bool | None:
        """Whether face and voice have the same most probable label; None where one of them is missing."""
        if self.face is None or self.voice is None:
            return None
        return self.face.label == self.voice.label

    @property
    def contradict(self) -> bool:
        """Whether face and voice are certain of different labels, which both know.

        If each drew a label by its own probabilities, they would draw the same less often than `MIN_OVERLAP`. Labels
        that only one of them knows count as the same: a voice without contempt does not deny it.
        """
        if self.face is None or self.voice is None:
            return False
        face, voice = self.face.as_dict(), self.voice.as_dict()
        shared = face.keys() & voice.keys()
        same = sum(face[label] * voice[label] for label in shared)
        foreign = 2 - sum(face[label] + voice[label] for label in shared)
        return same + foreign < MIN_OVERLAP

    @property
    def certain(self) -> bool:
        """Whether the fused confidence is at least `min_confidence`, and face and voice don't contradict."""
        return self.prediction.confidence >= self.min_confidence and not self.contradict

    @property
    def label(self) -> str:
        """The most probable label, "disagree" or "uncertain"."""
        if self.contradict:
            return DISAGREE
        return self.prediction.label if self.certain else UNCERTAIN

    def __str__(self) -> str:
        """Return the label, or both labels if face and voice disagree: "face happy, voice sounds angry"."""
        if self.face is not None and self.voice is not None and self.contradict:
            return f"face {self.face.label}, voice sounds {self.voice.label}"
        return self.label


@dataclass(frozen=True, slots=True)
class VoiceResult:
    """The voice at a frame's time.

    Args:
        utterance: The latest utterance; None without speech.
        fused: The face and the voice joined; None with two or more faces, and with neither face nor voice.
    """

    utterance: Utterance | None
    fused: Fused | None


def check_voice_result(voice_result: VoiceResult | None) -> None:
    """Raise InputError unless it is what `fuse_faces` returns, or None."""
    if voice_result is not None and not isinstance(voice_result, VoiceResult):
        raise InputError(
            f"voice_result is of type {type(voice_result).__name__}; expected what mien.fuse_faces returns, or None"
        )


class VoiceTrack:
    """The utterances of a stream by time.

    Args:
        utterances: Utterances in their order; taken one after another, each when its time comes. Others are added.
        max_silence: Seconds after its end for which an utterance counts.

    Raises:
        InputError: The utterances are no iterable.
        ConfigError: max_silence is negative or not finite.

    Example:
        >>> track = VoiceTrack(Listener().stream(sounds("clip.mp4")))
        >>> for frame, expressions in Recognizer().stream(frames("clip.mp4")):
        ...     print(frame.time, fuse_faces(expressions, track.at(frame.time)).fused)
    """

    def __init__(self, utterances: Iterable[Utterance] = (), *, max_silence: float = MAX_SILENCE) -> None:
        if not isinstance(utterances, Iterable):
            raise InputError(f"the utterances are of type {type(utterances).__name__}; expected those of mien.Listener")
        self.max_silence = Range(0).check("max_silence", max_silence)
        self._coming = iter(utterances)
        self._known: deque[Utterance] = deque()

    def add(self, utterance: Utterance) -> None:
        """Add the next utterance, or a newer answer for the last one, which was provisional.

        Raises:
            InputError: It is not an Utterance.
        """
        check_utterance(utterance)
        if self._known and not self._known[-1].final:
            self._known.pop()
        self._known.append(utterance)

    def at(self, time: float) -> Utterance | None:
        """Return the utterance that is spoken at a time, or ended at most `max_silence` seconds ago.

        Args:
            time: Seconds from the start of the source; not before that of the last call.

        Raises:
            InputError: The time is not finite; or see `Listener.stream`, from which the utterances come.
        """
        check_time("the time", time)
        while not self._known or self._known[-1].start <= time:
            utterance = next(self._coming, None)
            if utterance is None:
                break
            self.add(utterance)
        while len(self._known) > 1 and self._known[1].start <= time:
            self._known.popleft()
        current = self._known[0] if self._known else None
        return current if current and current.start <= time <= current.end + self.max_silence else None


def fuse_faces(
    expressions: Sequence[Expression], utterance: Utterance | None, *, prior: Mapping[str, float] | None = None
) -> VoiceResult:
    """Join the faces of a frame with the voice.

    A single face is fused with the voice. Without speech the face answers alone, without a face the voice. With two or
    more faces nothing is fused, since any of them may be speaking.

    Args:
        expressions: The faces of a frame.
        utterance: The voice at its time; None without speech.
        prior: See `fuse`.

    Raises:
        InputError: The expressions are no list of them, or the utterance none.
        ConfigError: See `fuse`.
    """
    expressions = checked_expressions(expressions)
    if utterance is not None:
        check_utterance(utterance)
    face = expressions[0] if expressions else None
    if len(expressions) > 1 or (face is None and utterance is None):
        return VoiceResult(utterance, None)
    return VoiceResult(utterance, fuse(face, utterance, prior=prior))


def fuse(
    face: Expression | Prediction | None,
    voice: Utterance | Prediction | None,
    *,
    prior: Mapping[str, float] | None = None,
) -> Fused:
    """Join a face and a voice, both calibrated.

    Over the labels that both know, log p = log p_face + log p_voice - log prior / 2, up to a constant: a product of
    experts, or naive Bayes with half of the prior taken off. Their sum stays as the face says, and so does the
    probability of each other label. A voice without a preference changes nothing.

    Args:
        face: The face; None where there is none.
        voice: The voice; None without speech.
        prior: Share of each shared label in the data that both learnt from; uniform when None.

    Raises:
        InputError: Both are None, or one is of another type.
        ConfigError: They share fewer than two labels, a label has no positive prior, or `prior` is not a mapping.
    """
    for name, part, kind in (("face", face, Expression), ("voice", voice, Utterance)):
        if part is not None and not isinstance(part, (kind, Prediction)):
            raise InputError(f"{name} is of type {type(part).__name__}; expected {kind.__name__}, Prediction or None")
    of_face = face.prediction if isinstance(face, Expression) else face
    of_voice = voice.prediction if isinstance(voice, Utterance) else voice
    given = [part.min_confidence for part in (face, voice) if isinstance(part, (Expression, Utterance))]
    min_confidence = given[0] if given else 0.0
    if of_face is None or of_voice is None:
        alone = of_face or of_voice
        if alone is None:
            raise InputError("there is neither a face nor a voice to fuse; give at least one of them")
        return Fused(alone, of_face, of_voice, min_confidence)
    return Fused(_product(of_face, of_voice, prior), of_face, of_voice, min_confidence)


def shared_labels(face: LabelSet, voice: LabelSet) -> list[str]:
    """Return the labels that a face and a voice have in common, in the face's order.

    Raises:
        ConfigError: There are fewer than two: such a voice says nothing about the face.
    """
    shared = [label for label in face if label in voice.labels]
    if len(shared) < 2:
        raise ConfigError(
            f"the labels of the voice ({', '.join(voice)}) and of the face ({', '.join(face)}) have "
            f"{'only ' + shared[0] if shared else 'none'} in common; choose models that share two or more"
        )
    return shared


def _product(face: Prediction, voice: Prediction, prior: Mapping[str, float] | None) -> Prediction:
    shared = shared_labels(face.labels, voice.labels)
    of_face, of_voice = ([prediction.labels.index(label) for label in shared] for prediction in (face, voice))
    logs = (
        _log(face.probabilities[of_face])
        + _log(voice.probabilities[of_voice])
        - PRIOR_WEIGHT * _log(_shares(shared, prior))
    )
    product = np.exp(logs - logs.max())
    fused = face.probabilities.astype(np.float64)
    fused[of_face] = fused[of_face].sum() * product / product.sum()
    return Prediction(np.asarray(fused / fused.sum(), np.float32), face.labels)


def _log(probabilities: FloatArray | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST))


def _shares(labels: Sequence[str], prior: Mapping[str, float] | None) -> npt.NDArray[np.float64]:
    if prior is None:
        return np.ones(len(labels))
    if not isinstance(prior, Mapping):
        raise ConfigError(f"the prior is of type {type(prior).__name__}; expected a share per label, {{label: share}}")
    positive = Range(0, above=True)
    return np.array([positive.check(f"the prior of '{label}'", prior.get(label)) for label in labels])
