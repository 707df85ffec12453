"""Records: what was seen in a frame as plain data, for JSON and tables."""

from __future__ import annotations

from typing import Any

from mien.structures import Expression, Frame, Prediction

NO_FACE = "no face found"


def record(frame: Frame, expressions: list[Expression]) -> dict[str, object]:
    """Return what was seen in a frame as plain data, for JSON.

    Keys: source, index, time (seconds), note (why there are no faces; else empty), faces. Of a face: face
    (number in the frame, from 1), track, box (x1, y1, x2, y2 in pixels), score (the detector's), label
    (the answer, "uncertain" too), confidence (the largest probability), certain, probabilities by label; raw, those
    before smoothing over time, where there was any.
    """
    return {**frame_record(frame, expressions), "faces": face_records(expressions)}


def frame_record(frame: Frame, expressions: list[Expression]) -> dict[str, object]:
    return {
        "source": _text(frame.source),
        "index": frame.index,
        "time": round(frame.time, 6),
        "note": "" if expressions else NO_FACE,
    }


def face_records(expressions: list[Expression]) -> list[dict[str, Any]]:
    return [_face_record(number, expression) for number, expression in enumerate(expressions, start=1)]


def _face_record(number: int, expression: Expression) -> dict[str, Any]:
    face, prediction = expression.face, expression.prediction
    box = face.box
    raw = expression.raw
    return {
        "face": number,
        "track": face.track_id,
        "box": [round(v, 1) for v in (box.x1, box.y1, box.x2, box.y2)],
        "score": round(face.score, 4),
        "label": expression.label,
        "confidence": round(prediction.confidence, 6),
        "certain": expression.certain,
        "probabilities": _rounded(prediction),
        **({} if raw is None else {"raw": _rounded(raw)}),
    }


def _rounded(prediction: Prediction) -> dict[str, float]:
    return {label: round(p, 6) for label, p in prediction.as_dict().items()}


def _text(path: str) -> str:
    """Return a path that UTF-8 can hold, also where its bytes are none."""
    return path.encode("utf-8", "backslashreplace").decode()
