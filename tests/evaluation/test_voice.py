"""Figures of voice models: by fold and speaker, over the labels that model and data share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from mien.data import Speech
from mien.data.speech import folds_of
from mien.errors import DatasetError
from mien.evaluation import evaluate_voice
from mien.evaluation.voice import CONDITIONS, NOISY, WHOLE, Spread, restricted, score_voice
from mien.labels import LabelSet
from mien.models.voice import VoiceClassifier

LABELS = LabelSet("ours", ("angry", "happy", "neutral"))
RNG = np.random.default_rng(0)


def recordings(n: int = 36, *, speakers: int = 4, labels: LabelSet = LABELS, name: str = "ours") -> Speech:
    return Speech(
        name=name,
        clips=[RNG.normal(scale=2000, size=16_000).astype(np.int16) for _ in range(n)],
        targets=np.arange(n) % len(labels),
        labels=labels,
        speakers=np.array([f"{i % speakers:02}" for i in range(n)]),
        names=np.array([f"{i}.wav" for i in range(n)]),
    )


def test_scores_are_means_over_folds_and_of_all_clips() -> None:
    speech = recordings(120)
    folds = folds_of(speech)
    answers = RNG.dirichlet(np.ones(3), 120).astype(np.float32)
    found = score_voice({WHOLE: answers}, speech, folds, model="mine")
    predicted, scores = answers.argmax(1), found.conditions[WHOLE]
    by_fold = [balanced_accuracy_score(speech.targets[folds == f], predicted[folds == f]) for f in np.unique(folds)]
    assert scores.uar.mean == pytest.approx(np.mean(by_fold))
    assert scores.uar.deviation == pytest.approx(np.std(by_fold, ddof=1))
    assert scores.pooled_uar == pytest.approx(balanced_accuracy_score(speech.targets, predicted))
    assert scores.low < scores.pooled_uar < scores.high
    assert (found.n, found.n_speakers, found.n_folds) == (120, 4, 4)
    assert found.chance == pytest.approx(1 / 3)
    right = predicted == speech.targets
    assert found.speakers["01"] == pytest.approx(right[speech.speakers == "01"].mean())


def test_clips_without_an_answer_are_not_tested() -> None:
    speech = recordings()
    perfect = np.eye(3, dtype=np.float32)[speech.targets]
    some = perfect.copy()
    some[:10] = np.nan
    found = score_voice({WHOLE: perfect, "some": some}, speech, folds_of(speech), model="mine")
    assert found.conditions["some"].pooled_uar == 1


def test_a_single_fold_has_no_deviation() -> None:
    assert Spread.of([0.5]) == Spread(0.5, 0.0)


def test_probabilities_of_other_labels_are_left_out() -> None:
    rows = np.array([[0.2, 0.6, 0.2], [0.0, 1.0, 0.0]], np.float32)
    np.testing.assert_allclose(restricted(rows, [2, 0]), [[0.5, 0.5], [0.5, 0.5]], atol=1e-5)


def test_a_model_is_evaluated_over_the_labels_that_both_know(tiny_voice: Path) -> None:
    """The model knows angry, happy, sad, neutral."""
    theirs = LabelSet("theirs", ("happy", "surprise", "angry"))
    speech = recordings(labels=theirs, name="theirs")
    found = evaluate_voice(VoiceClassifier(tiny_voice), speech, conditions={WHOLE: CONDITIONS[WHOLE]})
    assert found.labels.labels == ("angry", "happy")
    assert found.n == 24
    assert np.sum(found.confusion) == 24


def test_a_model_without_common_labels_is_refused(tiny_voice: Path) -> None:
    speech = recordings(labels=LabelSet("theirs", ("surprise", "fear", "sad")), name="theirs")
    with pytest.raises(DatasetError, match="fewer than two labels in common"):
        evaluate_voice(VoiceClassifier(tiny_voice), speech)


def test_speakers_that_a_model_was_trained_on_are_refused(tiny_voice: Path) -> None:
    """It was trained on the speakers 01 and 02 of the data "tiny"."""
    speech = replace(recordings(labels=LabelSet("tiny", ("angry", "happy"))), name="tiny")
    with pytest.raises(DatasetError, match="2 speakers of 'tiny' are in both the training and the test part: 01, 02"):
        evaluate_voice(VoiceClassifier(tiny_voice), speech)


def test_conditions_change_the_sound_the_same_way_each_time() -> None:
    sound = recordings(1, speakers=1, labels=LABELS).sound(0)
    for name, change in CONDITIONS.items():
        first, again = (change(sound, np.random.default_rng(3)) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        if name == "middle 1 s":
            assert len(first) == 16_000
    assert not np.allclose(CONDITIONS[NOISY](sound, np.random.default_rng(0)), sound)
