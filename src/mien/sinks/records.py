"""Results as plain data: records for JSON, rows for tables and data frames. See docs/decisions/0036."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mien import __version__
from mien.errors import InputError, MienError
from mien.fusion import Fused, VoiceResult, check_voice_result
from mien.pixels import is_dark
from mien.structures import Expression, Frame, Provenance, plain

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1  # of the records; increases when a key is removed or changes its meaning
NO_FACE = "no face found"
NO_FACE_IN_THE_DARK = f"{NO_FACE}: nearly black"


class Result(Protocol):
    """A frame and its expressions: `live.FrameResult`, `collection.FileResult`."""

    @property
    def frame(self) -> Frame: ...

    @property
    def expressions(self) -> list[Expression]: ...


def record(
    frame: Frame,
    expressions: Sequence[Expression],
    provenance: Provenance,
    *,
    voice_result: VoiceResult | None = None,
    voice: Provenance | None = None,
) -> dict[str, Any]:
    """Return the expressions of a frame as plain data, for JSON.

    Keys: source, index, time (seconds), note ("no face found", with ": nearly
    black" where the image is, or empty), width and height (in pixels of the
    source), model, label_set, detector, mien (its version), schema (of these
    keys), faces. Keys of a face: face (number in the frame, from 1, left to right), then those of
    `Expression.to_dict`, with the box in pixels of the source.

    With a voice also voice_model, voice_label_set, voice_detector (of speech), voice and fused. Keys of voice: those of
    `Utterance.to_dict`, and final; null without speech. Keys of fused: label ("disagree" and "uncertain" too),
    confidence, certain, agree, probabilities; null with two or more faces, and with neither face nor voice.

    Args:
        frame: The frame.
        expressions: Its expressions.
        provenance: `Recognizer.provenance`.
        voice_result: The voice at its time.
        voice: Origin of the voice's predictions; None without voice recognition.
    """
    height, width = (round(frame.scale * side) for side in frame.image.shape[:2])
    faces = [{"face": number, **_nested(e, frame.scale)} for number, e in enumerate(expressions, start=1)]
    return {
        **_frame_keys(frame, expressions),
        "width": width,
        "height": height,
        **origin_keys(provenance),
        "schema": SCHEMA,
        "faces": faces,
        **({} if voice is None else voice_keys(voice) | _voice(voice_result)),
    }


def rows(
    frame: Frame, expressions: Sequence[Expression], *, voice_result: VoiceResult | None = None
) -> list[dict[str, Any]]:
    """Return one flat row per face, or one with a note if there are none; see `CsvSink` for the keys."""
    common = {**_frame_keys(frame, expressions), **({} if voice_result is None else _flat_voice(voice_result))}
    return [{**common, "face": number, **_flat(e, frame.scale)} for number, e in enumerate(expressions, start=1)] or [
        common
    ]


def note(frame: Frame, expressions: Sequence[Expression]) -> str:
    """Return the note on a frame without faces; an empty text where there are some."""
    if expressions:
        return ""
    return NO_FACE_IN_THE_DARK if is_dark(frame.image) else NO_FACE


def origin_keys(provenance: Provenance) -> dict[str, str]:
    """Return model, label set, detector and mien's version.

    Raises:
        InputError: It is not a Provenance.
    """
    if not isinstance(provenance, Provenance):
        raise InputError(
            f"the provenance is of type {type(provenance).__name__}; expected Recognizer.provenance or that of a "
            "Listener"
        )
    return {
        "model": provenance.model,
        "label_set": provenance.labels.name,
        "detector": provenance.detector,
        "mien": __version__,
    }


def voice_keys(voice: Provenance) -> dict[str, str]:
    """Return model, label set and detector of a voice."""
    return {
        "voice_model": voice.model,
        "voice_label_set": voice.labels.name,
        "voice_detector": voice.detector,
    }


def to_dataframe(
    results: Iterable[Result | tuple[Frame, list[Expression]] | list[Expression] | Expression],
) -> pd.DataFrame:
    """Return a pandas data frame with one row per face, and one with a note per frame without a face.

    Args:
        results: Results of `Live.stream` or `collection.recognize_files` (without its failures), pairs of
            `Recognizer.stream`, expressions of `Recognizer.recognize`, or lists of them of `Recognizer.recognize_many`.

    Returns:
        The columns of `CsvSink`, without those of the model. Expressions alone have no columns of a frame, lists of
        them `index`, the number of the image, and no rows for images without faces.

    Raises:
        InputError: A result is of another type.
        MienError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise MienError("to_dataframe needs pandas: pip install pandas") from error
    return pd.DataFrame(list(_all_rows(results)))


def _all_rows(results: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    for index, result in enumerate(results):
        if isinstance(result, Expression):
            yield {"face": index + 1, **_flat(result)}
        elif isinstance(result, list) and all(isinstance(item, Expression) for item in result):
            yield from ({"index": index, **row} for row in _all_rows(result))
        elif isinstance(result, tuple) and len(result) == 2:
            yield from rows(*result)
        elif hasattr(result, "frame") and hasattr(result, "expressions"):
            yield from rows(result.frame, result.expressions, voice_result=getattr(result, "voice_result", None))
        else:
            raise InputError(
                f"a result is of type {type(result).__name__}; expected expressions, lists of them, pairs of a "
                "frame and its expressions, or results of Live.stream"
            )


def source_text(source: str) -> str:
    """Return a source as text that can be encoded: its undecodable bytes are escaped."""
    return source.encode("utf-8", "backslashreplace").decode()


def _frame_keys(frame: Frame, expressions: Sequence[Expression]) -> dict[str, Any]:
    return {
        "source": source_text(frame.source),
        "index": plain(frame.index),
        "time": round(plain(frame.time), 6),
        "note": note(frame, expressions),
    }


def _nested(expression: Expression, scale: float) -> dict[str, Any]:
    """Return `Expression.to_dict` with the box in pixels of the source."""
    nested = expression.to_dict()
    return nested if scale == 1 else {**nested, "box": [round(side * scale, 1) for side in nested["box"]]}


def _flat(expression: Expression, scale: float = 1.0) -> dict[str, Any]:
    """Return an expression with one key per side of the box and per probability."""
    nested = _nested(expression, scale)
    box = dict(zip(("x1", "y1", "x2", "y2"), nested.pop("box"), strict=True))
    probabilities = {f"p_{label}": p for label, p in nested.pop("probabilities").items()}
    raw = {f"raw_{label}": p for label, p in nested.pop("raw", {}).items()}
    return {**nested, **box, **probabilities, **raw}


def _voice(voice_result: VoiceResult | None) -> dict[str, Any]:
    """Return the voice at a frame's time, and what it is fused to, as plain data."""
    check_voice_result(voice_result)
    utterance, fused = (None, None) if voice_result is None else (voice_result.utterance, voice_result.fused)
    return {
        "voice": None if utterance is None else {**utterance.to_dict(), "final": utterance.final},
        "fused": None if fused is None else _fused(fused),
    }


def _fused(fused: Fused) -> dict[str, Any]:
    return {
        "label": fused.label,
        "confidence": round(fused.prediction.confidence, 6),
        "certain": fused.certain,
        "agree": fused.agree,
        "probabilities": {label: round(p, 6) for label, p in fused.prediction.as_dict().items()},
    }


def _flat_voice(voice_result: VoiceResult) -> dict[str, Any]:
    """Return the voice and the fused answer with one key per value: "voice_label", "fused_p_happy"."""
    flat: dict[str, Any] = {}
    for kind, nested in _voice(voice_result).items():
        probabilities = (nested or {}).pop("probabilities", {})
        flat |= {f"{kind}_{key}": value for key, value in (nested or {}).items()}
        flat |= {f"{kind}_p_{label}": p for label, p in probabilities.items()}
    return flat
