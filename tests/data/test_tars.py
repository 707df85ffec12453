"""Tars of pictures are read as zips are: bounded, without links, without unpacking to disk."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.data import READERS, read_dataset
from mien.data.layouts import LAYOUTS, can_read
from mien.errors import DatasetError

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
PICTURES = {f"faces/{label}/{i}.png": GREY + 60 * i for label in ("sad", "happy") for i in range(3)}
KINDS = ("faces.tar", "faces.tar.gz", "faces.TGZ")


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def tar(path: Path, files: Mapping[str, bytes | tarfile.TarInfo]) -> Path:
    """Write a tar, in reverse order, with its folders first."""
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, content in reversed(files.items()):
            info = tarfile.TarInfo(f"./{name}")
            if isinstance(content, tarfile.TarInfo):
                content.name = info.name
                archive.addfile(content)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("name", KINDS)
def test_a_tar_is_read_as_its_folder_is(tmp_path: Path, name: str) -> None:
    files = {file: png(image) for file, image in PICTURES.items()}
    for file, content in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(content)
    dataset, expected = read_dataset(tar(tmp_path / name, files)), read_dataset(tmp_path / "faces")
    assert (dataset.fingerprint, dataset.name) == (expected.fingerprint, "faces")
    assert dataset.names is not None
    assert dataset.names.tolist() == sorted(PICTURES)


@pytest.mark.parametrize("name", KINDS)
def test_links_are_not_followed_and_other_files_are_counted(tmp_path: Path, name: str) -> None:
    files: dict[str, bytes | tarfile.TarInfo] = {file: png(image) for file, image in PICTURES.items()}
    files |= {
        "faces/sad/hard.png": link(tarfile.LNKTYPE, "faces/sad/1.png"),
        "faces/sad/symbolic.png": link(tarfile.SYMTYPE, "/etc/passwd"),
        "faces/notes.txt": b"hello",
    }
    with pytest.warns(UserWarning, match="links|passed over") as caught:
        assert len(read_dataset(tar(tmp_path / name, files))) == len(PICTURES)
    texts = [str(warning.message) for warning in caught]
    assert any("2 of 8 files" in text and "links are not followed" in text for text in texts)
    assert any("passed over 1 file" in text and "1 .txt" in text for text in texts)


@pytest.mark.parametrize("name", KINDS)
def test_a_cut_tar_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    path = tar(tmp_path / name, {file: png(image) for file, image in PICTURES.items()})
    path.write_bytes(path.read_bytes()[: 700 if name == "faces.tar" else 90])
    with pytest.raises(DatasetError) as caught:
        read_dataset(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DatasetError, match="is truncated or damaged"):
        READERS["folders"].read(path)


def test_a_tar_that_announces_a_name_of_gigabytes_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    (tmp_path / "faces.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    with pytest.raises(DatasetError, match=r"is truncated or damaged \(a part has 4,096 MB"):
        READERS["folders"].read(tmp_path / "faces.tar.gz")


def test_a_tar_that_expands_beyond_measure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = tar(tmp_path / "faces.tar.gz", {"sad/1.png": bytes(1 << 20), "happy/2.png": png(GREY)})
    monkeypatch.setattr("mien.data.damage.SMALL_BYTES", 1000)
    with pytest.raises(DatasetError, match="expands to more than 100 times its size"):
        READERS["folders"].read(bomb)
    monkeypatch.undo()
    monkeypatch.setattr("mien.data.tars.MAX_PACKED_BYTES", 1 << 19)
    with pytest.raises(DatasetError, match=r"holds more than 0 GB; unpack it \(tar -xf\)"):
        READERS["folders"].read(bomb)


def test_public_layouts_are_recognised_in_tars(tmp_path: Path) -> None:
    path = tar(tmp_path / "raf.tar", {"basic/EmoLabel/list_patition_label.txt": b"train_00001.jpg 5\n"})
    assert can_read(LAYOUTS["raf-db"], path)
    assert not can_read(LAYOUTS["expw"], path)
