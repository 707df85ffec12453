"""Live: a fake detector and a fake classifier count their runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from mien.errors import ConfigError, InputError, ModelError
from mien.fusion import VoiceTrack, fuse
from mien.labels import FER2013, FERPLUS, LabelSet
from mien.live import FrameResult, Live
from mien.models.spec import Head, ModelSpec, Preprocess
from mien.models.temporal import TemporalModel
from mien.recognizer import Recognizer
from mien.sources.frames import frames
from mien.structures import Box, Face, FloatArray, Frame, ImageArray, Prediction, Utterance
from mien.vision.smooth import HalfLifeSmoother, TemporalSmoother
from mien.vision.track import Tracker

ASTRONAUT = Path(__file__).parent.parent / "docs" / "images" / "astronaut.png"
POINTS = np.array([(30, 40), (70, 40), (50, 60), (35, 75), (65, 75)], np.float32)


@dataclass
class Followed:
    """A detector that finds faces at given places, and counts its runs."""

    corners: list[float] = field(default_factory=lambda: [10.0])
    runs: int = 0

    def detect(self, image: ImageArray) -> list[Face]:
        self.runs += 1
        return [Face(Box(x, 10, x + 100, 110), 0.9, POINTS + np.float32([x, 10])) for x in self.corners]


@dataclass
class Named:
    """A classifier that always predicts one label, and counts the crops of each call."""

    label: str = "happy"
    labels: LabelSet = FER2013
    calls: list[int] = field(default_factory=list)

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(name="named", arch="none", heads=(Head(self.labels),), preprocess=Preprocess())

    def predict_proba(self, crops: Sequence[ImageArray], *, head: str | None = None) -> FloatArray:
        self.calls.append(len(crops))
        return np.eye(len(self.labels), dtype=np.float32)[[self.labels.index(self.label)] * len(crops)]


def shot(index: int, *, fps: float = 32, source: str = "camera 0") -> Frame:
    """A frame of a clip; 32 a second, so that times are exact."""
    return Frame(np.zeros((120, 400, 3), np.uint8), time=index / fps, index=index, source=source)


def clip(n: int) -> list[Frame]:
    return [shot(i) for i in range(n)]


def detected_at(results: Sequence[FrameResult]) -> list[int]:
    """Return the frames on which the detector ran."""
    return [result.frame.index for result in results if result.seconds["detect"] > 0]


def test_every_frame_comes_in_order_and_faces_keep_their_numbers() -> None:
    results = list(Live(Recognizer(Followed([10.0, 200.0]), Named())).stream(clip(40)))
    assert [result.frame.index for result in results] == list(range(40))
    assert {tuple(e.face.track_id for e in result.expressions) for result in results} == {(1, 2)}
    assert all(e.label == "happy" for result in results for e in result.expressions)
    assert all(list(result.seconds) == ["detect", "track", "classify"] for result in results)
    assert all(result.seconds["track"] > 0 and result.seconds["classify"] > 0 for result in results)


def test_without_a_detection_gap_the_detector_runs_on_every_frame_and_its_boxes_stay() -> None:
    detector = Followed()
    for index, result in enumerate(Live(Recognizer(detector, Named()), max_detection_gap=0).stream(clip(30))):
        assert detector.runs == index + 1
        assert [e.face.box for e in result.expressions] == [Box(10, 10, 110, 110)]


def test_detection_is_skipped_once_faces_are_confirmed_and_runs_again_in_time() -> None:
    detector, classifier = Followed(), Named()
    results = list(Live(Recognizer(detector, classifier), max_detection_gap=0.25).stream(clip(32)))
    assert detected_at(results) == [
        0,
        1,
        2,
        10,
        18,
        26,
    ]  # three detections confirm; then one in 0.25 s, which are eight frames
    assert detector.runs == 6
    assert classifier.calls == [1] * 32  # every frame is classified
    assert all(result.expressions[0].face.landmarks is not None for result in results)


def test_detection_is_not_skipped_without_a_face_nor_for_a_fast_one() -> None:
    nobody = Followed([])
    list(Live(Recognizer(nobody, Named()), max_detection_gap=0.25).stream(clip(20)))
    assert nobody.runs == 20
    runner = Followed()
    live = Live(Recognizer(runner, Named()), max_detection_gap=0.25)
    for frame in clip(32):
        runner.corners = [10 + 200 * frame.time]  # two sides of the face per second
        live.recognize(frame)
    assert runner.runs > 28


def test_faces_are_predicted_where_detection_is_skipped() -> None:
    detector = Followed()
    live = Live(Recognizer(detector, Named()), max_detection_gap=0.25)
    for frame in clip(64):
        detector.corners = [10 + 30 * frame.time]
        (expression,) = live.recognize(frame).expressions
        assert expression.face.box.x1 == pytest.approx(10 + 30 * frame.time, abs=2)
        assert expression.face.track_id == 1
    assert detector.runs < 20


def test_a_face_that_leaves_is_gone_at_the_next_detection() -> None:
    detector = Followed()
    live = Live(Recognizer(detector, Named()), max_detection_gap=0.25)
    list(live.stream(clip(11)))  # the detector ran on the last one
    detector.corners = []
    seen = [len(live.recognize(shot(index)).expressions) for index in range(11, 24)]
    assert seen == [1] * 7 + [0] * 6
    assert detector.runs == 4 + 6  # without faces it runs on every frame


def test_predictions_are_smoothed_and_those_of_the_frame_alone_are_in_raw() -> None:
    recognizer = Recognizer(Followed(), classifier := Named())
    live = Live(recognizer, half_life=0.25)
    list(live.stream(clip(9)))  # until 0.25 s
    classifier.label = "sad"
    (expression,) = live.recognize(shot(16)).expressions  # 0.25 s later
    assert expression.prediction.as_dict()["sad"] == pytest.approx(0.5)
    assert expression.raw is not None
    assert expression.raw.label == "sad"
    (unsmoothed,) = Live(recognizer, half_life=0).recognize(shot(0)).expressions
    assert unsmoothed.raw is None


def test_another_model_between_frames_keeps_tracks_and_starts_smoothing_anew() -> None:
    detector = Followed()
    live = Live(Recognizer(detector, Named("happy")), half_life=0.3)
    list(live.stream(clip(5)))
    live.recognizer = Recognizer(detector, Named("contempt", labels=FERPLUS))
    (expression,) = live.recognize(shot(5)).expressions
    assert expression.face.track_id == 1
    assert expression.prediction.labels == FERPLUS
    assert expression.prediction.as_dict()["contempt"] == 1
    live.recognizer = Recognizer(detector, Named("sad", labels=FERPLUS))  # the same labels: it goes on
    (expression,) = live.recognize(shot(6)).expressions
    assert expression.face.track_id == 1
    assert expression.label == "contempt"


@pytest.mark.parametrize("next_frame", [shot(30, source="camera 1"), shot(3), shot(300)])
def test_another_source_an_earlier_time_or_a_long_gap_starts_new_tracks(next_frame: Frame) -> None:
    recognizer = Recognizer(detector := Followed(), classifier := Named("happy"))
    live = Live(recognizer, max_detection_gap=0.25)
    list(live.stream(clip(30)))
    runs = detector.runs
    classifier.label = "sad"
    (expression,) = live.recognize(next_frame).expressions
    assert detector.runs == runs + 1
    assert expression.face.track_id == 2
    assert expression.prediction.as_dict()["sad"] == 1


def test_a_temporal_smoother_sees_all_heads_and_is_replaced_with_the_recogniser(
    tiny_model: Path, tiny_temporal: Path
) -> None:
    recognizer = Recognizer(Followed([10.0, 200.0]), str(tiny_model), labels="fer2013")
    model = TemporalModel(tiny_temporal)
    live, smoother = Live(recognizer, smoother=TemporalSmoother(model)), TemporalSmoother(model)
    rng = np.random.default_rng(0)
    for index in range(8):
        frame = replace(shot(index), image=rng.integers(0, 256, (120, 400, 3), np.uint8))
        seen = live.recognize(frame).expressions
        raw = recognizer.classify(frame.image, [e.face for e in seen])
        expected = smoother.update(raw, frame.time)
        for expression, other, alone in zip(seen, expected, raw, strict=True):
            np.testing.assert_array_equal(expression.prediction.probabilities, other.prediction.probabilities)
            assert expression.raw is not None
            np.testing.assert_array_equal(expression.raw.probabilities, alone.prediction.probabilities)
    live.smoother = HalfLifeSmoother()
    (first, _) = live.recognize(shot(8)).expressions
    assert first.face.track_id == 1
    np.testing.assert_array_equal(
        first.prediction.probabilities, recognizer.classify(shot(8).image, [first.face])[0].prediction.probabilities
    )
    live.smoother = TemporalSmoother(model)  # a new one starts anew, and so does another source
    for frame in (shot(9), shot(10, source="camera 1")):
        (again, _) = live.recognize(frame).expressions
        (fresh,) = TemporalSmoother(model).update(recognizer.classify(frame.image, [again.face]), 0.0)
        np.testing.assert_allclose(again.prediction.probabilities, fresh.prediction.probabilities, atol=1e-6)


def test_a_temporal_model_of_another_classifier_is_refused(tiny_model: Path, tiny_temporal: Path) -> None:
    smoother = TemporalSmoother(TemporalModel(tiny_temporal))
    for recognizer in (Recognizer(Followed(), Named()), Recognizer(Followed(), str(tiny_model), labels="ferplus")):
        with pytest.raises(ModelError, match=r"train one for it|train another one"):
            Live(recognizer, smoother=smoother)
    live = Live(Recognizer(Followed(), str(tiny_model), labels="fer2013"), smoother=smoother)
    live.recognizer = Recognizer(Followed(), Named())
    with pytest.raises(ModelError, match="reads 15 probabilities of 'tiny', the expression has 7"):
        live.recognize(shot(0))


def test_faces_are_listed_from_left_to_right_whether_detected_or_predicted() -> None:
    detector = Followed([200.0, 10.0])
    for result in Live(Recognizer(detector, Named()), max_detection_gap=0.25).stream(clip(12)):
        assert [(e.face.track_id, e.face.box.x1) for e in result.expressions] == [(1, 10), (2, 200)]
    assert detector.runs < 12


def test_a_bad_frame_is_an_error_and_the_next_one_continues() -> None:
    live = Live(Recognizer(Followed(), Named()))
    list(live.stream(clip(3)))
    transparent = replace(shot(3), image=np.zeros((120, 400, 4), np.uint8))
    timeless = replace(shot(3), time=float("nan"))
    for frame in (transparent, timeless):
        with pytest.raises(InputError):
            live.recognize(frame)
    assert live.recognize(shot(4)).expressions[0].face.track_id == 1


def test_a_tracker_of_ones_own_is_used() -> None:
    detector = Followed()
    list(Live(Recognizer(detector, Named()), max_detection_gap=0.25, tracker=Tracker(confirm=1)).stream(clip(8)))
    assert detector.runs == 1


@pytest.mark.parametrize("gap", [-0.1, 0.51, float("nan")])
def test_a_detection_gap_out_of_range_is_refused(gap: float) -> None:
    with pytest.raises(ConfigError, match=r"max_detection_gap is .*; expected 0 to 0.5 seconds"):
        Live(Recognizer(Followed(), Named()), max_detection_gap=gap)


@pytest.mark.parametrize("gap", [0.01, 0.24, 0.26, 0.49, 0.51, 0.9])
def test_the_longest_detection_gap_loses_no_face_at_any_frame_rate(gap: float) -> None:
    live = Live(Recognizer(Followed(), Named()), max_detection_gap=0.5)
    for index in range(30):
        (expression,) = live.recognize(replace(shot(index), time=index * gap)).expressions
        assert expression.face.track_id == 1


def test_a_photo_has_the_expressions_of_the_recogniser(tiny_model: Path) -> None:
    recognizer = Recognizer("haar", str(tiny_model))
    (result,) = Live(recognizer).stream(frames(ASTRONAUT))
    (seen,) = result.expressions
    (plain,) = recognizer.recognize(result.frame.image)
    assert seen.face == replace(plain.face, track_id=1)
    np.testing.assert_array_equal(seen.prediction.probabilities, plain.prediction.probabilities)


def test_the_voice_is_fused_with_a_single_face_while_it_is_heard() -> None:
    voice = Prediction(
        np.array([0.7, 0.1, 0.1, 0.1], np.float32), LabelSet("voice", ("sad", "happy", "angry", "neutral"))
    )
    utterance = Utterance(1.0, 2.0, voice, speech_seconds=1.0)
    detector = Followed()
    live = Live(Recognizer(detector, Named("fear")), voice=VoiceTrack([utterance]), max_detection_gap=0)
    early, during, after = (live.recognize(shot(index)) for index in (16, 48, 5 * 32 + 1))
    assert early.voice_result is not None
    assert early.voice_result.utterance is None
    assert during.voice_result is not None
    assert during.voice_result.utterance is utterance
    assert during.voice_result.fused == fuse(during.expressions[0], utterance)
    assert list(during.seconds) == ["detect", "track", "classify", "voice"]
    assert after.voice_result is not None
    assert after.voice_result.utterance is None
    detector.corners = [10.0, 200.0]
    two = Live(Recognizer(detector, Named("fear")), voice=VoiceTrack([utterance])).recognize(shot(48)).voice_result
    assert two is not None
    assert (two.utterance, two.fused) == (utterance, None)


def test_without_a_voice_nothing_is_heard() -> None:
    assert Live(Recognizer(Followed(), Named())).recognize(shot(0)).voice_result is None
