import gzip
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mien.data.dataset import SPLITS, Dataset
from mien.data.fer2013_csv import read
from mien.data.readers import read_dataset
from mien.data.reading import Reading
from mien.data.votes import USAGES
from mien.errors import DatasetError
from mien.labels import FER2013, FERPLUS

HEADER = "emotion,pixels,Usage"
VOTES_HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
ROWS = ("0,0 1 2 3,Training", "3,4 5 6 7,PublicTest", "6,8 9 10 255,PrivateTest")
THREE_VOTES = (
    "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0\n"
    "PublicTest,fer0000001.png,0,10,0,0,0,0,0,0,0,0\n"
    "PrivateTest,,0,0,0,0,0,0,0,0,0,10\n"
)


def write_csv(path: Path, rows: Sequence[str] = ROWS, *, header: str = HEADER, end: str = "\n") -> Path:
    path.write_bytes("".join(line + end for line in (header, *rows)).encode())
    return path


def assert_is_the_three_rows(dataset: Dataset) -> None:
    assert dataset.images.shape == (3, 2, 2, 1)
    assert dataset.images.ravel().tolist() == [*range(11), 255]
    assert dataset.targets.tolist() == [0, 3, 6]
    assert [SPLITS[i] for i in dataset.splits] == ["train", "valid", "test"]
    assert dataset.labels is FER2013


def test_each_row_becomes_an_image_with_label_and_split(tmp_path: Path) -> None:
    dataset = read(write_csv(tmp_path / "fer2013.csv"))
    assert_is_the_three_rows(dataset)
    assert dataset.votes is None


def test_a_gzipped_csv_is_read(tmp_path: Path) -> None:
    path = tmp_path / "fer2013.csv.gz"
    path.write_bytes(gzip.compress(write_csv(tmp_path / "fer2013.csv").read_bytes()))
    assert_is_the_three_rows(read(path))


@pytest.mark.parametrize("member", ["fer2013/fer2013.csv", "icml_face_data.csv", "my_faces.csv"])
def test_a_csv_inside_a_zip_is_read(tmp_path: Path, member: str) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.write(write_csv(tmp_path / "fer2013.csv"), member)
        archive.writestr("README.txt", "hello")
    assert_is_the_three_rows(read(tmp_path / "archive.zip"))


def test_of_several_csv_files_in_a_zip_the_known_one_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("train.csv", "emotion,pixels\n")
        archive.write(write_csv(tmp_path / "fer2013.csv"), "icml_face_data.csv")
    assert_is_the_three_rows(read(tmp_path / "archive.zip"))


def test_columns_may_be_in_any_order_with_blanks_quotes_and_further_columns(tmp_path: Path) -> None:
    rows = ['Training,x,"0 1 2 3", 0', 'PublicTest,x,"4 5 6 7 ",3', "PrivateTest,x, 8  9 10 255,6"]
    assert_is_the_three_rows(read(write_csv(tmp_path / "a.csv", rows, header="\ufeff Usage, note, Pixels, emotion")))


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("emotion;pixels;Usage", ["0;0 1 2 3;Training", "3;4 5 6 7;PublicTest", "6;8 9 10 255;PrivateTest"]),
        ("Usage\tpixels\temotion", ["Training\t0 1 2 3\t0", "PublicTest\t4 5 6 7\t3", "PrivateTest\t8 9 10 255\t6"]),
        (HEADER, ['0,"[0, 1, 2, 3]",Training', '3,"[4, 5, 6, 7]",PublicTest', '6,"[8, 9, 10, 255]",PrivateTest']),
        (HEADER, ['0,"[[0 1]\n [2 3]]",training', '3,"[[4 5]\n [6 7]]",public test', '6,"[[8 9]\n [10 255]]",TEST']),
        (HEADER, ["0.0,0.0 1.0 2.0 3.0,train", "3.0,4.0 5.0 6.0 7.0,val", "6.0,8.0 9.0 10.0 255.0,test"]),
        (
            "emotion,pixel0,pixel1,pixel2,pixel3,Usage",
            ["0,0,1,2,3,Training", "3,4,5,6,7,PublicTest", "6,8,9,10,255,test"],
        ),
        ("label,pixels,split", ["0,0 1 2 3,train", "3,4 5 6 7,valid", "6,8 9 10 255,test"]),
    ],
)
def test_other_spellings_are_read_alike(tmp_path: Path, header: str, rows: list[str]) -> None:
    assert_is_the_three_rows(read(write_csv(tmp_path / "a.csv", rows, header=header)))


def test_named_classes_are_read(tmp_path: Path) -> None:
    rows = ["happiness,0 1 2 3,Training", "ahegao,4 5 6 7,PublicTest", "Sad,8 9 10 255,PrivateTest"]
    dataset = read(write_csv(tmp_path / "mine.csv", rows))
    assert (dataset.name, dataset.labels.labels) == ("mine", ("ahegao", "happy", "sad"))
    assert dataset.targets.tolist() == [1, 0, 2]


def test_an_eighth_class_needs_names_for_all(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [*ROWS, "7,1 2 3 4,Training"])
    with pytest.raises(DatasetError, match=r"line 5 has emotion '7'; expected 0 angry.*--classes 0=angry,1=…"):
        read(path)
    names = {"0": "neutral", "3": "sad", "6": "fear", "7": "contempt"}
    dataset = read(path, Reading(classes=names))
    assert [dataset.labels.labels[i] for i in dataset.targets] == list(names.values())


def test_splits_that_are_missing_are_held_out_of_train_as_of_folders(tmp_path: Path) -> None:
    """Kaggle's train.csv has no Usage."""
    rows = [f"{i % 2},{i} 1 2 3" for i in range(40)]
    dataset = read(write_csv(tmp_path / "train.csv", rows, header="emotion,pixels"))
    assert dataset.counts()[:, :2].tolist() == [[16, 16], [2, 2], [2, 2]]
    assert (dataset.name, dataset.held_out) == ("train", ("valid", "test"))
    usage = ["Training", "PrivateTest"]
    some = read(write_csv(tmp_path / "some.csv", [f"{row},{usage[i // 30]}" for i, row in enumerate(rows)]))
    assert some.counts()[:, :2].tolist() == [[13, 13], [2, 2], [5, 5]]
    assert some.held_out == ("valid",)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
def test_every_line_end_is_read(tmp_path: Path, end: str) -> None:
    assert_is_the_three_rows(read(write_csv(tmp_path / "a.csv", end=end)))


def test_mixed_line_ends_and_a_missing_last_one_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"{HEADER}\r\n{ROWS[0]}\n{ROWS[1]}\r{ROWS[2]}".encode())
    assert_is_the_three_rows(read(path))


def test_lines_that_span_blocks_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv(tmp_path / "a.csv", end="\r\n")
    for n_bytes in range(1, 30):
        monkeypatch.setattr("mien.data.fer2013_csv.BLOCK_BYTES", n_bytes)
        assert_is_the_three_rows(read(path))


def test_images_are_resized_on_demand(tmp_path: Path) -> None:
    dataset = read(write_csv(tmp_path / "a.csv", ["0,7 7 7 7,Training"]), Reading(size=5))
    assert dataset.images.shape == (1, 5, 5, 1)
    assert (dataset.images == 7).all()


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("0,1 2 3,Training", "line 5 has 3 pixels; expected 4 as in the first row"),
        ("0,1 2 3 4 5 6 7 8 9,Training", "line 5 has 9 pixels; expected 4"),
        ("0,,Training", "line 5 has 0 pixels"),
        ("0,1 2 300 4,Training", r"line 5 has pixels from 1 to 300; expected 0\.\.255"),
        ("0,1 2 -1 4,Training", "line 5 has pixels from -1 to 4"),
        ("0,1 2 99999999999999999999 4,Training", "line 5 has pixels from"),
        ("0,1 2 x 4,Training", "line 5 has pixels that are not integers"),
        ("0,1 2 3 4.5,Training", "line 5 has pixels that are not integers"),
        ("9,1 2 3 4,Training", "line 5 has emotion '9'; expected 0 angry, 1 disgust"),
        ("-1,1 2 3 4,Training", "line 5 has emotion '-1'"),
        ("happy,1 2 3 4,Training", "line 5 has emotion 'happy'"),
        ('0,"[1 2 ... 4]",Training', r"line 5 has pixels cut short by '\.\.\.'"),
        ("0,nan 2 3 4,Training", "line 5 has pixels that are not integers"),
        ("0,1 2 3 4,Extra", "line 5 has Usage 'Extra'; expected Training, PublicTest, PrivateTest"),
        ("0,1 2 3 4", "line 5 has 2 columns; expected 3"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(tmp_path: Path, row: str, problem: str) -> None:
    with pytest.raises(DatasetError, match=problem):
        read(write_csv(tmp_path / "a.csv", [*ROWS, row]))


def test_a_first_image_that_is_not_square_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="line 2 has 3 pixels; expected a square image, 48×48 = 2304"):
        read(write_csv(tmp_path / "a.csv", ["0,1 2 3,Training"]))


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="line 4 has emotion '9'"):
        read(write_csv(tmp_path / "a.csv", [ROWS[0], "", "9,1 2 3 4,Training"], end="\r\n"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"pixels\n1 2 3 4\n", "no column emotion in its first line"),
        (b"a,b\n", "no column emotion, pixels in"),
        (HEADER.encode(), "has a header but no rows"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe" + bytes(range(256)), "not FER2013's csv"),
    ],
)
def test_a_file_that_is_not_the_csv_is_an_error(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=problem) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.data.fer2013_csv.BLOCK_BYTES", 8)
    monkeypatch.setattr("mien.data.fer2013_csv.MAX_LINE_BYTES", 100)
    (tmp_path / "a.csv").write_bytes(bytes(1000))
    with pytest.raises(DatasetError, match="line 1 is longer than 0 MB"):
        read(tmp_path / "a.csv")


def test_a_file_that_expands_beyond_measure_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.data.damage.SMALL_BYTES", 1000)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n{ROWS[0]}\n".encode() * 10**4))
    with pytest.raises(DatasetError, match="expands to more than 100 times its size"):
        read(path)


def test_the_number_of_images_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.data.dataset.MAX_IMAGES", 2)
    with pytest.raises(DatasetError, match="holds 3 images; expected at most 2"):
        read(write_csv(tmp_path / "a.csv"))


def test_a_truncated_gzip_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(write_csv(tmp_path / "a.csv").read_bytes())[:-12])
    with pytest.raises(DatasetError, match=r"truncated or damaged.*download it again"):
        read(path)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.zip", "a.tar"])
def test_the_content_decides_not_the_suffix(tmp_path: Path, name: str) -> None:
    assert_is_the_three_rows(read(write_csv(tmp_path / name)))


@pytest.mark.parametrize("packing", ["", "gz"])
def test_a_csv_inside_a_tar_is_read(tmp_path: Path, packing: str) -> None:
    """Kaggle's challenge distributed FER2013 as fer2013.tar.gz."""
    with tarfile.open(tmp_path / "fer2013.tar.gz", f"w:{packing}") as archive:
        archive.add(write_csv(tmp_path / "a.csv"), "fer2013/fer2013.csv")
        archive.add(tmp_path / "a.csv", "fer2013/README")
    assert_is_the_three_rows(read(tmp_path / "fer2013.tar.gz"))


def test_a_truncated_zip_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fer2013.csv", HEADER)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DatasetError, match="truncated or damaged"):
        read(path)


def test_a_zip_with_several_unknown_csv_files_is_an_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.csv", HEADER)
        archive.writestr("b.csv", HEADER)
    with pytest.raises(DatasetError, match="holds 2 csv files"):
        read(tmp_path / "a.zip")


def test_votes_beside_the_csv_are_read(tmp_path: Path) -> None:
    (tmp_path / "fer2013new.csv").write_text(VOTES_HEADER + THREE_VOTES)
    votes = read(write_csv(tmp_path / "a.csv")).votes
    assert votes is not None
    assert votes.dtype == np.float32
    assert votes.tolist() == [[4, 0, 0, 1, 3, 2, 0, 0, 0, 0], [0, 10] + [0] * 8, [0] * 9 + [10]]


def test_votes_beside_the_csv_that_do_not_match_are_ignored_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "fer2013new.csv").write_text(VOTES_HEADER)
    with pytest.warns(UserWarning, match="votes beside the data ignored.*votes on 0 images, but there are 3"):
        assert read(write_csv(tmp_path / "a.csv")).votes is None


def test_given_votes_must_match(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(VOTES_HEADER + THREE_VOTES)
    assert read(write_csv(tmp_path / "a.csv"), votes=path).votes is not None
    with pytest.raises(DatasetError, match="votes on 3 images, but there are 2"):
        read(write_csv(tmp_path / "a.csv", ROWS[:2]), votes=path)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_written_rows_are_read_back(tmp_path: Path, data: st.DataObject) -> None:
    n, side = data.draw(st.integers(2, 5)), data.draw(st.integers(1, 6))
    images = data.draw(arrays(np.uint8, (n, side, side, 1)))
    targets = data.draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))
    drawn = data.draw(st.lists(st.sampled_from(list(USAGES)), min_size=n - 2, max_size=n - 2))
    usages = ["PublicTest", *drawn, "PrivateTest"]
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    pixels = [" ".join(map(str, image.ravel())) for image in images]
    rows = [f"{t},{p},{u}" for t, p, u in zip(targets, pixels, usages, strict=True)]
    dataset = read(write_csv(tmp_path / "a.csv", rows, end=end))
    assert np.array_equal(dataset.images, images)
    assert dataset.targets.tolist() == targets
    assert [SPLITS[i] for i in dataset.splits] == [USAGES[usage] for usage in usages]


@pytest.fixture(scope="module")
def fer2013(fer2013_path: Path) -> Dataset:
    return read(fer2013_path)


def test_the_real_data_has_the_official_counts(fer2013: Dataset) -> None:
    assert fer2013.images.shape == (35_887, 48, 48, 1)
    assert fer2013.counts().sum(axis=1).tolist() == [28_709, 3_589, 3_589]
    totals = dict(zip(fer2013.labels, fer2013.counts().sum(axis=0).tolist(), strict=True))
    assert totals == {
        "angry": 4953,
        "disgust": 547,
        "fear": 5121,
        "happy": 8989,
        "sad": 6077,
        "surprise": 4002,
        "neutral": 6198,
    }


def test_the_raters_agree_with_the_real_labels_on_64_percent_of_the_test_split(fer2013: Dataset) -> None:
    """The raters agree where no other label has more votes; Barsoum et al. 2016 report noisy labels too."""
    test = fer2013.split("test")
    votes = test.votes
    if votes is None:
        pytest.skip("needs fer2013new.csv beside the csv")
    column_of = np.array([FERPLUS.index(label) for label in FER2013])
    for_label = votes[np.arange(len(test)), column_of[test.targets]]
    assert round(float((for_label == votes.max(axis=1)).mean()), 2) == 0.64


def test_classes_that_numbers_leave_out_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("emotion,pixels\n" + "".join(f"{i % 5},1 2 3 4\n" for i in range(50)))
    with pytest.warns(UserWarning, match=r"no image of surprise, neutral: .*FER2013's numbers; .*--classes 0=angry"):
        read(path)


def test_a_first_line_for_excel_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("sep=;\nemotion;pixels\n" + "".join(f"{i};1 2 3 4\n" for i in range(7)))
    assert len(read_dataset(path)) == 7


def test_a_csv_without_header_is_named_in_a_short_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("".join(f"{i},{'0 255 ' * 1152},Training\n" for i in range(7)))
    with pytest.raises(DatasetError, match="no names of columns in its first line") as caught:
        read_dataset(path)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "holds nothing; expected pictures in a folder per class, or a csv"),
        (("happy/", "sad/"), "holds folders only"),
        (("clip.mp4",), r"holds 1 \.mp4"),
        (("../happy/1.png",), r"holds 1 \.png with names such as '\.\./happy/1\.png', which are not read"),
    ],
)
def test_an_archive_without_data_is_described(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"" if name.endswith("/") else b"x")
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path / "mine.zip")
