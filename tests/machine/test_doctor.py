"""`mien doctor`: system information for bug reports, and hints on problems."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from commands import run
from detectors import yunet_file
from mien.errors import MicrophoneError, MissingExtra
from mien.machine.doctor import doctor
from mien.models.store import user_dir
from mien.sources.devices import CameraInfo
from mien.sources.microphone import MicrophoneInfo

DOCTOR = importlib.import_module("mien.machine.doctor")  # the function of that name hides it in the package

pytestmark = pytest.mark.usefixtures("own_folder")


def hints(models_dir: Path | None = None) -> str:
    return "\n".join(str(doctor(models_dir)["hints"]).split("', '"))


def test_facts_are_plain_data() -> None:
    facts = doctor()
    assert json.loads(json.dumps(facts)) == facts
    assert {"mien", "python", "processor", "cores", "torch", "pygubu", "tk", "display", "yunet"} <= set(facts)
    assert str(facts["opencv"]).startswith(cv2.__version__)
    assert "CPUExecutionProvider" in facts["onnxruntime_providers"]
    assert "FFMPEG" in facts["video_backends"]
    assert "base (face, mien)" in facts["models"]
    assert facts["models_dir"] == str(user_dir())


def test_models_of_all_kinds_are_listed() -> None:
    models = doctor()["models"]
    assert isinstance(models, list)
    assert {"base (face, mien)", "base-photos-temporal (temporal, mien)", "voice (voice, mien)"} <= set(models)


def test_cameras_are_listed_and_missing_ones_give_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DOCTOR, "list_cameras", lambda: [CameraInfo(2, "UVC Camera", "/dev/video2")])
    assert doctor()["cameras"] == ["2: UVC Camera /dev/video2"]
    assert "no camera" not in hints()
    monkeypatch.setattr(DOCTOR, "list_cameras", list)
    assert doctor()["cameras"] == []
    assert "no camera found: plug one in" in hints()


def test_microphones_are_listed_and_missing_ones_give_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    found = MicrophoneInfo(1, "USB Microphone", "ALSA", 48_000.0, True)
    monkeypatch.setattr(DOCTOR, "list_microphones", lambda: [found])
    assert doctor()["microphones"] == ["1: USB Microphone (ALSA), the default"]
    assert "microphone" not in hints()
    monkeypatch.setattr(DOCTOR, "list_microphones", list)
    assert doctor()["microphones"] == []
    assert "no microphone was found: plug one in" in hints()


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (MicrophoneError("PortAudio, the library for microphones, is missing"), "PortAudio, the library"),
        (MissingExtra("the microphone", "voice"), ""),
    ],
)
def test_a_missing_portaudio_is_a_hint_but_a_missing_extra_is_none(
    monkeypatch: pytest.MonkeyPatch, error: Exception, hint: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(DOCTOR, "list_microphones", fail)
    assert doctor()["microphones"] == []
    assert hint in hints()
    assert ("microphone" in hints()) == bool(hint)


def test_an_unusable_model_is_a_hint(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"x")
    (tmp_path / "good.onnx").write_bytes(tiny_model.read_bytes())
    facts = doctor(tmp_path)
    assert facts["models_dir"] == str(tmp_path)
    assert "good (face, you)" in facts["models"]
    assert not any(str(model).startswith("broken") for model in facts["models"])
    assert "broken.onnx is not an ONNX file" in hints(tmp_path)


def test_the_detector_is_yunet_if_its_file_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mien.vision.fetch.cache_dir", lambda: tmp_path / "cache")
    facts = doctor()
    assert (facts["detector"], facts["yunet"]) == ("haar", "")
    assert "YuNet, the better face detector, is not here: run `mien doctor --fetch`" in hints()
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv("MIEN_YUNET", str(yunet_file()))
    facts = doctor()
    assert (facts["detector"], facts["yunet"]) == ("yunet", str(yunet_file()))
    assert "YuNet" not in hints()


def test_a_wrong_file_in_place_of_yunet_is_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIEN_YUNET", str(tmp_path / "yunet.onnx"))
    assert "which is not a file" in hints()
    (tmp_path / "yunet.onnx").touch()
    assert "which is damaged or another file" in hints()
    assert doctor()["detector"] == "haar"


def test_fetch_fetches_yunet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fetched: list[float] = []
    monkeypatch.setattr("mien.vision.fetch.fetch_yunet", lambda *, seconds: fetched.append(seconds))
    assert run("doctor", "--fetch", "--json") == 0
    assert json.loads(capsys.readouterr().out)["detector"] == "haar"
    assert fetched == [120]  # the user asked for it, perhaps through a slow line


def test_missing_packages_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DOCTOR, "OPTIONAL", ("no-such-package",))
    monkeypatch.setitem(sys.modules, "_tkinter", None)
    facts = doctor()
    assert facts["no-such-package"] == "not installed"
    assert facts["tk"] == "not installed"
    assert "no Tk, so no window" in hints()


def test_several_opencv_packages_are_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "several OpenCV" not in hints()
    both = {"cv2": ["opencv-python", "opencv-python-headless", "opencv-python"]}
    monkeypatch.setattr(DOCTOR, "packages_distributions", lambda: both)
    assert doctor()["opencv_packages"] == ["opencv-python", "opencv-python-headless"]
    assert "several OpenCV packages" in hints()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there is always a display")
def test_the_display_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":7")
    assert doctor()["display"] == ":7"
    assert "no display" not in hints()
    monkeypatch.delenv("DISPLAY")
    assert "no display" in hints()


def test_doctor_loads_no_torch_and_no_window() -> None:
    code = "import sys; from mien.machine.doctor import doctor; doctor();"
    code += "print(*{'torch', 'tkinter', 'pygubu'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
    assert done.stderr == ""


def test_the_command_prints_a_table_and_hints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DOCTOR, "list_cameras", lambda: [CameraInfo(0, "[bold]Cam", "/dev/video0")])
    monkeypatch.setitem(sys.modules, "_tkinter", None)
    assert run("doctor") == 0
    printed = capsys.readouterr().out
    assert "0: [bold]Cam /dev/video0" in printed
    assert cv2.__version__ in printed
    assert "hint: no Tk" in printed


def test_the_command_prints_only_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["python"] == ".".join(str(part) for part in sys.version_info[:3])
    assert isinstance(facts["hints"], list)
