"""Listener: from blocks of sound to utterances, and how each sounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from mien.errors import InputError, ModelError
from mien.labels import LabelSet
from mien.models.spec import DEFAULT_VOICE, ModelSpec
from mien.models.voice import load_voice
from mien.settings import Range
from mien.structures import (
    SAMPLE_RATE,
    Block,
    FloatArray,
    Prediction,
    Provenance,
    Utterance,
    check_block,
    check_part,
)
from mien.voice.segments import MAX_SECONDS, MIN_SECONDS, PAUSE_SECONDS, Segment, Segmenter
from mien.voice.speech import STEP, SileroDetector, SpeechDetector

NOTHING = Block(0.0, np.empty(0, np.float32))
QUIETEST = -60.0  # dBFS, where the level meter begins


class VoiceModel(Protocol):
    """Names the expression of a voice: `models.voice.VoiceClassifier`, or a test's stand-in."""

    @property
    def spec(self) -> ModelSpec: ...
    @property
    def labels(self) -> LabelSet: ...
    def predict_proba(self, samples: FloatArray, *, neutral: FloatArray | None = None) -> FloatArray:
        """Return the probabilities, float32 (k,), for speech: float32 (n,) in [-1, 1], mono, 16 kHz.

        `neutral` is what `enrol` returned for the speaker.
        """
        ...

    def enrol(self, samples: FloatArray) -> FloatArray:
        """Return the features of speech in a speaker's ordinary voice."""
        ...


class Listener:
    """Detects speech in an audio stream, splits it into utterances at pauses, and classifies how each sounds.

    An utterance gets a first, provisional prediction once it has 1.5 s of speech, another one after each further 0.5 s,
    about its last 3 s, and the final one about all its speech at a pause of 0.5 s, or after 10 s of speech. Only the
    speech is classified, without the silence around it. An utterance of less than 1.5 s gets no prediction; it is too
    short to be reliable. A model may ask for more or less than 1.5 and 10 s, see `models.Sound`.

    It hears one stream at a time, in one thread: a new stream ends the previous one and resets the state.

    Args:
        classifier: A voice model, or its name or path.
        min_confidence: Confidence below which an utterance's label is "uncertain", in [0, 1]; its probabilities are
            kept.
        detector: Detector of speech; Silero's net when None.
        models_dir: Directory of user models; the default directory when None.

    Attributes:
        shortest: Seconds of speech below which an utterance gets no answer: the model's.
        longest: Seconds of speech after which an utterance ends without a pause: the model's.

    Raises:
        ConfigError: An argument of another type, or min_confidence is out of range.
        UnknownModel: Unknown model.
        ModelError: The model file is unusable, no voice model, or one for sound of another rate.
        MissingExtra: No detector is given, and Silero's net is not installed.

    Example:
        >>> for utterance in Listener().stream(sounds("speech.wav")):
        ...     print(utterance.start, utterance.end, "sounds", utterance.label)
    """

    def __init__(
        self,
        classifier: VoiceModel | str | Path = DEFAULT_VOICE,
        *,
        min_confidence: float = 0.0,
        detector: SpeechDetector | None = None,
        models_dir: Path | None = None,
    ) -> None:
        self.min_confidence = Range(0, 1).check("min_confidence", min_confidence)
        if isinstance(classifier, (str, Path)):
            classifier = load_voice(classifier, models_dir=models_dir)
        for attribute in ("predict_proba", "labels", "spec"):
            check_part("classifier", classifier, attribute, expected="a name, a path, or a voice model")
        sound = classifier.spec.sound
        if sound is not None and sound.rate != SAMPLE_RATE:
            raise ModelError(
                f"the model {classifier.spec.name} takes sound of {sound.rate:,} samples per second; expected "
                f"{SAMPLE_RATE:,}, as a listener hears"
            )
        if detector is not None:
            for attribute in ("probability", "reset", "name"):
                check_part("detector", detector, attribute, expected="None, or a SpeechDetector")
        self.classifier = classifier
        self.detector = SileroDetector() if detector is None else detector
        self.shortest = MIN_SECONDS if sound is None else sound.shortest
        self.longest = MAX_SECONDS if sound is None else sound.longest
        self._segmenter = Segmenter(shortest=self.shortest, longest=self.longest)
        self._rest = NOTHING  # less than a step, for the next block
        self._level = 0.0
        self._neutral: FloatArray | None = None  # of the enrolled speaker
        self._stream: object = None  # the running one of `stream` or `enrol`; None between two, and for `hear`

    @property
    def provenance(self) -> Provenance:
        """Model, label set and detector, for the files of results."""
        return Provenance(self.classifier.spec.name, self.classifier.labels, self.detector.name)

    @property
    def level(self) -> float:
        """Loudness of the last block, from 0 (-60 dBFS or less) to 1 (a square wave at full scale)."""
        return self._level

    @property
    def speaking(self) -> bool:
        """Whether the last sound was speech."""
        return self._segmenter.speaking

    @property
    def speech_seconds(self) -> float:
        """Seconds of speech of the utterance so far; 0 between utterances."""
        return self._segmenter.speech_seconds

    @property
    def n_short(self) -> int:
        """Number of utterances so far that were too short to be classified."""
        return self._segmenter.n_short

    def hear(self, block: Block) -> list[Utterance]:
        """Take the next block of a stream; return the answers that are due, provisional ones too, in their order.

        A gap of 0.5 s between blocks, by their times, is a pause.

        Raises:
            InputError: It is not a Block, its time or samples are not finite or of another type or shape, or the
                detector does not return a probability.
        """
        check_block(block)
        if self._stream is not None:
            self._begin(None)
        return [self._utterance(segment) for segment in self._segments(block)]

    def finish(self) -> list[Utterance]:
        """End the stream; return the utterance that was going on, if it is long enough. Another stream may follow."""
        self._stream = None
        return [self._utterance(segment) for segment in self._end()]

    def stream(self, blocks: Iterable[Block], *, provisional: bool = False) -> Iterator[Utterance]:
        """Yield the utterances of a stream, each once it is over.

        Args:
            blocks: Its sound: `sounds` of a file, or a `Microphone`.
            provisional: Yield provisional answers too.

        Raises:
            InputError: The blocks are no iterable; or, on the way, see `hear`, and another stream has begun meanwhile.
        """
        return (self._utterance(segment) for segment in self._all(_checked(blocks)) if segment.final or provisional)

    def enrol(self, blocks: Iterable[Block]) -> None:
        """Learn a speaker's ordinary voice; all later answers are about this speaker.

        Args:
            blocks: A sentence or more that this speaker says in a neutral way; `sounds` of a file.

        Raises:
            InputError: There is less than `shortest` of speech without a pause; or see `stream`.
            ModelError: The model was trained without enrolment.
        """
        speech = [segment.samples for segment in self._all(_checked(blocks)) if segment.final]
        if not speech:
            raise InputError(
                f"the sentence to enrol has less than {self.shortest:g} s of speech without a pause; expected a whole "
                "sentence in an ordinary voice"
            )
        self._neutral = self.classifier.enrol(np.concatenate(speech))
        self._segmenter.n_short = 0

    def _all(self, blocks: Iterable[Block]) -> Iterator[Segment]:
        stream = object()
        self._begin(stream)
        rest: list[Segment] = []
        try:
            for block in blocks:
                check_block(block)
                self._check_running(stream)
                yield from self._segments(block)
            self._check_running(stream)
        finally:  # a stream that fails, or is left, leaves nothing for the next one
            if self._stream is stream:
                self._stream, rest = None, self._end()
        yield from rest

    def _begin(self, stream: object) -> None:
        """Begin a new stream; the state of the previous one is discarded."""
        n_short = self.n_short
        self._end()
        self._stream, self._segmenter.n_short = stream, n_short

    def _check_running(self, stream: object) -> None:
        if self._stream is not stream:
            raise InputError("the listener hears another stream by now; give each stream a Listener of its own")

    def _segments(self, block: Block) -> list[Segment]:
        """Return the speech of a stream to be judged after its next block."""
        jump = abs(block.time - self._rest.end) >= PAUSE_SECONDS
        over = self._end() if jump else []
        self._level = _level(block.samples)
        return over + [segment for step in self._steps(block) for segment in self._judged(step)]

    def _end(self) -> list[Segment]:
        self.detector.reset()
        self._rest, self._level = NOTHING, 0.0
        return self._segmenter.finish()

    def _steps(self, block: Block) -> Iterator[Block]:
        """Yield whole steps; keep the rest for the next block."""
        samples = np.concatenate([self._rest.samples, block.samples])
        start = block.time - len(self._rest.samples) / SAMPLE_RATE
        n_used = len(samples) // STEP * STEP
        self._rest = Block(start + n_used / SAMPLE_RATE, samples[n_used:])
        for begin in range(0, n_used, STEP):
            yield Block(start + begin / SAMPLE_RATE, samples[begin : begin + STEP])

    def _judged(self, step: Block) -> list[Segment]:
        return self._segmenter.feed(step, self.detector.probability(step.samples))

    def _utterance(self, segment: Segment) -> Utterance:
        enrolled = {} if self._neutral is None else {"neutral": self._neutral}
        prediction = Prediction(self.classifier.predict_proba(segment.samples, **enrolled), self.classifier.labels)
        return Utterance(
            segment.start, segment.end, prediction, segment.speech_seconds, segment.final, self.min_confidence
        )


def _checked(blocks: Iterable[Block]) -> Iterable[Block]:
    if not isinstance(blocks, Iterable):
        raise InputError(f"the sound is of type {type(blocks).__name__}; expected blocks, such as those of mien.sounds")
    return blocks


def _level(samples: FloatArray) -> float:
    power = float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0
    decibels = 10 * np.log10(power) if power > 0 else QUIETEST
    return float(np.clip(1 - decibels / QUIETEST, 0, 1))
