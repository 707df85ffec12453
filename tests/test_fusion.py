"""Face and voice joined: known products, the rules by time and number of faces, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.errors import ConfigError, InputError
from mien.fusion import DISAGREE, MAX_SILENCE, VoiceTrack, fuse, fuse_faces, shared_labels
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.structures import Box, Expression, Face, Prediction, Utterance

EMODB = LabelSet("emodb", ("angry", "happy", "neutral", "sad"))
TWO = LabelSet("two", ("happy", "sad"))


def predicted(labels: LabelSet, **probabilities: float) -> Prediction:
    """Return a prediction; the labels that are not named share what is left."""
    left = (1 - sum(probabilities.values())) / max(len(labels) - len(probabilities), 1)
    return Prediction(np.array([probabilities.get(label, left) for label in labels], np.float32), labels)


def shown(prediction: Prediction, *, min_confidence: float = 0.0) -> Expression:
    return Expression(Face(Box(0, 0, 9, 9), score=0.9), prediction, min_confidence)


def said(start: float, end: float, prediction: Prediction | None = None, *, final: bool = True) -> Utterance:
    return Utterance(start, end, predicted(EMODB, angry=0.7) if prediction is None else prediction, final)


@st.composite
def distributions(draw: st.DrawFn, labels: LabelSet) -> Prediction:
    weights = np.array(draw(st.lists(st.floats(0.01, 1), min_size=len(labels), max_size=len(labels))))
    return Prediction(np.asarray(weights / weights.sum(), np.float32), labels)


faces, voices = distributions(FERPLUS), distributions(EMODB)


def test_two_labels_multiply_by_hand() -> None:
    both = fuse(predicted(TWO, happy=0.6), predicted(TWO, happy=0.8))
    assert both.prediction.as_dict()["happy"] == pytest.approx(0.48 / (0.48 + 0.08))
    assert both.agree


def test_half_of_the_prior_is_taken_off() -> None:
    both = fuse(predicted(TWO, happy=0.6), predicted(TWO, happy=0.8), prior={"happy": 0.9, "sad": 0.1})
    happy, sad = 0.48 / math.sqrt(0.9), 0.08 / math.sqrt(0.1)
    assert both.prediction.as_dict()["happy"] == pytest.approx(happy / (happy + sad))


def test_labels_that_only_the_face_knows_keep_their_probabilities() -> None:
    face = predicted(FERPLUS, contempt=0.3, fear=0.2, happy=0.25, sad=0.25)
    fused = fuse(face, predicted(EMODB, happy=0.9)).prediction
    probabilities = fused.as_dict()
    assert fused.labels == FERPLUS
    assert probabilities["contempt"] == pytest.approx(0.3)
    assert probabilities["fear"] == pytest.approx(0.2)
    assert probabilities["happy"] + probabilities["sad"] == pytest.approx(0.5)
    assert probabilities["happy"] > 0.45


def test_labels_that_only_the_voice_knows_are_left_out() -> None:
    voice = predicted(FER2013, happy=0.3, sad=0.1, angry=0.6)
    assert fuse(predicted(TWO, happy=0.5), voice).prediction.as_dict()["happy"] == pytest.approx(0.75)


@given(faces)
def test_a_uniform_voice_changes_nothing(face: Prediction) -> None:
    fused = fuse(face, predicted(EMODB)).prediction
    np.testing.assert_allclose(fused.probabilities, face.probabilities, atol=1e-6)


@given(faces, voices)
def test_fused_probabilities_sum_to_one_and_are_finite(face: Prediction, voice: Prediction) -> None:
    fused = fuse(face, voice).prediction.probabilities
    assert fused.dtype == np.float32
    assert np.isfinite(fused).all()
    assert fused.sum() == pytest.approx(1, abs=1e-5)


@given(faces, voices, st.permutations(range(len(FERPLUS))), st.permutations(range(len(EMODB))))
def test_the_order_of_labels_does_not_matter(
    face: Prediction, voice: Prediction, order: list[int], other: list[int]
) -> None:
    def permuted(prediction: Prediction, order: list[int]) -> Prediction:
        labels = LabelSet("permuted", tuple(prediction.labels.labels[i] for i in order))
        return Prediction(prediction.probabilities[order], labels)

    straight = fuse(face, voice).prediction.as_dict()
    assert fuse(permuted(face, order), permuted(voice, other)).prediction.as_dict() == pytest.approx(straight, abs=1e-6)


@given(distributions(FER2013), distributions(FER2013))
def test_with_the_same_labels_face_and_voice_may_change_places(face: Prediction, voice: Prediction) -> None:
    one, other = fuse(face, voice).prediction, fuse(voice, face).prediction
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)


def test_probabilities_of_zero_stay_finite() -> None:
    face, voice = predicted(TWO, happy=1.0), predicted(TWO, happy=0.0)
    assert fuse(face, voice).prediction.as_dict()["happy"] == pytest.approx(0.5)


def test_a_voice_that_knows_only_foreign_labels_says_nothing() -> None:
    voice = Prediction(np.array([0, 0, 1], np.float32), LabelSet("calm", ("happy", "sad", "calm")))
    assert fuse(predicted(TWO, happy=0.6), voice).prediction.as_dict()["happy"] == pytest.approx(0.6)


@pytest.mark.parametrize("names", [("calm", "excited"), ("calm", "happy")])
def test_a_voice_of_foreign_labels_is_refused_in_one_line(names: tuple[str, ...]) -> None:
    foreign = LabelSet("foreign", names)
    with pytest.raises(ConfigError, match="in common; choose models that share two or more") as refusal:
        fuse(predicted(FERPLUS), predicted(foreign))
    assert "\n" not in str(refusal.value)
    with pytest.raises(ConfigError):
        shared_labels(FERPLUS, foreign)


@pytest.mark.parametrize("prior", [{"happy": 1.0}, {"happy": 1.0, "sad": 0.0}, {"happy": 1.0, "sad": math.nan}])
def test_a_prior_without_a_positive_share_is_refused(prior: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="the prior of 'sad'"):
        fuse(predicted(TWO), predicted(TWO), prior=prior)


def test_one_alone_answers_alone() -> None:
    face, voice = predicted(FERPLUS, contempt=0.8), predicted(EMODB, sad=0.6)
    assert fuse(face, None).prediction is face
    assert fuse(None, voice).prediction is voice
    assert fuse(face, None).agree is None
    assert fuse(None, voice).label == "sad"
    with pytest.raises(InputError, match="neither a face nor a voice"):
        fuse(None, None)


def test_what_is_neither_a_face_nor_a_voice_is_refused() -> None:
    known = predicted(TWO, happy=0.6)
    with pytest.raises(InputError, match="face is of type str; expected Expression, Prediction or None"):
        fuse("happy", known)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="voice is of type ndarray; expected Utterance, Prediction or None"):
        fuse(known, np.ones(2))  # type: ignore[arg-type]


def test_two_certain_answers_contradict() -> None:
    both = fuse(shown(predicted(FERPLUS, happy=0.98)), said(0, 2, predicted(EMODB, angry=0.98)))
    assert both.contradict
    assert not both.agree
    assert not both.certain
    assert both.label == DISAGREE
    assert str(both) == "face happy, voice sounds angry"


@pytest.mark.parametrize(
    ("face", "voice"),
    [
        (predicted(FERPLUS, happy=0.99), predicted(EMODB, angry=0.9, happy=0.1)),  # the voice is not certain
        (predicted(FERPLUS, happy=0.9, angry=0.06), predicted(EMODB, angry=0.98)),  # the face is not
        (predicted(FERPLUS, contempt=0.9), predicted(EMODB, angry=0.9)),  # the voice doesn't know contempt
        (predicted(FERPLUS, happy=0.5, contempt=0.45), predicted(EMODB, angry=0.99)),  # it might mean contempt
        (predicted(FERPLUS, angry=0.9), predicted(EMODB, angry=0.9)),
    ],
)
def test_other_answers_are_joined(face: Prediction, voice: Prediction) -> None:
    both = fuse(face, voice)
    assert not both.contradict
    assert str(both) == both.label == both.prediction.label


def test_a_threshold_of_confidence_holds_for_the_fused_answer_too() -> None:
    face, voice = predicted(FERPLUS, happy=0.35), predicted(EMODB, happy=0.4)
    assert fuse(shown(face, min_confidence=0.9), said(0, 2, voice)).label == "uncertain"
    assert fuse(shown(face, min_confidence=0.1), said(0, 2, voice)).label == "happy"


def test_a_single_face_is_fused_with_the_voice() -> None:
    expression, utterance = shown(predicted(FERPLUS, happy=0.5)), said(0, 2)
    voice_result = fuse_faces([expression], utterance)
    assert voice_result.utterance is utterance
    assert voice_result.fused == fuse(expression, utterance)
    assert fuse_faces([expression], None).fused == fuse(expression, None)


def test_a_voice_without_a_face_answers_alone() -> None:
    fused = fuse_faces([], said(0, 2)).fused
    assert fused is not None
    assert (fused.face, fused.label) == (None, "angry")
    assert fuse_faces([], None).fused is None


def test_the_voice_never_decides_between_two_faces() -> None:
    voice_result = fuse_faces([shown(predicted(FERPLUS, happy=0.5))] * 2, said(0, 2))
    assert voice_result.fused is None
    assert voice_result.utterance == said(0, 2)


def test_an_utterance_counts_until_three_seconds_after_its_end() -> None:
    track = VoiceTrack([said(1, 2)])
    spoken = {time: track.at(time) is not None for time in (0.0, 0.99, 1.0, 2.0, 2 + MAX_SILENCE, 2.01 + MAX_SILENCE)}
    assert list(spoken.values()) == [False, False, True, True, True, False]


def test_the_next_utterance_replaces_the_last_one_when_it_begins() -> None:
    track = VoiceTrack([said(0, 2), said(3, 5), said(20, 22)])
    starts = [utterance and utterance.start for utterance in map(track.at, (1.0, 2.9, 3.0, 6.0, 12.0, 21.0))]
    assert starts == [0, 0, 3, 3, None, 20]


def test_utterances_are_taken_when_their_time_comes() -> None:
    taken = []
    track = VoiceTrack(taken.append(start) or said(start, start + 1) for start in (0.0, 5.0, 10.0, 15.0))  # type: ignore[func-returns-value]
    track.at(1.0)
    assert taken == [0.0, 5.0]  # the second tells that the first is the current one
    track.at(11.0)
    assert taken == [0.0, 5.0, 10.0, 15.0]


def test_a_newer_answer_replaces_a_provisional_one() -> None:
    track = VoiceTrack()
    for end in (1.5, 2.0, 2.5):
        track.add(said(0, end, final=False))
    track.add(replace(said(0, 3), prediction=predicted(EMODB, sad=0.9)))
    track.add(said(4, 5.5, final=False))
    assert track.at(3.5) == said(0, 3)
    assert track.at(5.0) == said(4, 5.5, final=False)
