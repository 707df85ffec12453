"""Recordings: names of corpora, bad files, speakers that stay apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.data import Speech, read_speech
from mien.data.speech import check_apart, folds_of, speech_path
from mien.errors import DatasetError
from mien.labels import LabelSet
from speech import join, silence, tone, write_wav


def recorded(path: Path, *, seconds: float = 0.5) -> Path:
    """Write a tone between two silences."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_wav(path, join(silence(0.5), tone(seconds), silence(0.5)))


def speech(speakers: str, labels: str, *, name: str = "ours") -> Speech:
    """Speech of a clip per letter: its speaker and its label."""
    known = LabelSet(name, tuple(sorted(set(labels))) if len(set(labels)) > 1 else ("a", "b"))
    return Speech(
        name=name,
        clips=[np.full(10, i, np.int16) for i in range(len(speakers))],
        targets=np.array([known.labels.index(label) for label in labels]),
        labels=known,
        speakers=np.array(list(speakers)),
        names=np.array([f"{i}.wav" for i in range(len(speakers))]),
    )


def test_ravdess_is_known_by_its_names_and_calm_is_read_as_neutral(tmp_path: Path) -> None:
    for actor in ("01", "02"):
        for emotion in ("01", "02", "05"):
            recorded(tmp_path / f"Actor_{actor}" / f"03-01-{emotion}-01-01-01-{actor}.wav")
        recorded(tmp_path / f"Actor_{actor}" / f"03-02-05-01-01-01-{actor}.wav")  # song
    with pytest.warns(UserWarning, match=r"03-02-05-01-01-01-0\d.wav' is named like no recording of ravdess"):
        found = read_speech(tmp_path)
    assert (found.name, found.labels.labels) == ("ravdess", ("angry", "neutral"))
    assert sorted(set(found.speakers.tolist())) == ["01", "02"]
    assert [found.labels.labels[i] for i in found.targets] == ["neutral", "neutral", "angry"] * 2
    assert found.names[0] == "Actor_01/03-01-01-01-01-01-01.wav"


def test_calm_is_a_class_of_its_own_on_request(tmp_path: Path) -> None:
    for actor in ("01", "02"):
        for emotion in ("01", "02"):
            recorded(tmp_path / f"03-01-{emotion}-01-01-01-{actor}.wav")
    assert read_speech(tmp_path, merge={}).labels.labels == ("neutral", "calm")


@pytest.mark.parametrize(
    ("names", "corpus", "labels", "speakers"),
    [
        (["03a01Fa", "08a02Fb", "03b01Wa", "08b02Wc"], "emodb", ("angry", "happy"), ["03", "08"]),
        (
            ["1001_DFA_ANG_XX", "1002_IEO_ANG_HI", "1001_DFA_SAD_XX", "1002_IEO_SAD_LO"],
            "crema-d", ("angry", "sad"), ["1001", "1002"],
        ),
        (["joy/eve_1", "joy/max_2", "Anger/eve_3", "Anger/max_4"], None, ("angry", "happy"), ["eve", "max"]),
    ],
)  # fmt: skip
def test_other_corpora_and_plain_folders(
    names: list[str], corpus: str | None, labels: tuple[str, ...], speakers: list[str], tmp_path: Path
) -> None:
    for name in names:
        recorded(tmp_path / f"{name}.wav")
    found = read_speech(tmp_path)
    assert (found.name, found.labels.labels) == (corpus or tmp_path.name, labels)
    assert sorted(set(found.speakers.tolist())) == speakers


def test_silence_at_the_ends_is_cut(tmp_path: Path) -> None:
    for name in ("a/eve_1", "a/max_1", "b/eve_1", "b/max_1"):
        recorded(tmp_path / f"{name}.wav", seconds=0.5)
    assert len(read_speech(tmp_path).clips[0]) == pytest.approx(0.7 * 16_000, abs=800)
    assert len(read_speech(tmp_path, trim=False).clips[0]) == 1.5 * 16_000


def test_bad_files_are_a_line_each_and_the_rest_is_read(tmp_path: Path) -> None:
    for name in ("a/eve_1", "a/max_1", "b/eve_1", "b/max_1"):
        recorded(tmp_path / f"{name}.wav")
    (tmp_path / "a" / "eve_2.wav").write_text("no sound")
    recorded(tmp_path / "b" / "nobody.wav")
    (tmp_path / "a" / "notes.txt").write_text("passed over")
    with pytest.warns(UserWarning, match="is left out") as warned:
        found = read_speech(tmp_path)
    assert len(found) == 4
    texts = sorted(str(warning.message) for warning in warned)
    assert len(texts) == 2
    assert all("is left out" in text and "\n" not in text for text in texts)


def test_a_class_of_one_speaker_is_left_out(tmp_path: Path) -> None:
    for name in ("a/eve_1", "a/max_1", "b/eve_1", "b/max_1", "c/eve_1"):
        recorded(tmp_path / f"{name}.wav")
    with pytest.warns(UserWarning, match="1 recordings of 'c' by 1 speaker; a class needs 2 speakers"):
        assert read_speech(tmp_path).labels.labels == ("a", "b")


def test_folders_without_recordings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no folder .* of recordings"):
        read_speech(tmp_path / "none")
    with pytest.raises(DatasetError, match=r"no recordings in .*; expected files ending in .*\.wav"):
        read_speech(tmp_path)
    recorded(tmp_path / "nameless.wav")
    with pytest.raises(DatasetError, match=r"no recording in .* has a name with label and speaker"):
        read_speech(tmp_path)


def test_a_folder_is_found_by_its_name_in_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "voice" / "mine").mkdir(parents=True)
    monkeypatch.setenv("MIEN_DATA", str(tmp_path))
    assert speech_path("mine") == tmp_path / "voice" / "mine"
    with pytest.raises(DatasetError, match="no folder 'theirs' of recordings"):
        speech_path("theirs")


def test_folds_are_neighbouring_speakers_and_share_none() -> None:
    some = speech("aabbccdd", "xyxyxyxy")
    assert folds_of(some, 2).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert folds_of(some).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    many = speech("abcdefghijklmnopqrstuvwx", "xy" * 12)
    assert np.bincount(folds_of(many)).tolist() == [4] * 6
    with pytest.raises(DatasetError, match="has 4 speakers, which cannot be 5 folds"):
        folds_of(some, 5)


def test_parts_that_share_a_speaker_are_refused() -> None:
    some = speech("aabb", "xyxy")
    check_apart(some.select(some.speakers == "a"), some.select(some.speakers == "b"))
    with pytest.raises(DatasetError, match="1 speakers of 'ours' are in both the training and the test part: a"):
        check_apart(some, some.select(np.array([0])))


def test_a_subset_is_drawn_at_random() -> None:
    some = speech("a" * 100, "xy" * 50)
    drawn = some.sample(20)
    assert len(drawn) == 20
    steps = np.diff([int(name.split(".")[0]) for name in drawn.names])
    assert len(set(steps.tolist())) > 1
    assert drawn.names.tolist() == some.sample(20).names.tolist()


def test_labels_of_another_set_are_mapped_and_others_left_out() -> None:
    some = speech("abc", "xyz")
    found = some.with_labels(LabelSet("two", ("z", "x")))
    assert found.targets.tolist() == [1, 0]
    assert found.names.tolist() == ["0.wav", "2.wav"]
    with pytest.raises(DatasetError, match="no clip of 'ours' has a label of 'none'"):
        some.with_labels(LabelSet("none", ("p", "q")))


def test_fingerprint_depends_on_sounds_labels_and_speakers() -> None:
    prints = {speech(*given).fingerprint for given in (("ab", "xy"), ("ab", "yx"), ("ac", "xy"))}
    assert len(prints) == 3
    assert speech("ab", "xy").fingerprint in prints
