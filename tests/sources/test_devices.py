"""Cameras are listed and opened, and failures explained. No camera is needed."""

import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest

from mien.sources import devices
from mien.sources.address import display_name
from mien.sources.devices import CameraInfo, list_cameras, open_device, refusal


def add_camera(root: Path, number: int, name: str, *, index: int = 0) -> None:
    """Add a video device to copies of /sys/class/video4linux and /dev."""
    folder = root / "sys" / f"video{number}"
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "index").write_text(f"{index}\n")
    (root / "dev").mkdir(exist_ok=True)
    (root / "dev" / f"video{number}").touch()


@pytest.fixture
def linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Fake a Linux machine without cameras."""
    monkeypatch.setattr(devices, "sys", SimpleNamespace(platform="linux"))
    monkeypatch.setattr(devices, "V4L", tmp_path / "sys")
    monkeypatch.setattr(devices, "DEVICES", tmp_path / "dev")
    return tmp_path


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "sys", SimpleNamespace(platform="darwin"))


def test_linux_lists_capture_devices_by_number(linux: Path) -> None:
    add_camera(linux, 10, "Late")
    add_camera(linux, 2, "UVC Camera (046d:0825)")
    add_camera(linux, 3, "UVC Camera (046d:0825)", index=1)  # its metadata
    (linux / "sys" / "video4").mkdir()  # being unplugged
    dev = linux / "dev"
    assert list_cameras() == [
        CameraInfo(2, "UVC Camera (046d:0825)", str(dev / "video2")),
        CameraInfo(10, "Late", str(dev / "video10")),
    ]


def test_linux_without_cameras_has_an_empty_list(linux: Path) -> None:
    assert list_cameras() == []


@pytest.mark.usefixtures("elsewhere")
def test_elsewhere_the_optional_package_lists_cameras_in_opencv_s_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def enumerate_cameras(backend: int) -> list[SimpleNamespace]:
        asked.append(backend)
        return [SimpleNamespace(index=0, name="FaceTime", path=None), SimpleNamespace(index=1, name="USB", path="id-1")]

    package = SimpleNamespace(supported_backends=(1400, 700), enumerate_cameras=enumerate_cameras)
    monkeypatch.setitem(sys.modules, "cv2_enumerate_cameras", package)
    assert list_cameras() == [CameraInfo(0, "FaceTime", ""), CameraInfo(1, "USB", "id-1")]
    assert asked == [1400]


@pytest.mark.usefixtures("elsewhere")
def test_without_the_package_a_few_indices_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    released = []

    def open_device(index: int | str) -> SimpleNamespace:
        return SimpleNamespace(isOpened=lambda: index == 2, release=lambda: released.append(index))

    monkeypatch.setitem(sys.modules, "cv2_enumerate_cameras", None)
    monkeypatch.setattr(devices, "open_device", open_device)
    assert list_cameras() == [CameraInfo(2, "camera 2", "")]
    assert released == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("elsewhere")
def test_a_driver_that_hangs_does_not_hang_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = threading.Event()

    def open_device(index: int | str) -> SimpleNamespace:
        hangs.wait(30)
        return SimpleNamespace(isOpened=lambda: False, release=lambda: None)

    monkeypatch.setitem(sys.modules, "cv2_enumerate_cameras", None)
    monkeypatch.setattr(devices, "open_device", open_device)
    monkeypatch.setattr(devices, "PROBE_SECONDS", 0.01)
    assert list_cameras() == []
    assert not hangs.is_set()
    hangs.set()
    for thread in threading.enumerate():
        if "probe" in thread.name:
            thread.join(30)  # it must not open what later tests replace


def test_a_stream_has_time_limits_and_a_device_file_its_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(cv2, "VideoCapture", lambda *arguments: calls.append(arguments))
    open_device("rtsp://host/x", timeout_seconds=2.5)
    open_device("/dev/video0")
    open_device(1)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 2500, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 2500]
    assert calls == [("rtsp://host/x", cv2.CAP_FFMPEG, limits), ("/dev/video0", cv2.CAP_V4L2), (1,)]


@pytest.mark.usefixtures("elsewhere")
def test_on_macos_the_system_asks_for_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_AVFOUNDATION_SKIP_AUTH", "0")  # whoever sets it decides
    opened_with: list[str | None] = []
    monkeypatch.setattr(
        cv2, "VideoCapture", lambda _: opened_with.append(os.environ.get("OPENCV_AVFOUNDATION_SKIP_AUTH"))
    )
    open_device(0)
    monkeypatch.delenv("OPENCV_AVFOUNDATION_SKIP_AUTH")
    open_device(0)
    assert opened_with == ["0", "1"]


def test_a_missing_camera_names_the_others(linux: Path) -> None:
    assert refusal(0) == "there is no camera 0; no camera was found: plug one in"
    add_camera(linux, 2, "UVC Camera")
    assert refusal(0) == "there is no camera 0; choose from 2 (UVC Camera)"
    assert refusal(str(linux / "dev" / "video9")).endswith("video9; choose from 2 (UVC Camera)")


def test_a_forbidden_camera_names_the_command_that_helps(linux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_camera(linux, 0, "UVC Camera")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert refusal(0).startswith("no permission to use camera 0; run `sudo usermod -aG video $USER`")


def test_a_busy_camera_says_so(linux: Path) -> None:
    add_camera(linux, 0, "UVC Camera")
    assert refusal(0) == "no pictures from camera 0; close the program that uses it, or choose another camera"


@pytest.mark.usefixtures("elsewhere")
def test_elsewhere_all_reasons_are_named() -> None:
    assert "missing, another program uses it, or the system's privacy settings" in refusal(0)


def test_a_stream_without_frames_asks_to_check_the_address() -> None:
    assert refusal("rtsp://me:pw@host/x").startswith("no pictures from rtsp://host/x; check the address")


def test_the_address_of_a_picture_asks_for_its_file() -> None:
    assert "download the picture" in refusal("https://host/a.JPG?size=large")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (0, "camera 0"),
        ("/dev/video0", "/dev/video0"),
        ("rtsp://host:554/a@b", "rtsp://host:554/a@b"),
        ("rtsp://user:p@ss@host/x", "rtsp://host/x"),
    ],
)
def test_the_display_name_of_a_source_has_no_password(source: int | str, name: str) -> None:
    assert display_name(source) == name
