"""Damaged and hostile files of data end in one line: no traceback, no memory beyond their size."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.data.audit import audit, read_audit, save_audit
from mien.data.dataset import Dataset
from mien.data.prepared import prepare
from mien.data.readers import read_dataset
from mien.data.synthetic import draw_faces
from mien.data.votes import read_votes
from mien.errors import DatasetError
from photographs import write_pictures

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return draw_faces(8, seed=0)


def npy(array: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=True)
    return buffer.getvalue()


def with_header(shape: bytes, descr: bytes = b"|u1") -> bytes:
    header = b"{'descr': '" + descr + b"', 'fortran_order': False, 'shape': " + shape + b", }\n"
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(64)


def replaced(path: Path, **members: bytes | None) -> None:
    """Write an .npz anew with other members; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        contents: dict[str, bytes | None] = {Path(name).stem: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (contents | members).items():
            if content is not None:
                archive.writestr(f"{name}.npy", content)


def about(path: Path, **values: object) -> bytes:
    with np.load(path) as arrays:
        return npy(json.dumps(json.loads(str(arrays["about"])) | values))


HEADERS = {
    "nested deep": with_header(b"(" * 5000),
    "negative": with_header(b"(-1,)"),
    "huge": with_header(b"(99999999999, 48, 48, 1)"),
    "code": with_header(b"(__import__('os').getcwd(),)"),
    "another type": with_header(b"(64,)", b"<f8"),
    "objects": npy(np.array([{}, None], dtype=object)),
    "no array": b"\x93NUMPY",
    "empty": b"",
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("name", ["images", "targets", "about"])
def test_a_prepared_file_with_a_false_header_is_refused(
    tmp_path: Path, dataset: Dataset, name: str, header: str
) -> None:
    path = tmp_path / "d.npz"
    prepare(dataset, path)
    replaced(path, **{name: HEADERS[header]})
    with pytest.raises(DatasetError, match=rf"is not a prepared dataset \('{name}': .*prepare it again") as caught:
        read_dataset(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("targets", np.zeros((8, 1), np.int64)),
        ("splits", np.zeros((8, 1), np.int8)),
        ("images", np.zeros((8, 0, 0, 1), np.uint8)),
        ("images", np.zeros((8, 4, 4, 7), np.uint8)),
        ("votes", np.zeros((8, 3), np.float32)),
        ("votes", np.full((8, 10), np.nan, np.float32)),
        ("votes", np.full((8, 10), -1, np.float32)),
        ("names", np.full(8, 2**31 - 1, np.uint32).view("<U1")),
        ("groups", np.array([["a"]] * 8)),
    ],
)
def test_a_prepared_file_with_false_values_is_refused(
    tmp_path: Path, dataset: Dataset, name: str, content: object
) -> None:
    path = tmp_path / "d.npz"
    prepare(dataset, path)
    replaced(path, **{name: npy(content)})
    with pytest.raises(DatasetError, match="is not a prepared dataset"):
        read_dataset(path)


@pytest.mark.parametrize(
    "values",
    [
        {"format": "1"},
        {"name": None},
        {"labels": "happy"},
        {"labels": [1, 2]},
        {"labels": ["a", "a"]},
        {"label_set": {}},
        {"found": 1},
        {"found": {"detector": "haar"}},
        {"found": {"detector": "haar", "several": "all", "n_pictures": 8, "missed": [], "crowded": []}},
        {"found": {"detector": "haar", "several": "skip", "n_pictures": -1, "missed": [], "crowded": []}},
        {"found": {"detector": "haar", "several": "skip", "n_pictures": 8, "missed": [["a", "b"]], "crowded": []}},
    ],
)
def test_a_prepared_file_with_a_false_description_is_refused(
    tmp_path: Path, dataset: Dataset, values: dict[str, object]
) -> None:
    path = tmp_path / "d.npz"
    prepare(dataset, path)
    replaced(path, about=about(path, **values))
    with pytest.raises(DatasetError, match="is not a prepared dataset"):
        read_dataset(path)


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"clusters": npy(np.arange(7))}, "'clusters' has 7 values for 8 images"),
        ({"clusters": npy(np.full(8, 99))}, "'clusters' is not the index of a first image"),
        ({"exact": npy(np.full(8, -1))}, "'exact' is not the index of a first image"),
        ({"first": npy(np.array([3, 0]))}, "its pairs have different lengths"),
        ({"blank": npy(np.zeros((8, 1), np.bool_))}, "'blank': .*expected bool with 1 dimensions"),
        ({"scores": None}, "no array 'scores'"),
    ],
)
def test_an_audit_with_false_indices_is_refused(
    tmp_path: Path, dataset: Dataset, members: dict[str, bytes | None], problem: str
) -> None:
    path = tmp_path / "audit.npz"
    save_audit(audit(dataset), path)
    replaced(path, **members)
    with pytest.raises(DatasetError, match=f"is not an audit .*{problem}.*write one with mien data audit"):
        read_audit(path, dataset)


def test_an_array_that_expands_beyond_measure_is_refused_unread(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "d.npz"
    blank = replace(dataset, images=np.zeros((8, 512, 512, 1), np.uint8))
    prepare(blank, path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    assert read_dataset(path).fingerprint == blank.fingerprint
    monkeypatch.setattr("mien.data.damage.SMALL_BYTES", 1000)
    with pytest.raises(DatasetError, match="expands to more than 100 times its size"):
        read_dataset(path)


def test_a_picture_of_a_zip_is_unpacked_only_up_to_the_limit(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_pictures(tmp_path / "d", {"happy/1.png": GREY, "sad/2.png": GREY})
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in root.rglob("*.png"):
            archive.write(file, file.relative_to(root))
        archive.writestr("sad/bomb.png", bytes(1 << 20))
    (root / "sad/bomb.png").write_bytes(bytes(1 << 20))
    monkeypatch.setattr("mien.data.tars.MAX_FILE_BYTES", 1 << 19)
    for path in (root, tmp_path / "d.zip"):
        with pytest.warns(UserWarning, match=r"1 of 3 files .*bomb\.png' has 1 MB; expected at most 0 MB"):
            assert len(read_dataset(path)) == 2


@pytest.mark.parametrize("count", ["-1", "1e3", "nan", "9" * 5000, "", "1001", "=1+1"])
def test_a_number_of_votes_that_is_none_is_named_by_its_line(tmp_path: Path, count: str) -> None:
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    path = tmp_path / "fer2013new.csv"
    path.write_text(f"{header}\nTraining,a.png,{count},0,0,0,0,0,0,0,0,0\n")
    with pytest.raises(DatasetError, match=r"line 2 is 'Training,a\.png,.*ten whole numbers") as caught:
        read_votes(path)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["hap\npy", "sad\u202egnp", "\x1b[31mred", "line\u2028end", "caf\udce9"])
def test_a_class_with_a_control_character_is_refused_in_tables_and_folders(tmp_path: Path, name: str) -> None:
    table = write_pictures(tmp_path / "t", {"1.png": GREY, "2.png": GREY}) / "labels.csv"
    table.write_bytes(f'image,label\n1.png,"{name}"\n2.png,sad\n'.encode(errors="surrogateescape"))
    folders = write_pictures(tmp_path / "d", {f"{name}/1.png": GREY, "sad/2.png": GREY})
    readings: list[Callable[[], Dataset]] = [lambda: read_dataset(folders), lambda: read_dataset(table)]
    for reading in readings:
        with pytest.raises(DatasetError, match=r"holds a control character|is not a label table|is not FER") as caught:
            reading()
        assert str(caught.value).isprintable()
