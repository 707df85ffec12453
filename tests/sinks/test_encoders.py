"""Annotated videos play in browsers, keep uneven times, and keep the sound."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from disks import no_room_for
from mien.errors import OutputError, UnwritableImage
from mien.sinks import encoders
from mien.sinks.annotated import AnnotatedSink
from mien.sinks.videos import VideoSink
from mien.sources.frames import frames, open_media
from mien.sources.media import FrameSelection
from mien.structures import ImageArray

av = pytest.importorskip("av", reason="needs the extra: pip install 'mien[video]'")


def image(level: int) -> ImageArray:
    return np.full((48, 64, 3), 20 * (level % 10), np.uint8)


def write(path: Path, times: list[float], **options: object) -> Path:
    with VideoSink(path, fps=10, **options) as sink:
        for level, time in enumerate(times):
            sink.write(image(level), time=time)
    return path


def write_one(path: Path, image: ImageArray) -> None:
    with VideoSink(path, fps=10) as sink:
        sink.write(image)


def video_with_sound(path: Path, codec: str = "aac", *, seconds: float = 2.0) -> Path:
    """Write ten images a second and a tone of 440 Hz."""
    with av.open(str(path), "w") as file:
        video, audio = file.add_stream("mpeg4", rate=10), file.add_stream(codec, rate=48_000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio.layout = "mono"
        for level in range(round(10 * seconds)):
            file.mux(video.encode(av.VideoFrame.from_ndarray(image(level))))
        wave = np.sin(2 * np.pi * 440 * np.arange(round(48_000 * seconds)) / 48_000)
        sound = av.AudioFrame.from_ndarray((wave * 20_000).astype(np.int16)[None], format="s16", layout="mono")
        sound.sample_rate = 48_000
        file.mux([*audio.encode(sound), *audio.encode(), *video.encode()])
    return path


def tone(path: Path) -> tuple[str, float, float]:
    """Return codec, length in seconds and main frequency in Hz of a file's sound."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        codec = stream.codec_context.codec.canonical_name
        wave = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(stream)]).astype(float)
        spectrum = np.abs(np.fft.rfft(wave))
        return codec, len(wave) / stream.rate, float(spectrum.argmax() * stream.rate / len(wave))


def test_a_constant_rate_repeats_images_to_keep_their_times(tmp_path: Path) -> None:
    encoder = encoders.OpenCvEncoder(tmp_path / "a.avi", fps=10, size=(64, 48))
    for level, time in enumerate([3.0, 3.1, 3.5, 3.62, 4.0]):
        encoder.write(image(level), time)
    encoder.close()
    levels = [round(frame.image.mean() / 20) for frame in frames(tmp_path / "a.avi")]
    assert levels == [0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 4]


def test_images_that_a_constant_rate_leaves_out_are_counted(tmp_path: Path) -> None:
    encoder = encoders.OpenCvEncoder(tmp_path / "a.avi", fps=10, size=(64, 48))
    for level, time in enumerate([0, 0.01, 0.02, 0.1]):
        encoder.write(image(level), time)
    with pytest.warns(UserWarning, match="2 images at uneven times were left out .* 'video' extra keeps all"):
        encoder.close()
    assert [round(frame.image.mean() / 20) for frame in frames(tmp_path / "a.avi")] == [2, 3]


def test_a_long_gap_at_a_constant_rate_is_shortened_with_a_warning(tmp_path: Path) -> None:
    encoder = encoders.OpenCvEncoder(tmp_path / "a.avi", fps=1, size=(64, 48))
    for level, time in enumerate([0, 65535, 65536, 131071]):
        encoder.write(image(level), time)
    with pytest.warns(UserWarning, match="2 gaps between two images shortened to 10 s"):
        encoder.close()
    assert [round(frame.image.mean() / 20) for frame in frames(tmp_path / "a.avi")] == [0] * 10 + [1] + [2] * 10 + [3]


@pytest.mark.parametrize("suffix", ["avi", "mp4", "webm"])
def test_a_constant_rate_below_those_of_files_is_raised(tmp_path: Path, suffix: str) -> None:
    encoder = encoders.OpenCvEncoder(tmp_path / f"a.{suffix}", fps=1 / 65535, size=(64, 48))
    for level, time in enumerate([0, 10, 30]):
        encoder.write(image(level), time)
    with pytest.warns(UserWarning, match="1 gap between two images shortened to 10 s"):
        encoder.close()
    assert [round(frame.image.mean() / 20) for frame in frames(tmp_path / f"a.{suffix}")] == [0, 1, 2]


@pytest.mark.parametrize("extra", [True, False])
@pytest.mark.parametrize("suffix", ["mp4", "webm", "avi"])
def test_images_with_more_pixels_a_side_than_a_codec_has_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, extra: bool
) -> None:
    if not extra:
        monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    wide = np.zeros((2, 1_000_000, 3), np.uint8)
    path = tmp_path / f"a.{suffix}"
    with pytest.raises(UnwritableImage, match=r"cannot write '.*a\.\w+': .* has at most [\d,]+ pixels a side"):
        write_one(path, wide)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_codec_is_none_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "MAX_SIDES", dict.fromkeys(encoders.MAX_SIDES, 1_000_000))
    with pytest.raises(UnwritableImage, match=r"FFmpeg cannot encode it .*; choose another format"):
        write_one(tmp_path / "a.mp4", np.zeros((2, 20_000, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_stopped_right_after_an_image_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoders.OpenCvEncoder(tmp_path / "a.avi", fps=10, size=(64, 48))
    writer = encoder._writer

    class Stopped:
        def write(self, image: ImageArray) -> None:
            writer.write(image)
            raise KeyboardInterrupt

    encoder.write(image(0), 0.0)
    monkeypatch.setattr(encoder, "_writer", Stopped())
    with pytest.raises(KeyboardInterrupt):
        encoder.write(image(1), 0.1)
    monkeypatch.setattr(encoder, "_writer", writer)
    encoder.close()
    assert len(list(frames(tmp_path / "a.avi"))) == 2


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "h264"), ("mov", "h264"), ("m4v", "h264"), ("mkv", "h264"), ("webm", "vp9")]
)
def test_videos_are_of_a_codec_that_browsers_play(
    tmp_path: Path, suffix: str, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    with av.open(str(write(tmp_path / f"a.{suffix}", [0, 0.1, 0.2]))) as file:
        video = file.streams.video[0]
        assert (video.codec_context.codec.canonical_name, video.pix_fmt) == (codec, "yuv420p")
    assert caplog.records == []  # PyAV logs options that it has no use for


def test_the_index_of_an_mp4_comes_first_so_that_it_plays_while_it_loads(tmp_path: Path) -> None:
    data = write(tmp_path / "a.mp4", [0, 0.1, 0.2]).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_uneven_times_are_kept(tmp_path: Path, suffix: str) -> None:
    times = [0, 0.1, 0.15, 0.9, 2.0]
    found = list(frames(write(tmp_path / f"a.{suffix}", times)))
    assert [frame.time for frame in found] == pytest.approx(times, abs=1e-3)
    assert [round(frame.image.mean() / 20) for frame in found] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_a_gap_of_hours_is_shortened_with_a_warning(tmp_path: Path, suffix: str) -> None:
    with pytest.warns(UserWarning, match="2 gaps between two images shortened to 1,800 s"):
        path = write(tmp_path / f"a.{suffix}", [0, 0.1, 65535.1, 131071.1, 131071.2])
    assert [frame.time for frame in frames(path)] == pytest.approx([0, 0.1, 1800.1, 3600.1, 3600.2], abs=2e-3)


def test_many_gaps_of_half_an_hour_are_kept(tmp_path: Path) -> None:
    times = [1800.0 * i for i in range(30)]
    assert [frame.time for frame in frames(write(tmp_path / "a.mp4", times))] == pytest.approx(times, abs=1e-3)


def test_a_time_that_goes_back_comes_right_after_the_last_one(tmp_path: Path) -> None:
    found = [frame.time for frame in frames(write(tmp_path / "a.mp4", [0, 1, 0.5]))]
    assert found == pytest.approx([0, 1, 1], abs=1e-3)


@pytest.mark.parametrize(
    ("source", "codec", "copy", "expected"),
    [
        ("a.mp4", "aac", "b.mp4", "aac"),
        ("a.mov", "pcm_s16le", "b.mov", "aac"),  # browsers don't play PCM in it
        ("a.mkv", "libopus", "b.webm", "opus"),
        ("a.mp4", "aac", "b.webm", "opus"),
    ],
)
def test_the_sound_of_a_video_is_kept(tmp_path: Path, source: str, codec: str, copy: str, expected: str) -> None:
    path = video_with_sound(tmp_path / source, codec)
    write(tmp_path / copy, [i / 10 for i in range(20)], sound=path)
    found, seconds, frequency = tone(tmp_path / copy)
    assert found == expected
    assert seconds == pytest.approx(2, abs=0.1)
    assert frequency == pytest.approx(440, abs=2)


def test_sound_whose_times_jump_back_goes_on(tmp_path: Path) -> None:
    part = video_with_sound(tmp_path / "part.ts", seconds=1.0)
    (tmp_path / "joined.ts").write_bytes(part.read_bytes() * 3)
    write(tmp_path / "b.mp4", [i / 10 for i in range(30)], sound=tmp_path / "joined.ts")
    assert tone(tmp_path / "b.mp4")[1] == pytest.approx(3, abs=0.15)


def test_the_sound_ends_with_the_last_image(tmp_path: Path) -> None:
    write(tmp_path / "b.mp4", [i / 10 for i in range(5)], sound=video_with_sound(tmp_path / "a.mp4"))
    assert tone(tmp_path / "b.mp4")[1] == pytest.approx(0.5, abs=0.05)


def test_a_video_without_sound_stays_without(tmp_path: Path) -> None:
    write(tmp_path / "b.mp4", [0, 0.1], sound=write(tmp_path / "a.mp4", [0, 0.1]))
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert len(file.streams.audio) == 0


def test_an_annotated_copy_keeps_sound_and_times(tmp_path: Path) -> None:
    path = video_with_sound(tmp_path / "a.mp4")
    with AnnotatedSink(path, tmp_path / "seen") as sink:
        for frame in frames(path):
            sink.write(frame, [])
    assert tone(tmp_path / "seen" / "a.mp4")[1] == pytest.approx(2, abs=0.1)
    assert [frame.time for frame in frames(tmp_path / "seen" / "a.mp4")] == pytest.approx(
        [frame.time for frame in frames(path)], abs=1e-3
    )


def test_without_the_extra_videos_are_mpeg4_and_one_warning_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    encoders._warn_of_mpeg4.cache_clear()
    with pytest.warns(UserWarning, match=r"browsers don't play.*pip install .*\[video\]"):
        write(tmp_path / "a.mp4", [0, 0.1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(tmp_path / "b.mp4", [0, 0.1], sound=tmp_path / "a.mp4")
        write(tmp_path / "b.webm", [0, 0.1])
    for name, codec in [("a.mp4", "mpeg4"), ("b.mp4", "mpeg4"), ("b.webm", "vp8")]:
        with av.open(str(tmp_path / name)) as file:
            assert file.streams.video[0].codec_context.codec.canonical_name == codec
            assert len(list(frames(tmp_path / name))) == 2


def test_no_room_for_an_image_is_an_error_and_no_crash(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)

    def write_until_full() -> None:
        with no_room_for(100_000), VideoSink(tmp_path / "a.mp4", fps=25) as sink:
            for _ in range(200):
                sink.write(noise)

    with pytest.raises(OutputError, match=r"cannot write all of '.*a\.mp4': File too large"):
        write_until_full()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extra", [True, False])
def test_an_annotated_video_is_opened_once_and_its_copy_at_most_once_to_check_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: bool
) -> None:
    path, opened = write(tmp_path / "a.webm", [0, 0.1, 0.2]), []
    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda name: opened.append(name) or capture(name))
    if not extra:
        monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    with open_media(path) as (media, stream), AnnotatedSink(path, tmp_path / "seen", media=media) as sink:
        for frame in stream:
            sink.write(frame, [])
    assert len(opened) == (1 if extra else 2)


def test_the_copy_of_a_stretch_has_its_sound(tmp_path: Path) -> None:
    source = video_with_sound(tmp_path / "a.mp4", seconds=3.0)
    selection = FrameSelection(start=1.0, stop=2.0)
    with (
        open_media(source, selection=selection) as (media, stream),
        AnnotatedSink(source, tmp_path / "seen", media=media, selection=selection) as sink,
    ):
        for frame in stream:
            sink.write(frame, [])
    assert [frame.time for frame in frames(sink.path)] == pytest.approx([i / 10 for i in range(10)])
    _, seconds, hertz = tone(sink.path)
    assert seconds == pytest.approx(1, abs=0.1)
    assert hertz == pytest.approx(440, abs=2)
