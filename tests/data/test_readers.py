import gzip
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.data.readers import READERS, data_path, read_dataset
from mien.errors import DatasetError

CSV = "emotion,pixels,Usage\n3,1 2 3 4,Training\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data folder that MIEN_DATA names; the working folder has no data."""
    home, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    (home / "fer2013").mkdir(parents=True)
    elsewhere.mkdir()
    (home / "fer2013/fer2013.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    monkeypatch.setenv("MIEN_DATA", str(home))
    monkeypatch.chdir(elsewhere)
    return home


def write_class_folders(root: Path) -> Path:
    for label in ("happy", "sad"):
        (root / label).mkdir(parents=True)
        (root / label / "1.png").write_bytes(cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes())
    return root


def test_the_reader_is_chosen_by_the_format_of_the_data(home: Path) -> None:
    assert read_dataset(home / "fer2013/fer2013.csv.gz").images.ravel().tolist() == [1, 2, 3, 4]
    assert len(read_dataset(write_class_folders(home / "mine"))) == 2


def test_a_folder_with_fer2013_in_it_means_that_file(home: Path) -> None:
    assert len(read_dataset(home)) == 1
    assert len(read_dataset(str(home / "fer2013"))) == 1


def test_a_reader_can_be_named(home: Path) -> None:
    odd = home / "fer2013.data"
    odd.write_text(CSV)
    assert len(read_dataset(odd, reader="fer2013-csv")) == 1
    write_class_folders(home / "fer2013")
    with pytest.warns(UserWarning, match="passed over"):
        assert len(read_dataset(home / "fer2013", reader="folders")) == 2


@pytest.mark.parametrize("size", [-1, 0, 1025])
def test_an_impossible_size_is_refused(home: Path, size: int) -> None:
    with pytest.raises(DatasetError, match=f"size is {size}; expected 1 to 1024 pixels a side"):
        read_dataset(home, size=size)


def test_an_unknown_reader_is_refused_with_the_known_ones(home: Path) -> None:
    with pytest.raises(DatasetError, match="no reader 'parquet'; choose from prepared, ferg, "):
        read_dataset(home, reader="parquet")


def test_a_missing_path_is_refused_with_the_readable_formats(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no dataset at '.*none'; expected a prepared \.npz"):
        read_dataset(tmp_path / "none")


def test_an_unknown_format_is_refused_with_the_readable_ones(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"data")
    with pytest.raises(DatasetError, match=r"data\.bin' is not a dataset that mien can read; expected"):
        read_dataset(tmp_path / "data.bin")


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_reports_a_file_of_noise_in_one_line(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "noise"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(DatasetError, match="noise") as caught:
        read_dataset(path, reader=reader)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("argument", [None, "fer2013", "fer2013.csv", "fer2013/fer2013.csv.gz", "fer2013.csv.gz"])
def test_data_is_found_in_the_data_folder(home: Path, argument: str | None) -> None:
    assert data_path(argument) == home / "fer2013/fer2013.csv.gz"


@pytest.mark.parametrize("argument", [None, "fer2013", "fer2013.csv"])
def test_the_variable_may_name_the_dataset_itself(
    home: Path, monkeypatch: pytest.MonkeyPatch, argument: str | None
) -> None:
    monkeypatch.setenv("MIEN_DATA", str(home / "fer2013/fer2013.csv.gz"))
    assert data_path(argument) == home / "fer2013/fer2013.csv.gz"


def test_a_path_takes_precedence_over_the_data_folder(home: Path) -> None:
    Path("fer2013.csv").write_text(CSV)
    assert data_path("fer2013.csv") == Path("fer2013.csv")


def test_other_datasets_in_the_data_folder_are_found_by_name(home: Path) -> None:
    write_class_folders(home / "mine")
    assert data_path("mine") == home / "mine"
    (home / "faces.npz").touch()
    assert data_path("faces") == home / "faces.npz"


def test_an_unknown_name_is_refused_with_the_places_searched(home: Path) -> None:
    with pytest.raises(DatasetError, match=r"no dataset at 'ferg'; also searched '.*data'"):
        data_path("ferg")


def test_without_argument_and_variable_the_error_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIEN_DATA", raising=False)
    with pytest.raises(DatasetError, match="pass --data PATH or set MIEN_DATA"):
        data_path(None)


def test_a_variable_that_names_a_missing_path_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIEN_DATA", str(tmp_path / "none"))
    with pytest.raises(DatasetError, match=r"no dataset at '.*none'; MIEN_DATA can name a file or folder"):
        data_path(None)


def test_a_dataset_that_cannot_be_looked_at_is_missing_with_the_reason(locked_folder: Path) -> None:
    for find in (data_path, read_dataset):
        with pytest.raises(DatasetError, match=r"no dataset at .*x\.csv' \(Permission denied\)"):
            find(str(locked_folder / "x.csv"))
        with pytest.raises(DatasetError, match=r"no dataset at 'n*' \(File name too long\)"):
            find("n" * 300)
