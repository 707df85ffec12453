"""Live sources give the newest frame, reopen lost devices, and never hang. Devices are fakes."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from queue import Queue

import cv2
import numpy as np
import pytest
from PIL import Image

from clips import turn_clockwise, write_video
from mien.errors import CameraError, ConfigError, InputError, MienError, UnreadablePicture
from mien.sources import camera as camera_module
from mien.sources.camera import Camera
from mien.sources.frames import frames
from mien.structures import Frame, ImageArray

PATIENCE = 30.0  # seconds that nothing here needs, unless it hangs


class FakeDevice:
    """Gives the images that a test feeds it, BGR (value, 0, 0), and waits for more; None makes a read fail."""

    def __init__(self, *values: int | None, opened: bool = True, n_frames: float = -1) -> None:
        self.opened, self.n_frames = opened, n_frames
        self.feed: Queue[int | Exception | None] = Queue()
        self.reads = 0
        self.released = threading.Event()
        for value in values:
            self.feed.put(value)

    def isOpened(self) -> bool:
        return self.opened

    def read(self) -> tuple[bool, ImageArray | None]:
        self.reads += 1
        value = self.feed.get(timeout=PATIENCE)
        if isinstance(value, Exception):
            raise value
        return (False, None) if value is None else (True, np.full((4, 6, 3), (value, 0, 0), np.uint8))

    def get(self, propId: int, /) -> float:
        return self.n_frames if propId == cv2.CAP_PROP_FRAME_COUNT else 0.0

    def release(self) -> None:
        self.released.set()


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def read(camera: Camera) -> Frame:
    frame = camera.read(timeout=PATIENCE)
    assert frame is not None
    return frame


def value_of(frame: Frame) -> int:
    """Return the value fed to the device: the blue of an RGB image."""
    red, green, blue = (int(v) for v in frame.image[0, 0])
    assert red == green == 0
    return blue


def threads_of_cameras() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mien: ")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    until(lambda: not threads_of_cameras())


class TestDevices:
    def test_frames_are_rgb_with_increasing_index_and_time(self) -> None:
        device = FakeDevice(7)
        with Camera(3, opener=lambda source: device) as camera:
            first = read(camera)
            assert camera.status.state == "live"
            device.feed.put(8)
            second = read(camera)
            device.feed.put(None)
        assert (value_of(first), first.index, first.time, first.source) == (7, 0, 0.0, "camera 3")
        assert (value_of(second), second.index) == (8, 1)
        assert second.time > 0
        assert device.released.is_set()

    def test_a_slow_reader_gets_the_newest_frame_once_and_sees_a_gap(self) -> None:
        device = FakeDevice(10, 11, 12, 13, 14)
        with Camera(0, opener=lambda source: device) as camera:
            until(lambda: device.reads == 6)  # five are there, it waits for the next
            newest = read(camera)
            assert (value_of(newest), newest.index) == (14, 4)
            assert camera.read(timeout=0) is None
            assert not camera.ended
            device.feed.put(15)
            assert read(camera).index == 5
            device.feed.put(None)

    def test_the_clock_is_that_of_the_frames(self) -> None:
        device = FakeDevice(1)
        with Camera(0, opener=lambda source: device) as camera:
            read(camera)
            before = camera.clock()
            device.feed.put(2)
            assert before <= read(camera).time <= camera.clock()
            device.feed.put(None)

    def test_a_camera_that_vanishes_is_lost_and_comes_back(self) -> None:
        first, back = FakeDevice(10), FakeDevice(30)
        plugged = threading.Event()
        attempts: list[int | str] = []

        def open_device(source: int | str) -> FakeDevice:
            attempts.append(source)
            if len(attempts) == 1:
                return first
            return back if plugged.is_set() else FakeDevice(opened=False)

        with Camera(0, opener=open_device, retry_seconds=0.01) as camera:
            seen = [read(camera)]
            first.feed.put(20)
            seen.append(read(camera))
            first.feed.put(None)
            until(lambda: len(attempts) > 3)
            assert camera.status.state == "lost"
            assert "camera 0" in camera.status.text
            assert camera.read(timeout=0) is None
            assert not camera.ended
            assert first.released.is_set()
            plugged.set()
            seen.append(read(camera))
            assert camera.status.state == "live"
            back.feed.put(40)
            seen.append(read(camera))
            back.feed.put(None)
        assert [value_of(frame) for frame in seen] == [10, 20, 30, 40]
        assert [frame.index for frame in seen] == [0, 1, 2, 3]
        assert all(a.time < b.time for a, b in pairwise(seen))
        assert set(attempts) == {0}

    def test_an_error_of_opencv_is_a_loss_too(self) -> None:
        first, back = FakeDevice(10), FakeDevice(30)
        devices = iter([first, back])
        with Camera(0, opener=lambda source: next(devices), retry_seconds=0.01) as camera:
            read(camera)
            first.feed.put(cv2.error("gone"))
            assert read(camera).index == 1
            back.feed.put(None)

    def test_a_camera_that_falls_silent_counts_as_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        device = FakeDevice(1)
        with Camera(0, opener=lambda source: device) as camera:
            read(camera)
            assert camera.status.state == "live"
            monkeypatch.setattr(camera_module, "STALL_SECONDS", 0.0)
            until(lambda: camera.status.state == "lost")
            assert "waiting" in camera.status.text
            monkeypatch.undo()
            device.feed.put(None)

    @pytest.mark.parametrize("device", [FakeDevice(opened=False), FakeDevice(None)])
    def test_a_device_that_gives_nothing_is_one_error(self, device: FakeDevice) -> None:
        with Camera(4242, opener=lambda source: device) as camera:
            with pytest.raises(CameraError, match="camera 4242") as caught:
                camera.read(timeout=PATIENCE)
            assert camera.status.text == str(caught.value)
            assert "\n" not in str(caught.value)
            assert camera.read(timeout=0) is None
            assert camera.ended
        assert device.released.is_set()

    def test_iterating_raises_the_same_error(self) -> None:
        with Camera(4242, opener=lambda source: FakeDevice(opened=False)) as camera:
            until(lambda: camera.status.state == "ended")
            with pytest.raises(CameraError, match="camera 4242"):
                list(camera)

    @pytest.mark.parametrize("error", [cv2.error("no"), OSError("no")])
    def test_a_failing_opener_is_the_same_error(self, error: Exception) -> None:
        def fail(source: int | str) -> FakeDevice:
            raise error

        with Camera(4242, opener=fail) as camera, pytest.raises(CameraError, match="camera 4242"):
            camera.read(timeout=PATIENCE)

    def test_a_bug_in_the_thread_is_raised_where_frames_are_read(self) -> None:
        device = FakeDevice(1)
        with Camera(0, opener=lambda source: device) as camera:
            read(camera)
            device.feed.put(ZeroDivisionError("a bug"))
            with pytest.raises(ZeroDivisionError, match="a bug"):
                camera.read(timeout=PATIENCE)

    def test_a_missing_camera_prints_nothing_to_stderr(self, capfd: pytest.CaptureFixture[str]) -> None:
        with Camera(4242) as camera, pytest.raises(CameraError, match="camera 4242"):
            camera.read(timeout=PATIENCE)
        if sys.platform == "linux":  # macOS prints by itself
            assert capfd.readouterr().err == ""

    def test_a_password_is_shown_nowhere(self) -> None:
        with Camera("rtsp://me:s3cr@t@host/x", opener=lambda source: FakeDevice(opened=False)) as camera:
            assert camera.name == "rtsp://host/x"
            with pytest.raises(CameraError, match="check the address") as caught:
                camera.read(timeout=PATIENCE)
        assert "s3cr" not in str(caught.value) + camera.status.text

    def test_a_file_at_a_url_ends(self) -> None:
        opened = []

        def open_device(source: int | str) -> FakeDevice:
            assert not opened, "it is opened again"
            opened.append(source)
            return FakeDevice(1, 2, 3, None, n_frames=3)

        with Camera("http://host/clip.mp4", opener=open_device, retry_seconds=0) as camera:
            last = list(camera)[-1]
        assert (value_of(last), last.index) == (3, 2)
        assert opened == ["http://host/clip.mp4"]


class TestClosing:
    def close(self, camera: Camera) -> None:
        closing = threading.Thread(target=camera.close)
        closing.start()
        closing.join(PATIENCE)
        assert not closing.is_alive()

    def test_closing_does_not_wait_for_a_device_that_hangs(self) -> None:
        device = FakeDevice(1)
        camera = Camera(0, opener=lambda source: device)
        read(camera)
        until(lambda: device.reads == 2)
        self.close(camera)
        assert threads_of_cameras() == ["mien: camera 0"]  # still stuck
        assert not device.released.is_set()
        device.feed.put(2)
        assert device.released.wait(PATIENCE)
        assert camera.read(timeout=0) is None
        assert camera.ended

    def test_closing_does_not_wait_for_a_device_that_does_not_open(self) -> None:
        opens, device = threading.Event(), FakeDevice(None)

        def open_device(source: int | str) -> FakeDevice:
            opens.wait(PATIENCE)
            return device

        camera = Camera(0, opener=open_device)
        assert camera.status.state == "opening"
        self.close(camera)
        opens.set()
        assert device.released.wait(PATIENCE)
        assert camera.read(timeout=0) is None
        assert camera.status.text == "camera 0 is closed"

    def test_closing_ends_the_loop_of_another_thread_and_drops_unread_frames(self) -> None:
        device = FakeDevice(1)
        camera = Camera(0, opener=lambda source: device)
        seen: list[Frame] = []
        loop = threading.Thread(target=lambda: seen.extend(camera))
        loop.start()
        until(lambda: len(seen) == 1 or device.reads == 2)
        self.close(camera)
        loop.join(PATIENCE)
        assert not loop.is_alive()
        device.feed.put(None)
        assert camera.read(timeout=0) is None

    def test_closing_twice_does_no_harm(self, tmp_path: Path) -> None:
        camera = Camera(write_video(tmp_path / "a.mp4"), as_camera=True)
        camera.close()
        camera.close()
        assert list(camera) == []

    def test_closing_does_not_wait_for_a_camera_to_come_back(self) -> None:
        device = FakeDevice(1, None)
        camera = Camera(0, opener=lambda source: device, retry_seconds=1e6)
        until(lambda: camera.status.state == "lost")
        self.close(camera)
        assert threads_of_cameras() == []

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed on Linux alone")
    def test_no_file_stays_open(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", n=12)
        with Camera(path, as_camera=True, loop=True) as camera:
            read(camera)
        until(lambda: not threads_of_cameras())
        assert str(path) not in [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]


class TestStandIns:
    def test_a_video_plays_with_its_own_times_to_its_last_frame(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", n=10, fps=40)
        whole = list(frames(path))
        with Camera(path, as_camera=True) as camera:
            seen = []
            for frame in camera:
                assert camera.clock() >= frame.time - 0.01  # never before its time
                seen.append(frame)
            assert camera.status.state == "ended"
            assert camera.status.text == "a.mp4 has ended"
        assert all(a.index < b.index for a, b in pairwise(seen))
        assert seen[-1].index == 9
        for frame in seen:
            assert frame == whole[frame.index]
            assert (frame.image == whole[frame.index].image).all()

    def test_a_reader_that_sleeps_through_a_video_gets_its_last_frame(self, tmp_path: Path) -> None:
        with Camera(write_video(tmp_path / "a.mp4", n=10, fps=200), as_camera=True) as camera:
            until(lambda: camera.status.state == "ended")
            assert not camera.ended
            assert [frame.index for frame in camera] == [9]
            assert camera.ended

    def test_a_turned_video_is_upright(self, tmp_path: Path) -> None:
        with Camera(turn_clockwise(write_video(tmp_path / "a.mp4", fps=100)), as_camera=True) as camera:
            frame = read(camera)
        assert frame.image.shape == (64, 48, 3)
        assert frame.image[8, 24, 0] > 200

    def test_a_gif_keeps_its_times_and_repeats_with_increasing_ones(self, tmp_path: Path) -> None:
        images = [Image.new("RGB", (32, 32), (level, 0, 0)) for level in (0, 120, 240)]
        images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[30, 90, 20])
        seen: dict[int, float] = {}
        with Camera(tmp_path / "a.gif", as_camera=True, loop=True, fps=20) as camera:
            for frame in camera:
                seen[frame.index] = frame.time
                if frame.index >= 6:
                    break
        expected = [0.0, 0.03, 0.12, 0.17, 0.2, 0.29, 0.34]  # after the last, a pause of 1 / fps
        assert all(seen[i] == pytest.approx(expected[i], abs=1e-3) for i in seen if i <= 6)

    def test_pictures_of_a_folder_follow_one_another(self, tmp_path: Path) -> None:
        for i in range(4):
            Image.new("RGB", (8, 8), (60 * i, 0, 0)).save(tmp_path / f"{i}.png")
        with Camera(tmp_path, as_camera=True, fps=20) as camera:
            seen = list(camera)
        for frame in seen:
            assert frame.time == pytest.approx(frame.index / 20)
            assert frame.source == str(tmp_path / f"{frame.index}.png")
            assert frame.image[0, 0, 0] == 60 * frame.index
        assert seen[-1].index == 3

    def test_a_picture_is_turned_upright_by_exif(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (64, 32)).save(tmp_path / "a.jpg", exif=exif)
        with Camera(tmp_path / "a.jpg", as_camera=True) as camera:
            assert read(camera).image.shape == (64, 32, 3)

    def test_a_damaged_picture_is_an_error_after_the_good_ones(self, tmp_path: Path) -> None:
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
        (tmp_path / "b.png").write_bytes(b"broken")
        with Camera(tmp_path, as_camera=True) as camera:
            until(lambda: camera.status.state == "ended")
            assert read(camera).source == str(tmp_path / "a.png")
            assert not camera.ended
            with pytest.raises(UnreadablePicture, match=r"b\.png"):
                camera.read(timeout=0)
            assert camera.ended

    def test_a_missing_file_is_an_error(self, tmp_path: Path) -> None:
        with (
            Camera(tmp_path / "no.mp4", as_camera=True) as camera,
            pytest.raises(InputError, match="no file or folder"),
        ):
            camera.read(timeout=PATIENCE)

    def test_a_path_is_a_camera_only_if_asked_for(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="as_camera=True"):
            Camera(write_video(tmp_path / "a.mp4"))

    @pytest.mark.parametrize(("options", "words"), [({"fps": 0}, "fps is 0"), ({"fps": 2000}, "at most 1000")])
    def test_options_out_of_range_are_refused(self, options: dict[str, float], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            Camera(0, **options)

    def test_no_camera_has_a_negative_index(self) -> None:
        with pytest.raises(MienError, match="no camera -1"):
            Camera(-1)
