"""Sound of files as blocks of 16 kHz mono: WAV, FLAC, OGG, MP3 by libsndfile, all else and videos by PyAV."""

from __future__ import annotations

import os
import sys
import warnings
import wave
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import InputError, MissingExtra, NoSound, needs
from mien.files import as_path, printable
from mien.quiet import silent_libraries
from mien.sources.content import HEADER_BYTES, SOUND, decoder_of, kind_of
from mien.sources.paths import opened_file
from mien.sources.videos import MIN_SHORTFALL_SECONDS, SHORTFALL
from mien.structures import SAMPLE_RATE, Block, FloatArray

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from soundfile import SoundFile

SOUND_FORMATS = "WAV, FLAC, OGG, MP3, M4A or a video with sound"
CHUNK = 8192  # samples per channel that are read at a time
MIN_RATE, MAX_RATE = 4_000, 1_000_000  # samples per second; others are damage
MAX_CHANNELS = 64
KEPT = 0.1  # share of the loudest channel's energy; with less, their mean has lost it
OGG_SOUNDS = (b"OpusHead", b"\x01vorbis", b"\x7fFLAC", b"Speex   ")  # a track's first bytes, all at the start: RFC 3533
STREAMED = 0x7FFF_0000  # bytes from which on the size in a WAV's header is that of a program that wrote into a pipe
CUT = "it is cut off or damaged; it is read as far as possible"


def sounds(path: str | Path) -> Iterator[Block]:
    """Yield the sound of a file, block after block, in constant memory.

    libsndfile (the extra `voice`) reads WAV, FLAC, OGG and MP3; PyAV (the extra `video`) reads everything else, such as
    M4A and the sound of videos. Without them, WAV of 8 to 32 bits at 16 kHz is read.
    Channels are averaged, see `mono`. Of several tracks the first is read, NaN and infinite samples are read as
    silence, and a file that is cut off as far as it goes, each with a warning.

    Args:
        path: A sound file, or a video. The times of a video's sound are in step with those of its frames, see
            `frames`: it may begin before or after 0. Sound alone begins at 0.

    Raises:
        InputError: There is no such file, it is of another kind, or damaged; raised when the first block is asked for.
        NoSound: It is a picture, or a video without sound; likewise.
        MissingExtra: A package that reads this file is not installed; likewise.

    Example:
        >>> for block in sounds("speech.wav"):
        ...     print(block.time, abs(block.samples).max())
    """
    path = as_path(path)
    with opened_file(path, expected=f"a file: {SOUND_FORMATS}") as file:
        start = file.read(HEADER_BYTES)
    _check_kind(start, path)
    cleaner, empty = Cleaner(), True
    for block in _blocks(path, start, cleaner):
        empty = False
        yield block
    if empty:
        raise NoSound(f"'{printable(path)}' has no samples; expected {SOUND_FORMATS}")
    if cleaner.n_bad:
        warnings.warn(
            f"'{printable(path)}' holds {cleaner.n_bad:,} NaN or infinite samples; they are read as silence",
            stacklevel=2,
        )


class Resampler:
    """Resamples a stream to `SAMPLE_RATE` by soxr, piece by piece.

    Args:
        rate: Samples per second of the stream.

    Raises:
        MissingExtra: The rate is another one, and soxr is not installed.
    """

    def __init__(self, rate: float) -> None:
        self._stream: Any = None
        if rate != SAMPLE_RATE:
            with needs(f"sound of {rate:g} samples per second", "voice"):
                import soxr
            self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1)

    def __call__(self, samples: FloatArray, *, last: bool = False) -> FloatArray:
        """Return the samples that are ready, float32 (m,); the filter holds some back until the last piece."""
        if self._stream is None:
            return samples
        resampled = np.asarray(self._stream.resample_chunk(samples, last=last), np.float32)
        return resampled.clip(-1, 1)  # the filter rings where samples are clipped

    @property
    def delay(self) -> float:
        """The samples at `SAMPLE_RATE` that are held back."""
        return 0.0 if self._stream is None else float(self._stream.delay())


def mono(samples: FloatArray) -> FloatArray:
    """Return the mean of the channels of samples (n, channels), float32 (n,).

    Where that has less than `KEPT` of the loudest channel's energy, return the first channel with half as much or more:
    channels cancel each other where one is the inverse of another, and a voice in one of many channels gets quiet.
    """
    if samples.shape[1] == 1:
        return samples[:, 0].copy()
    mean: FloatArray = samples.mean(axis=1, dtype=np.float32)
    energies = np.square(samples, dtype=np.float64).sum(axis=0)
    if np.square(mean, dtype=np.float64).sum() < KEPT * energies.max():
        return samples[:, np.argmax(energies >= energies.max() / 2)].copy()
    return mean


def _check_kind(start: bytes, path: Path) -> None:
    """Refuse files of other kinds; FFmpeg would draw a text, and open the files that a playlist names."""
    name = printable(path)
    if not start:
        raise InputError(f"'{name}' is empty; expected {SOUND_FORMATS}")
    if decoder_of(start) is not None:
        raise NoSound(f"'{name}' is a picture; expected {SOUND_FORMATS}")
    kind = kind_of(start)
    if kind is not None and kind != SOUND:
        raise InputError(f"'{name}' is {kind}; expected {SOUND_FORMATS}")


def _blocks(path: Path, start: bytes, cleaner: Cleaner) -> Iterator[Block]:
    """Return the blocks of a file by the first library that reads it."""
    is_wav = start[:4] == b"RIFF" and start[8:12] == b"WAVE"
    if is_wav:
        _warn_if_shorter(path, int.from_bytes(start[4:8], "little") + 8)
    if (file := _opened_by_libsndfile(path)) is not None:
        _warn_of_other_tracks(path, sum(start.count(mark) for mark in OGG_SOUNDS))
        return _by_libsndfile(file, path, cleaner)
    if find_spec("av") is not None:
        return _by_pyav(path, cleaner)
    if is_wav:
        return _by_wave(path, cleaner)
    raise MissingExtra(f"reading '{printable(path)}'", "voice" if kind_of(start) == SOUND else "video")


class Cleaner:
    """Returns samples as numbers in [-1, 1], and counts those that were none."""

    def __init__(self) -> None:
        self.n_bad = 0

    def __call__(self, samples: FloatArray) -> FloatArray:
        bad = ~np.isfinite(samples)
        self.n_bad += int(bad.sum())
        return np.where(bad, np.float32(0), samples).clip(-1, 1)


def _opened_by_libsndfile(path: Path) -> SoundFile | None:
    """Return the opened file; None where libsndfile is missing, or doesn't know this kind of file."""
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: without the library itself
        return None

    class Forward(soundfile.SoundFile):  # type: ignore[misc]
        """Never seeks. soundfile does after each piece, which garbles MP3: its frames need those before them."""

        def seekable(self) -> bool:
            return False

    try:
        with silent_libraries():  # libmpg123
            return Forward(
                path if sys.platform == "win32" else os.fsencode(path)
            )  # it refuses a str of undecodable bytes
    except soundfile.SoundFileError:
        return None


def _by_libsndfile(file: SoundFile, path: Path, cleaner: Cleaner) -> Iterator[Block]:
    from soundfile import SoundFileError

    n_read = 0

    def pieces() -> Iterator[FloatArray]:
        nonlocal n_read
        with suppress(SoundFileError):  # of a file that is cut off
            while len(samples := read()):
                n_read += len(samples)
                yield mono(samples)

    def read() -> FloatArray:
        with silent_libraries():
            return np.asarray(file.read(CHUNK, dtype="float32", always_2d=True), np.float32)

    with file:
        _check_format(path, file.samplerate, file.channels)
        yield from _resampled(map(cleaner, pieces()), file.samplerate)
        _warn_if_cut(path, n_read / file.samplerate, file.frames / file.samplerate)


def _by_wave(path: Path, cleaner: Cleaner) -> Iterator[Block]:
    """Yield the blocks of a WAV by the standard library."""

    def pieces() -> Iterator[FloatArray]:
        while len(data := file.readframes(CHUNK)) >= frame_bytes:
            whole = data[: len(data) // frame_bytes * frame_bytes]
            yield mono(_pcm(whole, file.getsampwidth()).reshape(-1, file.getnchannels()))

    with opened_file(path) as opened:
        try:
            file = wave.open(opened)  # noqa: SIM115  # closed with the file
        except (wave.Error, EOFError) as error:
            if "unknown format" in str(error):  # floating point, or compressed
                raise MissingExtra(f"reading '{printable(path)}'", "voice") from error
            raise _damaged(path, error) from error
        _check_format(path, file.getframerate(), file.getnchannels())
        frame_bytes = file.getsampwidth() * file.getnchannels()
        yield from _resampled(map(cleaner, pieces()), file.getframerate())


def _pcm(data: bytes, width: int) -> FloatArray:
    """Return samples of `width` bytes as float32 in [-1, 1); those of one byte are unsigned."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
    padded = np.zeros((len(data) // width, 4), np.uint8)
    padded[:, 4 - width :] = np.frombuffer(data, np.uint8).reshape(-1, width)
    return (padded.view("<i4")[:, 0] / 2**31).astype(np.float32)


def _resampled(pieces: Iterator[FloatArray], rate: int) -> Iterator[Block]:
    """Yield the blocks of a stream without gaps that begins at 0."""
    resample, n = Resampler(rate), 0
    for samples in map(resample, pieces):
        if len(samples):
            yield Block(n / SAMPLE_RATE, samples)
            n += len(samples)
    if len(rest := resample(np.empty(0, np.float32), last=True)):
        yield Block(n / SAMPLE_RATE, rest)


def _by_pyav(path: Path, cleaner: Cleaner) -> Iterator[Block]:
    import av

    begin = end = None
    with opened_file(path) as file:
        try:
            container = av.open(file, "r", metadata_errors="ignore")
        except (av.FFmpegError, ValueError) as error:
            raise _damaged(path, error) from error
        with container:
            if not container.streams.audio:
                raise NoSound(f"'{printable(path)}' has no sound; expected {SOUND_FORMATS}")
            _warn_of_other_tracks(path, len(container.streams.audio))
            for block in _pyav_blocks(container, path):
                begin, end = block.time if begin is None else begin, block.end
                yield Block(block.time, cleaner(block.samples))
            stream = container.streams.audio[0]
            if begin is not None and end is not None and stream.duration is not None and stream.time_base is not None:
                _warn_if_cut(path, end - begin, float(stream.duration * stream.time_base))


def _pyav_blocks(container: InputContainer, path: Path) -> Iterator[Block]:
    """Yield the blocks of the first sound stream, at the file's own times: there may be gaps between them.

    Where the times go back, sound goes on without a gap, as frames do in `videos`.
    """
    import av

    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise _damaged(path, ValueError("FFmpeg doesn't know its codec"))
    _check_format(path, stream.rate, stream.channels)
    origin = _origin(container)
    resampler = av.AudioResampler(format="flt", rate=SAMPLE_RATE)  # not to mono, which may cancel: see `mono`
    end, n_damaged = None, 0

    def block(frame: AudioFrame) -> Block:
        nonlocal end
        times = [time for time in (end, None if frame.time is None else frame.time - origin) if time is not None]
        samples = np.asarray(frame.to_ndarray(), np.float32).reshape(-1, frame.layout.nb_channels)
        block = Block(max(times, default=0.0), mono(samples))
        end = block.end
        return block

    for packet in _packets(container, path):
        try:
            frames = [piece for frame in packet.decode() for piece in resampler.resample(frame)]
        except (av.FFmpegError, ValueError):  # ValueError: another rate or layout than before
            n_damaged += 1
            continue
        yield from map(block, frames)
    yield from map(block, resampler.resample(None))
    if n_damaged:
        warnings.warn(f"{n_damaged:,} packets of sound of '{printable(path)}' are damaged; {CUT}", stacklevel=5)


def _packets(container: InputContainer, path: Path) -> Iterator[Packet[AudioStream]]:
    """Yield the packets of the first sound stream, as far as they can be read."""
    import av

    try:
        yield from container.demux(container.streams.audio[0])
    except (av.FFmpegError, IndexError) as error:  # IndexError: of PyAV, where another stream begins
        reason = error.strerror if isinstance(error, av.FFmpegError) else "it has other streams from there on"
        warnings.warn(f"the sound of '{printable(path)}' cannot be read on: {reason}; {CUT}", stacklevel=6)


def _origin(container: InputContainer) -> float:
    """Return the container's time, in seconds, that is 0 for `frames`; of sound alone, that of its first sample."""
    from av.stream import Disposition

    videos = (video for video in container.streams.video if not video.disposition & Disposition.attached_pic)
    stream = next(videos, container.streams.audio[0])
    return float((stream.start_time or 0) * (stream.time_base or 0))


def _check_format(path: Path, rate: int, channels: int) -> None:
    if not (MIN_RATE <= rate <= MAX_RATE and 1 <= channels <= MAX_CHANNELS):
        raise InputError(
            f"'{printable(path)}' announces {channels} channels of {rate:,} samples per second; expected "
            f"1 to {MAX_CHANNELS} of {MIN_RATE:,} to {MAX_RATE:,}: it is damaged, or not sound"
        )


def _warn_if_shorter(path: Path, announced: int) -> None:
    """Warn if a WAV has fewer bytes than its header says."""
    size = path.stat().st_size
    if size < announced < STREAMED:
        warnings.warn(
            f"'{printable(path)}' has {size:,} of the {announced:,} bytes that its header announces; {CUT}",
            stacklevel=4,
        )


def _warn_if_cut(path: Path, read: float, announced: float) -> None:
    """Warn if sound has fewer seconds than its header says."""
    if read < announced - max(SHORTFALL * announced, MIN_SHORTFALL_SECONDS):
        warnings.warn(
            f"'{printable(path)}' has {read:.1f} of the {announced:.1f} s of sound that its header announces; {CUT}",
            stacklevel=4,
        )


def _warn_of_other_tracks(path: Path, n: int) -> None:
    """Warn if only one of several sound tracks is heard, such as languages or comments."""
    if n > 1:
        warnings.warn(
            f"'{printable(path)}' has {n} sound tracks; only the first is heard. `ffmpeg -i FILE -map 0:a:1 "
            "second.wav` extracts the second",
            stacklevel=4,
        )


def _damaged(path: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return InputError(f"cannot read the sound of '{printable(path)}': {reason}; is it whole? Expected {SOUND_FORMATS}")
