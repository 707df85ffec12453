"""Results as plain data and as a data frame."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import mien
from mien.errors import InputError, MienError
from mien.fusion import VoiceResult, fuse_faces
from mien.labels import FER2013, LabelSet
from mien.live import FrameResult
from mien.sinks.records import SCHEMA, record, to_dataframe
from mien.structures import Box, Expression, Face, Frame, Prediction, Provenance, Utterance

PROBABILITIES = np.array([0.05, 0.05, 0.1, 0.6, 0.1, 0.05, 0.05], np.float32)
HAPPY = Expression(Face(Box(1.26, 2, 31, 42), score=0.9, track_id=7), Prediction(PROBABILITIES, FER2013))
FOUR = LabelSet("emodb", ("angry", "happy", "neutral", "sad"))
SAID = Utterance(0.5, 2.25, Prediction(np.array([0.1, 0.7, 0.1, 0.1], np.float32), FOUR), 1.6, final=False)
VOICE = Provenance("voice", FOUR, "silero")
SHOT = Frame(np.zeros((48, 64, 3), np.uint8), 0.04, 1, "a.mp4")


ORIGIN = Provenance("base", FER2013, "yunet")


def test_an_expression_as_plain_data() -> None:
    plain = HAPPY.to_dict()
    assert plain == {
        "track": 7, "box": [1.3, 2, 31, 42], "score": 0.9, "label": "happy", "confidence": 0.6, "certain": True,
        "probabilities": dict(zip(FER2013, np.round(PROBABILITIES.astype(float), 6).tolist(), strict=True)),
    }  # fmt: skip
    assert json.loads(json.dumps(plain)) == plain


def test_a_record_names_its_model_labels_detector_version_and_schema() -> None:
    plain = record(SHOT, [HAPPY, HAPPY], Provenance("base", FER2013, "yunet"))
    origin = {"model": "base", "label_set": "fer2013", "detector": "yunet", "mien": mien.__version__, "schema": 1}
    assert origin.items() <= plain.items()
    assert SCHEMA == 1
    assert plain["faces"] == [{"face": 1, **HAPPY.to_dict()}, {"face": 2, **HAPPY.to_dict()}]


def test_a_record_with_a_voice_has_its_keys_besides() -> None:
    alone = record(SHOT, [HAPPY], ORIGIN)
    plain = record(SHOT, [HAPPY], ORIGIN, voice_result=fuse_faces([HAPPY], SAID), voice=VOICE)
    assert {key: plain[key] for key in alone} == alone  # programs that know no voice read it as before
    assert plain["voice"] == {**SAID.to_dict(), "final": False}
    fused = plain["fused"]
    assert (fused["label"], fused["certain"], fused["agree"]) == ("happy", True, True)
    assert fused["probabilities"]["happy"] == fused["confidence"] > 0.6
    assert fused["probabilities"]["surprise"] == HAPPY.to_dict()["probabilities"]["surprise"]
    assert (plain["voice_model"], plain["voice_label_set"], plain["voice_detector"]) == ("voice", "emodb", "silero")
    assert json.loads(json.dumps(plain)) == plain


def test_a_record_without_speech_or_with_two_faces_says_so() -> None:
    silent = record(SHOT, [HAPPY], ORIGIN, voice_result=fuse_faces([HAPPY], None), voice=VOICE)
    assert silent["voice"] is None
    assert (silent["fused"]["label"], silent["fused"]["agree"]) == ("happy", None)
    two = record(SHOT, [HAPPY, HAPPY], ORIGIN, voice_result=fuse_faces([HAPPY, HAPPY], SAID), voice=VOICE)
    assert two["fused"] is None
    assert two["voice"]["label"] == "happy"
    picture = record(SHOT, [HAPPY], ORIGIN, voice=VOICE)
    assert (picture["voice"], picture["fused"]) == (None, None)
    assert not {"voice", "fused"} & record(SHOT, [HAPPY], ORIGIN).keys()


@pytest.mark.parametrize(("scale", "size"), [(1.0, (64, 48)), (2.0, (128, 96))])
def test_width_and_height_are_in_pixels_of_the_source_as_boxes_are(scale: float, size: tuple[int, int]) -> None:
    plain = record(replace(SHOT, scale=scale), [HAPPY], Provenance("base", FER2013, "yunet"))
    assert (plain["width"], plain["height"]) == size
    assert plain["faces"][0]["box"] == ([1.3, 2, 31, 42] if scale == 1 else [2.6, 4, 62, 84])


def test_a_data_frame_has_a_row_per_face_of_any_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=list))
    rows = to_dataframe([(SHOT, [HAPPY, HAPPY]), FrameResult(SHOT, [], {}, VoiceResult(SAID, None))])
    assert [(row["source"], row["index"], row.get("face"), row["note"]) for row in rows] == [
        ("a.mp4", 1, 1, ""),
        ("a.mp4", 1, 2, ""),
        ("a.mp4", 1, None, "no face found: nearly black"),
    ]
    assert (rows[0]["x1"], rows[0]["p_happy"], rows[0]["certain"]) == (1.3, 0.6, True)
    assert (rows[2]["voice_label"], rows[2]["voice_p_happy"], rows[2]["voice_start"]) == ("happy", 0.7, 0.5)
    assert [row["face"] for row in to_dataframe([HAPPY, HAPPY])] == [1, 2]
    assert to_dataframe([]) == []
    nested = to_dataframe([[HAPPY], [], [HAPPY, HAPPY]])
    assert [(row["index"], row["face"]) for row in nested] == [(0, 1), (2, 1), (2, 2)]
    with pytest.raises(InputError, match="a result is of type str; expected expressions"):
        to_dataframe("results")  # type: ignore[arg-type]


def test_without_pandas_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MienError, match="needs pandas: pip install pandas"):
        mien.to_dataframe([HAPPY])
