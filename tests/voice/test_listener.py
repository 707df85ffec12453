"""A listener names how utterances sound, whatever blocks the sound comes in."""

from collections.abc import Iterator

import numpy as np
import pytest

import mien
from mien.errors import ConfigError, InputError, ModelError
from mien.models.spec import Sound
from mien.structures import SAMPLE_RATE, Block
from mien.voice.listener import Listener
from speech import LoudDetector, PitchModel, in_blocks, join, listener, silence, tone

HIGH, LOW = 1500.0, 200.0


def test_utterances_are_found_and_named_by_their_voice() -> None:
    sound = join(silence(1), tone(2, hertz=HIGH), silence(1), tone(3, hertz=LOW), silence(1))
    first, second = listener().stream(in_blocks(sound))
    assert (first.label, second.label) == ("happy", "sad")
    assert (first.start, first.end, second.start, second.end) == pytest.approx((1, 3, 4, 7), abs=0.11)
    assert first.final
    assert second.final


@pytest.mark.parametrize("size", [1, 511, 512, 513, 16_000, 200_000])
def test_the_size_of_blocks_does_not_matter(size: int) -> None:
    sound = join(silence(0.3), tone(1.7), silence(0.6), tone(2), silence(0.1))[: 60_000 if size > 1 else 40_000]
    expected = [u.to_dict() for u in listener().stream(in_blocks(sound, size=700), provisional=True)]
    found = [u.to_dict() for u in listener().stream(in_blocks(sound, size=size), provisional=True)]
    assert found == expected
    assert expected


def test_the_first_answer_is_provisional_and_comes_before_the_pause() -> None:
    live = listener()
    answers = [u for block in in_blocks(tone(2.2)) for u in live.hear(block)]
    assert [u.final for u in answers] == [False, False]
    assert live.speaking
    (last,) = live.finish()
    assert last.final
    assert not live.speaking


def test_a_stream_ends_with_the_utterance_that_was_going_on_and_gives_final_ones_alone() -> None:
    (only,) = listener().stream(in_blocks(tone(4)))
    assert only.final
    assert only.speech_seconds == pytest.approx(4, abs=0.05)


def test_only_speech_reaches_the_model() -> None:
    model = PitchModel()
    sound = join(silence(2), tone(2), silence(0.4), tone(2), silence(2))
    list(Listener(model, detector=LoudDetector()).stream(in_blocks(sound)))
    (given,) = model.given
    assert len(given) / SAMPLE_RATE == pytest.approx(4.2, abs=0.2)


def test_silence_and_short_speech_give_no_answer() -> None:
    quiet = listener()
    assert list(quiet.stream(in_blocks(silence(5)))) == []
    assert quiet.n_short == 0
    short = listener()
    assert list(short.stream(in_blocks(join(tone(1), silence(1), tone(0.2))))) == []
    assert short.n_short == 2


def test_a_gap_between_blocks_ends_an_utterance_and_the_memory_of_the_detector() -> None:
    detector = LoudDetector()
    blocks = [*in_blocks(tone(2)), *in_blocks(tone(2), start=8)]
    first, second = Listener(PitchModel(), detector=detector).stream(blocks)
    assert (first.end, second.start) == pytest.approx((2, 8), abs=0.05)
    assert detector.n_resets == 3  # and at begin and end


def test_a_stream_that_fails_leaves_nothing_for_the_next_one() -> None:
    def failing() -> Iterator[Block]:
        yield from in_blocks(tone(2))
        raise InputError("damaged")

    used = listener()
    with pytest.raises(InputError, match="damaged"):
        list(used.stream(failing()))
    assert list(used.stream(in_blocks(silence(2)))) == []


def test_a_stream_begins_anew_whatever_was_heard_before() -> None:
    used = listener()
    for block in in_blocks(tone(2, hertz=HIGH)):
        used.hear(block)
    (only,) = used.stream(in_blocks(tone(2, hertz=LOW), start=2))
    assert (only.start, only.label) == (2, "sad")
    left = used.stream(in_blocks(join(tone(2), silence(1), tone(2))))
    next(left)
    assert [u for block in in_blocks(tone(1.4), start=4) for u in used.hear(block)] == []  # 1.4 s of speech, not 3
    used.stream(in_blocks(tone(2)))  # not asked for an utterance
    assert used.speech_seconds == pytest.approx(1.4, abs=0.05)
    assert used.finish() == []


def test_a_stream_is_refused_once_another_one_has_begun() -> None:
    used, sound = listener(), join(tone(2), silence(1), tone(2, hertz=HIGH), silence(1))
    first, second = used.stream(in_blocks(sound)), used.stream(in_blocks(sound))
    expected = [u.to_dict() for u in listener().stream(in_blocks(sound))]
    next(first)
    found = [next(second).to_dict()]
    with pytest.raises(InputError, match=r"^the listener hears another stream by now; give each"):
        next(first)
    first.close()
    found += [u.to_dict() for u in second]
    assert found == expected


def test_a_stream_that_another_one_ends_before_its_last_block_is_not_cut_off_in_silence() -> None:
    used = listener()
    first = used.stream(in_blocks(tone(2), size=32_000), provisional=True)
    next(first)
    used.hear(Block(0.0, silence(0.1)))
    with pytest.raises(InputError, match="hears another stream by now"):
        next(first)


@pytest.mark.parametrize(("shortest", "longest"), [(0.5, 10.0), (3.0, 3.0), (1.5, 2.5)])
def test_the_model_decides_how_much_speech_gets_an_answer(shortest: float, longest: float) -> None:
    model = PitchModel()
    model.spec.sound = Sound(shortest=shortest, longest=longest)
    live = Listener(model, detector=LoudDetector())
    first, *_ = live.stream(in_blocks(tone(20)), provisional=True)
    assert first.speech_seconds == pytest.approx(shortest, abs=0.04)
    every = [u.speech_seconds for u in live.stream(in_blocks(tone(20)))]
    assert every[0] == pytest.approx(longest, abs=0.04)
    n_short = live.n_short
    assert list(live.stream(in_blocks(tone(shortest - 0.1)))) == []
    assert live.n_short == n_short + 1
    with pytest.raises(InputError, match=f"less than {shortest:g} s of speech"):
        live.enrol(in_blocks(tone(shortest - 0.1)))


def test_times_begin_where_the_sound_does() -> None:
    (only,) = listener().stream(in_blocks(tone(2), start=-0.25))
    assert only.start == pytest.approx(-0.25)


def test_an_unsure_answer_is_called_uncertain_and_keeps_its_probabilities() -> None:
    (only,) = listener(min_confidence=0.7).stream(in_blocks(tone(2)))
    assert only.label == "uncertain"
    assert not only.certain
    assert only.to_dict()["probabilities"] == pytest.approx({"angry": 0.1, "happy": 0.1, "neutral": 0.2, "sad": 0.6})


def test_level_is_between_nothing_and_full_scale() -> None:
    live = listener()
    for sound, level in ((silence(0.1), 0.0), (np.ones(1600, np.float32), 1.0), (tone(0.1, loudness=0.1), 0.617)):
        live.hear(Block(0.0, sound))
        assert live.level == pytest.approx(level, abs=0.01)
    live.finish()
    assert live.level == 0


def test_results_name_their_origin() -> None:
    origin = listener().provenance
    assert (origin.model, origin.detector, tuple(origin.labels)) == (
        "standin",
        "loud",
        ("angry", "happy", "neutral", "sad"),
    )


def test_an_enrolled_voice_goes_along_with_all_later_speech() -> None:
    model = PitchModel()
    enrolled = Listener(model, detector=LoudDetector())
    enrolled.enrol(in_blocks(join(silence(1), tone(2), silence(1), tone(3), silence(0.1))))
    assert model.given == []
    assert list(enrolled.stream(in_blocks(tone(2))))
    assert model.neutral == pytest.approx(5, abs=0.3)
    assert enrolled.n_short == 0


def test_too_short_a_sentence_is_not_enrolled() -> None:
    with pytest.raises(InputError, match=r"has less than 1.5 s of speech"):
        listener().enrol(in_blocks(tone(1)))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (np.zeros(3, np.float32), "a block is of type ndarray"),
        (Block(0.0, np.zeros(3)), r"float64 \(3,\); expected float32"),
        (Block(0.0, np.zeros((3, 2), np.float32)), r"\(3, 2\); expected float32"),
        (Block(0.0, np.array([np.nan], np.float32)), "NaN or infinite samples"),
        (Block(float("nan"), np.zeros(3, np.float32)), "the time of a block is nan; expected finite seconds"),
        (Block(None, np.zeros(3, np.float32)), "the time of a block is of type NoneType"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_block_of_sound_is_refused(block: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        listener().hear(block)  # type: ignore[arg-type]


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigError, match="min_confidence is 2"):
        listener(min_confidence=2)
    with pytest.raises(ConfigError, match="is the class PitchModel; expected a name, a path, or a voice model"):
        mien.Listener(PitchModel, detector=LoudDetector())  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match="detector is of type str; expected None, or a SpeechDetector with probability"
    ):
        mien.Listener(PitchModel(), detector="loud")  # type: ignore[arg-type]


def test_a_model_for_sound_of_another_rate_is_refused() -> None:
    model = PitchModel()
    model.spec.sound = Sound(rate=48_000)
    with pytest.raises(ModelError, match="standin takes sound of 48,000 samples per second; expected 16,000"):
        Listener(model, detector=LoudDetector())
