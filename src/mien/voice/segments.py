"""Utterances cut out of a stream of steps by the probability of speech, and the moments at which one is judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real

import numpy as np

from mien.errors import InputError
from mien.settings import Range, shown
from mien.structures import SAMPLE_RATE, Block, FloatArray, check_block

# A step is speech from the first probability on, and stays so down to the second; Silero's own defaults.
ENTER, STAY = 0.5, 0.35
HANGOVER_SECONDS = 0.1  # after speech that still count as speech, as Silero's own tools do: words end softly
PAUSE_SECONDS = 0.5  # that end an utterance
# One second of speech names the expression of half of the clips (UAR 49 % of RAVDESS), 1.5 s of two thirds.
MIN_SECONDS = 1.5  # of speech before the first answer, unless the model's spec says otherwise
NEXT_SECONDS = 0.5  # of speech between two provisional answers
WINDOW_SECONDS = 3.0  # of speech that a provisional answer is about
MAX_SECONDS = 10.0  # of speech after which an utterance ends without a pause, unless the spec says otherwise


@dataclass(frozen=True, slots=True)
class Segment:
    """Speech to be judged.

    Args:
        start: Time at which its utterance begins, in seconds.
        end: End of the speech in seconds; while provisional, the end so far.
        samples: The speech alone, float32 (n,): all of it at the end, else its last 3 s.
        speech_seconds: Duration of all speech of the utterance.
        final: Whether the utterance is over.
    """

    start: float
    end: float
    samples: FloatArray = field(compare=False)
    speech_seconds: float
    final: bool


class Segmenter:
    """Collects the speech of one utterance at a time.

    Args:
        shortest: Seconds of speech before the first answer; an utterance with less gets none.
        longest: Seconds of speech after which an utterance ends without a pause.

    Raises:
        ConfigError: shortest is not positive, or longest is less.

    Attributes:
        speaking: Whether the last step was speech.
        n_short: Utterances so far that ended before there was enough speech to judge.
    """

    def __init__(self, *, shortest: float = MIN_SECONDS, longest: float = MAX_SECONDS) -> None:
        self.shortest = Range(0, above=True).check("shortest", shortest)
        self.longest = Range(self.shortest).check("longest", longest)
        self.speaking = False
        self.n_short = 0
        self._pieces: list[FloatArray] = []
        self._n = 0  # samples in the pieces
        self._start = self._end = self._spoken = 0.0  # times: begin and end of the pieces, end of what was speech
        self._next = shortest  # speech at which the next answer is due
        self._before: Block | None = None  # the last step, where it is not in the pieces

    @property
    def speech_seconds(self) -> float:
        """Seconds of speech of the utterance so far."""
        return self._n / SAMPLE_RATE

    def feed(self, step: Block, probability: float) -> list[Segment]:
        """Take the next step of sound; return what is to be judged now: an utterance that is over, one that goes on.

        Args:
            step: The sound; time may jump ahead of the step before, which is a pause.
            probability: That it is speech, in [0, 1].

        Raises:
            InputError: The step is not a Block, or the probability not a number in [0, 1].
        """
        check_block(step)
        if not isinstance(probability, Real) or not 0 <= probability <= 1:
            raise InputError(f"the probability of speech is {shown(probability)}; expected a number from 0 to 1")
        over = self.finish() if self._n and step.end - self._spoken >= PAUSE_SECONDS else []
        self.speaking = probability >= (STAY if self.speaking else ENTER)
        if self.speaking:
            if self._before is not None and step.time - self._before.end < PAUSE_SECONDS:
                self._add(self._before)  # the net notices speech a little late
            self._add(step)
            self._spoken, self._before = step.end, None
        elif self._n and step.end - self._spoken <= HANGOVER_SECONDS:
            self._add(step)
        else:
            self._before = step
        return over + self._due()

    def finish(self) -> list[Segment]:
        """End the utterance, as at the end of a stream; return it if it has enough speech to be judged."""
        self.speaking, self._before = False, None
        return self._over()

    def _over(self) -> list[Segment]:
        done = [self._segment(final=True)] if self.speech_seconds >= self.shortest else []
        self.n_short += self._n > 0 and not done
        self._pieces, self._n, self._next = [], 0, self.shortest
        return done

    def _due(self) -> list[Segment]:
        if self.speech_seconds >= self.longest:
            return self._over()
        if self.speech_seconds < self._next:
            return []
        self._next = self.speech_seconds + NEXT_SECONDS
        return [self._segment(final=False)]

    def _segment(self, *, final: bool) -> Segment:
        samples = np.concatenate(self._pieces)
        window = samples if final else samples[-round(WINDOW_SECONDS * SAMPLE_RATE) :]
        return Segment(self._start, self._end, window, self.speech_seconds, final)

    def _add(self, step: Block) -> None:
        if not self._pieces:
            self._start = step.time
        self._pieces.append(step.samples)
        self._end = step.end
        self._n += len(step.samples)
