from pathlib import Path

import pytest

from mien.errors import InputError
from mien.evaluation.slice_table import UNKNOWN, SliceTable, grouped, match_rows, problem_of, read_slices


def table(names, **columns):
    columns = columns or {"sex": [str(i) for i in range(len(names))]}
    return SliceTable(path=Path("slices.csv"), names=list(names), columns=columns)


def written(tmp_path, text, encoding="utf-8"):
    (tmp_path / "slices.csv").write_text(text, encoding=encoding)
    return tmp_path / "slices.csv"


def test_a_table_has_a_column_of_files_and_columns_of_groups(tmp_path):
    found = read_slices(written(tmp_path, "sex, Image ,light\nf,a/b.jpg,\n m ,c\\d.jpg,dark\n\n", "utf-8-sig"))
    assert found.names == ["a/b.jpg", "c/d.jpg"]
    assert found.columns == {"sex": ["f", "m"], "light": [UNKNOWN, "dark"]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("name,sex\n", "is empty"),
        ("who,sex\na.jpg,f\n", "no column of file names; name one of its columns file or name"),
        ("name\na.jpg\n", "only file names"),
        ("name,sex,sex\na.jpg,f,f\n", "two columns 'sex'"),
        ("name,sex\na.jpg,f,old\n", "a row of 3 cells"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, text, expected):
    with pytest.raises(InputError, match=expected) as caught:
        read_slices(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_or_undecodable_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.csv"):
        read_slices(tmp_path / "nowhere.csv")
    (tmp_path / "bytes.csv").write_bytes(b"name,sex\n\xff\xfe\x00,f\n")
    with pytest.raises(InputError, match=r"bytes\.csv"):
        read_slices(tmp_path / "bytes.csv")


def test_rows_are_matched_by_path_or_by_its_end():
    names = ["valid/happy/a.jpg", "valid/sad/b.jpg", "valid/sad/c.jpg"]
    rows = match_rows(table(["sad/b.jpg", "/home/me/valid/sad/c.jpg", "a.jpg"]), names, known=names)
    assert rows == [2, 0, 1]


def test_the_end_of_a_path_is_made_of_whole_names():
    assert match_rows(table(["a.jpg", "b.jpg"]), ["x/a.jpg", "x/bb.jpg"], known=["x/a.jpg", "y/b.jpg"]) == [0, None]


def test_rows_about_unknown_pictures_are_counted_but_not_those_of_other_splits():
    names, known = ["valid/a.jpg"], ["valid/a.jpg", "train/b.jpg"]
    with pytest.warns(UserWarning, match=r"^2 of 4 rows of 'slices.csv' .* such as 'x.jpg'$"):
        rows = match_rows(table(["x.jpg", "a.jpg", "b.jpg", "valid/b.jpg"]), names, known=known)
    assert rows == [1]


def test_a_table_about_other_pictures_is_refused():
    with pytest.raises(InputError, match=r"names none of the 2 evaluated pictures, such as 'a\.jpg'"):
        match_rows(table(["x.jpg"]), ["a.jpg", "b.jpg"], known=["a.jpg", "b.jpg", "x.jpg"])


def test_a_name_that_fits_several_pictures_is_refused():
    names = ["happy/1.png", "sad/1.png"]
    with pytest.raises(InputError, match=r"'1\.png' in 'slices\.csv' fits 2 pictures; give their paths"):
        match_rows(table(["1.png"]), names, known=names)
    assert match_rows(table(["sad/1.png", "happy/1.png"]), names, known=names) == [1, 0]


def test_two_rows_about_a_picture_must_agree():
    names = ["x/a.jpg"]
    assert match_rows(table(["a.jpg", "a.jpg"], sex=["f", "f"]), names, known=names) == [0]
    with pytest.raises(InputError, match=r"2 rows about 'x/a\.jpg' that differ"):
        match_rows(table(["a.jpg", "a.jpg"], sex=["f", "m"]), names, known=names)


def test_words_and_few_numbers_are_groups_in_order():
    assert grouped(["m", "", "f", "m"]) == (["f", "m"], ["m", "", "f", "m"])
    assert grouped(["10", "9", "9"]) == (["9", "10"], ["10", "9", "9"])


def test_many_numbers_are_cut_at_the_quartiles():
    values = [str(i) for i in range(1, 13)]
    groups, of = grouped([*values, UNKNOWN])
    assert groups == ["1 to 3.75", "3.75 to 6.5", "6.5 to 9.25", "9.25 to 12"]
    assert [of[:-1].count(group) for group in groups] == [3, 3, 3, 3]
    assert (of[0], of[11], of[12]) == (groups[0], groups[3], UNKNOWN)


def test_ranges_of_large_or_close_numbers_have_labels_of_their_own():
    dates = [str(20240101 + i) for i in range(20)]
    groups, of = grouped(dates)
    assert groups == ["20240101 to 20240106", "20240106 to 20240110", "20240110 to 20240115", "20240115 to 20240120"]
    assert [of.count(group) for group in groups] == [5, 5, 5, 5]
    close, of = grouped([f"1.00000{i:02}" for i in range(20)])
    assert len(set(close)) == 4
    assert [of.count(group) for group in close] == [5, 5, 5, 5]


def test_columns_of_one_value_or_of_names_cannot_be_compared():
    assert problem_of(["f", "m"]) is None
    assert problem_of(["f"]) == "has only the value 'f'"
    assert problem_of([]) == "has no value"
    assert problem_of([str(i) for i in range(21)]) == "has 21 values, expected at most 20"
