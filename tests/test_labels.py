from pathlib import Path

import pytest

from mien.errors import ConfigError, DatasetError
from mien.labels import FER2013, FERPLUS, LABEL_SETS, SYNONYMS, LabelSet, canonical, label_set_for, named_label_set


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Joy", "happy"),
        (" ANGER ", "angry"),
        ("neutral", "neutral"),
        ("Contempt", "contempt"),
        ("glu\u0308cklich", "gl\u00fccklich"),
    ],
)
def test_canonical_gives_our_word(name: str, expected: str) -> None:
    assert canonical(name) == expected


def test_synonyms_lead_to_names_that_are_no_synonyms() -> None:
    assert not set(SYNONYMS) & set(SYNONYMS.values())


def test_known_sets_use_canonical_names() -> None:
    for labels in LABEL_SETS.values():
        assert tuple(canonical(name) for name in labels) == labels.labels


def test_fer2013_keeps_the_order_of_its_csv() -> None:
    assert list(FER2013) == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert len(FER2013) == 7


def test_index_takes_synonyms() -> None:
    assert FER2013.index("Happiness") == 3


def test_an_unknown_label_lists_the_known_ones() -> None:
    with pytest.raises(DatasetError, match=r"unknown label 'bored' for 'fer2013'; expected one of angry, .*neutral"):
        FER2013.index("bored")


@pytest.mark.parametrize("labels", [(), ("happy",), ("happy", "sad", "happy")])
def test_a_set_needs_two_different_names(labels: tuple[str, ...]) -> None:
    with pytest.raises(DatasetError, match="expected two or more different names"):
        LabelSet("odd", labels)


@pytest.mark.parametrize("empty", ["", " "])
def test_a_set_has_no_empty_name(empty: str) -> None:
    with pytest.raises(DatasetError, match=r"label set 'odd' is .*; expected no empty name"):
        LabelSet("odd", ("happy", "sad", empty))


def test_mapping_goes_by_name() -> None:
    there = FER2013.mapping_to(FERPLUS)
    assert [None if i is None else FERPLUS.labels[i] for i in there] == list(FER2013)
    assert FERPLUS.mapping_to(FER2013)[FERPLUS.index("contempt")] is None


def test_a_known_set_is_found_in_any_order_and_spelling() -> None:
    names = ["Neutral", "anger", "disgusted", "FEAR", "joy", "sadness", "surprised"]
    assert label_set_for(names, name="folder") is FER2013


def test_an_unknown_set_is_alphabetical() -> None:
    assert label_set_for(["sad", "joy"], name="two") == LabelSet("two", ("happy", "sad"))


@pytest.mark.parametrize("text", ["fer2013", "FER2013", "anger, disgust,fear,happy,sad,surprise,Neutral"])
def test_a_text_names_a_known_set_or_its_classes(text: str) -> None:
    assert named_label_set(text, name="mine") is FER2013


@pytest.mark.parametrize("text", ["['sad', 'joy']", '("sad","joy")', "[sad,joy]", " 'sad', 'joy' "])
def test_a_pasted_list_is_read(text: str) -> None:
    assert named_label_set(text, name="mine").labels == ("sad", "happy")


@pytest.mark.parametrize("content", ["sad\njoy\n", "0 Sad\n1 Joy\n", "\ufeff1: joy\r\n0: sad\r\n\r\n"])
def test_a_file_of_labels_is_read_in_the_order_of_its_numbers(content: str, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(content, encoding="utf-8")
    assert named_label_set(str(tmp_path / "labels.txt"), name="mine").labels == ("sad", "happy")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ConfigError, match="expected a text file with one label per line"):
        named_label_set(str(tmp_path / "labels.txt"), name="mine")


@pytest.mark.parametrize("text", ["0,1,2", "[1, 2]", "1.0,2.0"])
def test_numbers_are_no_labels(text: str) -> None:
    with pytest.raises(ConfigError, match=r"the labels are numbers, .*; give the names of the classes"):
        named_label_set(text, name="mine")


def test_a_text_of_other_classes_is_a_new_set_that_takes_no_known_name() -> None:
    assert named_label_set("Joy,sad", name="mine") == LabelSet("mine", ("happy", "sad"))
    assert named_label_set("sad,joy", name="fer2013") == LabelSet("fer2013-labels", ("sad", "happy"))


def test_a_text_of_one_word_that_is_no_set_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match="unknown label set 'fer13'; choose from fer2013, ferplus, or list the classes"
    ):
        named_label_set("fer13", name="mine")


def test_a_number_of_thousands_of_digits_is_part_of_a_name(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(f"{'1' * 5000} sad\n0 joy\n")
    assert named_label_set(str(tmp_path / "labels.txt"), name="mine").labels[1] == "0 joy"
