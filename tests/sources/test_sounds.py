"""Every kind of sound becomes 16 kHz mono with its true times, in constant memory; what is none is named."""

import builtins
import itertools
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from clips import write_video
from mien.errors import InputError, MissingExtra, NoSound
from mien.sources.frames import frames
from mien.sources.sounds import mono, sounds
from mien.structures import SAMPLE_RATE, Block, FloatArray
from speech import go_back, heard, join, silence, tone, write_clip, write_wav

Without = Callable[..., None]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Without:
    """Hide packages, as if they were not installed."""

    def hide(*names: str) -> None:
        module = sys.modules["mien.sources.sounds"]
        real, find = builtins.__import__, module.find_spec

        def fake(name: str, *rest: object, **options: object) -> object:
            if name in names:
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)
            return real(name, *rest, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(builtins, "__import__", fake)
        monkeypatch.setattr(module, "find_spec", lambda name: None if name in names else find(name))

    return hide


def hertz(samples: FloatArray) -> float:
    """Return the frequency of a tone by its crossings of zero."""
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    return float(np.count_nonzero(np.diff(np.signbit(middle))) / 2 / (len(middle) / SAMPLE_RATE))


def seconds(blocks: list[Block]) -> float:
    return sum(len(block.samples) for block in blocks) / SAMPLE_RATE


@pytest.mark.parametrize("library", ["libsndfile", "wave"])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_pcm_of_any_width_and_number_of_channels_is_read(
    tmp_path: Path, without: Without, library: str, width: int, channels: int
) -> None:
    if library == "wave":
        without("soundfile", "av")
    sound = tone(0.3)
    path = write_wav(tmp_path / "tone.wav", sound, width=width, channels=channels)
    blocks = list(sounds(path))
    assert heard(blocks) == pytest.approx(sound, abs=1.1 * 2 ** (1 - 8 * width) + 1e-6)
    assert blocks[0].time == 0
    assert blocks[0].samples.dtype == np.float32


@pytest.mark.parametrize("library", ["libsndfile", "wave", "av"])
@pytest.mark.parametrize(("gains", "loudness"), [((1, 0), 0.15), ((1, -1), 0.3), ((0.9, -1), 0.27),
    ((0, 0, 1, 0, 0, 0), 0.3), ((0.1, 0.1, -1, 1, 0, 0), 0.3)])  # fmt: skip
def test_channels_that_cancel_each_other_and_one_of_many_are_heard(
    tmp_path: Path, without: Without, library: str, gains: tuple[float, ...], loudness: float
) -> None:
    if library != "libsndfile":
        without("soundfile", *(["av"] if library == "wave" else []))
    path = write_wav(tmp_path / "tone.wav", np.outer(tone(1), np.float32(gains)))
    assert np.abs(heard(sounds(path))).max() == pytest.approx(loudness, abs=1e-3)


def test_of_channels_that_cancel_it_is_the_same_one_whichever_is_a_little_louder() -> None:
    sound = tone(0.1)
    for gain in (0.99, 1.01):
        assert mono(np.column_stack([sound, -gain * sound])) == pytest.approx(sound)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_becomes_16_khz_with_the_same_pitch_and_length(tmp_path: Path, rate: int) -> None:
    blocks = list(sounds(write_wav(tmp_path / "tone.wav", tone(1.5, rate=rate), rate=rate)))
    assert seconds(blocks) == pytest.approx(1.5, abs=0.001)
    assert hertz(heard(blocks)) == pytest.approx(300, rel=0.01)
    assert np.abs(heard(blocks)).max() == pytest.approx(0.3, abs=0.02)
    for before, after in itertools.pairwise(blocks):
        assert after.time == pytest.approx(before.end)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_the_formats_of_libsndfile_are_read(tmp_path: Path, suffix: str) -> None:
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / f"tone{suffix}"
    soundfile.write(path, np.column_stack([tone(2, rate=44_100)] * 2), 44_100)
    blocks = list(sounds(path))
    assert seconds(blocks) == pytest.approx(2, abs=0.1)
    assert hertz(heard(blocks)) == pytest.approx(300, rel=0.01)


def test_floating_point_is_read_and_kept_within_its_range(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "loud.wav", tone(0.5, loudness=3.0), SAMPLE_RATE, subtype="FLOAT")
    samples = heard(sounds(tmp_path / "loud.wav"))
    assert samples == pytest.approx(tone(0.5, loudness=3.0).clip(-1, 1))


@pytest.mark.parametrize("suffix", [".m4a", ".mp4", ".mkv", ".mov"])
def test_the_sound_of_videos_is_read(tmp_path: Path, suffix: str) -> None:
    path = write_clip(tmp_path / f"clip{suffix}", tone(2, rate=48_000), n_frames=0 if suffix == ".m4a" else 20)
    blocks = list(sounds(path))
    assert seconds(blocks) == pytest.approx(2, abs=0.06)
    assert hertz(heard(blocks)) == pytest.approx(300, rel=0.01)


@pytest.mark.parametrize(("sound_start", "video_start"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5)])
def test_the_sound_of_a_video_keeps_its_distance_to_the_frames(
    tmp_path: Path, sound_start: float, video_start: float
) -> None:
    """The tone begins 0.4 s after the sound does, and its time is that of the frame shown with it."""
    sound = join(silence(0.4, rate=48_000), tone(1, rate=48_000))
    path = write_clip(tmp_path / "clip.mkv", sound, sound_start=sound_start, video_start=video_start)
    blocks = list(sounds(path))
    begins = next(
        block.time + int(np.argmax(np.abs(block.samples) > 0.1)) / SAMPLE_RATE
        for block in blocks
        if np.abs(block.samples).max() > 0.1
    )
    assert next(iter(frames(path))).time == 0
    assert begins == pytest.approx(sound_start + 0.4 - video_start, abs=0.05)


def test_sound_alone_begins_at_zero_wherever_its_container_does(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "late.mka", tone(1, rate=48_000), n_frames=0, sound_start=3.0)
    assert next(iter(sounds(path))).time == pytest.approx(0, abs=0.03)


def test_where_the_times_of_a_video_go_back_sound_and_frames_go_on(tmp_path: Path) -> None:
    sound = join(tone(2, rate=48_000), tone(2, hertz=600, rate=48_000))
    path = go_back(write_clip(tmp_path / "clip.mkv", sound, n_frames=40), after=2)
    blocks, shown = list(sounds(path)), [frame.time for frame in frames(path)]
    assert [block.time for block in blocks] == sorted(block.time for block in blocks)
    assert seconds(blocks) == pytest.approx(4, abs=0.06)
    assert blocks[-1].end == pytest.approx(shown[-1] + 0.1, abs=0.15)
    assert hertz(heard(block for block in blocks if block.time > 2.3)) == pytest.approx(600, rel=0.01)


def test_sound_is_read_up_to_where_another_stream_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyAV raises an IndexError where a transport stream gets a track that its start lacks."""
    path = write_clip(tmp_path / "clip.ts", tone(2, rate=48_000), n_frames=0)
    module = sys.modules["mien.sources.sounds"]  # the package has a function of its name
    read = module._pyav_blocks

    class Joined:
        def __init__(self, container: object) -> None:
            self.container, self.streams = container, container.streams  # type: ignore[attr-defined]

        def demux(self, stream: object) -> Iterator[object]:
            yield from itertools.islice(self.container.demux(stream), 50)  # type: ignore[attr-defined]
            raise IndexError("list index out of range")

    monkeypatch.setattr(module, "_pyav_blocks", lambda container, path: read(Joined(container), path))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert seconds(list(sounds(path))) == pytest.approx(1, abs=0.2)
    assert "cannot be read on: it has other streams from there on" in str(caught[0].message)


def test_sound_that_outlasts_the_pictures_is_no_damage(tmp_path: Path) -> None:
    sound, start = tone(6, rate=48_000), {"n_frames": 40}
    clips = [write_clip(tmp_path / "long.mkv", sound, **start)]  # type: ignore[arg-type]
    clips.append(write_clip(tmp_path / "late.mkv", sound, video_start=2.0, **start))  # type: ignore[arg-type]
    assert [len(list(frames(clip))) for clip in clips] == [40, 40]
    data = clips[0].read_bytes()
    clips[0].write_bytes(data[: len(data) // 3])
    with pytest.warns(UserWarning, match="ends before its header says"):
        assert len(list(frames(clips[0]))) < 40


@pytest.mark.parametrize(("name", "codec", "n_frames"), [("clip.mkv", "aac", 20), ("sound.ogg", "libopus", 0)])
def test_of_several_tracks_the_first_is_read_with_a_warning(
    tmp_path: Path, name: str, codec: str, n_frames: int
) -> None:
    path = write_clip(tmp_path / name, tone(1, rate=48_000), n_frames=n_frames, codec=codec, n_tracks=3)
    with pytest.warns(UserWarning, match="has 3 sound tracks; only the first is heard"):
        assert hertz(heard(sounds(path))) == pytest.approx(300, rel=0.01)


def test_damaged_mp3_is_read_without_a_word_of_the_library(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "tone.mp3"
    soundfile.write(path, tone(5), SAMPLE_RATE)
    data = bytearray(path.read_bytes())
    for place in np.random.default_rng(0).integers(500, len(data), 300):
        data[place] ^= 0xFF
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        list(sounds(path))
    assert capfd.readouterr().err == ""


def test_samples_that_are_no_numbers_are_silence_with_a_warning(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    sound = tone(1)
    sound[100:200], sound[300] = np.nan, np.inf
    soundfile.write(tmp_path / "nan.wav", sound, SAMPLE_RATE, subtype="FLOAT")
    with pytest.warns(UserWarning, match="holds 101 NaN or infinite samples"):
        samples = heard(sounds(tmp_path / "nan.wav"))
    assert np.count_nonzero(samples[100:200]) == 0
    assert samples[400:] == pytest.approx(tone(1)[400:])


def test_samples_that_are_no_numbers_do_not_spread_when_the_rate_changes(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    sound = tone(1, rate=48_000)
    sound[::1000] = np.nan
    soundfile.write(tmp_path / "nan.wav", sound, 48_000, subtype="FLOAT")
    with pytest.warns(UserWarning, match="holds 48 NaN or infinite samples"):
        samples = heard(sounds(tmp_path / "nan.wav"))
    assert np.isfinite(samples).all()
    assert hertz(samples) == pytest.approx(300, rel=0.2)


@pytest.mark.parametrize("library", ["libsndfile", "wave"])
def test_a_wav_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path, without: Without, library: str) -> None:
    if library == "wave":
        without("soundfile", "av")
    path = write_wav(tmp_path / "cut.wav", tone(2), channels=2)
    path.write_bytes(path.read_bytes()[: 44 + SAMPLE_RATE * 4 + 3])  # in the middle of a sample
    with pytest.warns(UserWarning, match="64,047 of the 128,044 bytes that its header announces"):
        assert seconds(list(sounds(path))) == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize(("suffix", "share"), [(".flac", 0.5), (".mp4", 0.6)])
def test_other_sound_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"cut{suffix}"
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000 * 4).astype(np.float32)
    if suffix == ".flac":
        pytest.importorskip("soundfile").write(path, noise, 48_000)
    else:
        write_clip(path, noise, n_frames=40)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.warns(UserWarning, match="cut off or damaged"):
        assert 1 < seconds(list(sounds(path))) < 3.5


def test_a_packet_that_announces_gigabytes_ends_the_sound_with_a_warning(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "damaged.m4a", tone(4, rate=48_000), n_frames=0)
    data = bytearray(path.read_bytes())
    sizes = data.index(b"stsz") + 16  # of the packets, 4 bytes each (ISO/IEC 14496-12)
    data[sizes + 400 : sizes + 404] = b"\x7f\xff\xff\x00"
    path.write_bytes(data)
    with pytest.warns(UserWarning, match="cut off or damaged"):
        assert 1 < seconds(list(sounds(path))) < 3.5


def test_a_wav_written_into_a_pipe_announces_no_size_and_is_whole(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "piped.wav", tone(1))
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert seconds(list(sounds(path))) == pytest.approx(1)


def test_a_fifth_of_a_second_and_a_single_sample_are_read(tmp_path: Path) -> None:
    assert seconds(list(sounds(write_wav(tmp_path / "a.wav", tone(0.2, rate=44_100), rate=44_100)))) == pytest.approx(
        0.2, abs=0.001
    )
    assert len(heard(sounds(write_wav(tmp_path / "b.wav", tone(1)[:1])))) == 1


def test_reading_a_long_file_holds_a_small_part_of_it(tmp_path: Path) -> None:
    """Two hours: the data chunk is a hole in the file, which takes no room on the disk."""
    path = write_wav(tmp_path / "long.wav", silence(0))
    n = 2 * 3600 * SAMPLE_RATE
    header = bytearray(path.read_bytes())
    header[4:8], header[40:44] = struct.pack("<I", 36 + 2 * n), struct.pack("<I", 2 * n)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(44 + 2 * n)
    largest, n_blocks, end = 0, 0, 0.0
    for block in sounds(path):
        largest, n_blocks, end = max(largest, len(block.samples)), n_blocks + 1, block.end
    assert end == 7200
    assert largest <= 16_000
    assert n_blocks > 7000


@pytest.mark.parametrize(
    ("name", "data", "kind", "message"),
    [
        ("text.wav", b"I am a text, not a sound.\n" * 9, InputError, "'.*text.wav' is a text file; expected WAV, FLAC"),
        ("page.mp3", b"<!doctype html><html></html>", InputError, "is a web page"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", InputError, "is a text file"),
        ("empty.wav", b"", InputError, "is empty"),
        ("header.wav", b"RIFF\x24\0\0\0WAVEfmt ", InputError, "cannot read the sound of"),
        ("noise.m4a", bytes(range(128, 256)) * 40, InputError, "cannot read the sound of"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*its header announces")
def test_what_is_no_sound_is_named(tmp_path: Path, name: str, data: bytes, kind: type, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(kind, match=message):
        list(sounds(path))


def test_a_wav_without_samples_has_no_sound(tmp_path: Path) -> None:
    with pytest.raises(NoSound, match="has no samples"):
        list(sounds(write_wav(tmp_path / "none.wav", silence(0))))


def test_a_video_without_sound_and_a_picture_are_named(tmp_path: Path) -> None:
    with pytest.raises(NoSound, match=r"silent.mp4' has no sound; expected WAV"):
        list(sounds(write_video(tmp_path / "silent.mp4")))
    with pytest.raises(NoSound, match="is a picture"):
        list(sounds(Path(__file__).parents[2] / "docs" / "images" / "astronaut.png"))


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; expected a file: WAV"):
        list(sounds(tmp_path))
    with pytest.raises(InputError, match="no file or folder"):
        list(sounds(tmp_path / "gone.wav"))


def test_a_square_wave_at_another_rate_stays_within_its_range(tmp_path: Path) -> None:
    loud = np.sign(tone(1, rate=48_000))
    assert np.abs(heard(sounds(write_wav(tmp_path / "loud.wav", loud, rate=48_000)))).max() <= 1


def test_an_impossible_rate_is_damage(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="announces 1 channels of 100 samples per second; expected 1 to 64 of 4,000"):
        list(sounds(write_wav(tmp_path / "slow.wav", tone(1), rate=100)))


def test_missing_packages_are_named(tmp_path: Path, without: Without) -> None:
    clip = write_clip(tmp_path / "clip.mp4", tone(1, rate=48_000))
    other_rate = write_wav(tmp_path / "other.wav", tone(1, rate=8_000), rate=8_000)
    without("soundfile", "av", "soxr")
    with pytest.raises(MissingExtra, match=r"reading '.*clip.mp4' needs the 'video' extra"):
        list(sounds(clip))
    with pytest.raises(MissingExtra, match=r"sound of 8000 samples per second needs the 'voice' extra"):
        list(sounds(other_rate))
    (tmp_path / "tone.flac").write_bytes(b"fLaC" + bytes(100))
    with pytest.raises(MissingExtra, match=r"reading '.*tone.flac' needs the 'voice' extra"):
        list(sounds(tmp_path / "tone.flac"))
