"""Videos for browsers by PyAV, the extra `video`: H.264 or VP9, uneven frame times, sound. See docs/decisions/0034."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mien.errors import UnwritableImage
from mien.files import printable
from mien.sinks.encoders import warn_of_gaps
from mien.sources.videos import plain_name
from mien.structures import ImageArray
from mien.warn import warn

# Both encode some 220 frames of 640x480 per second on two cores; VP9 by its own defaults 6.
H264 = ("libx264", {"preset": "veryfast", "crf": "20"})  # crf: 17 looks like the original, 23 is x264's default
VP9 = ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"})
# The sound codecs that are copied, since browsers play them in such a file, and the encoder for all others.
MP4_SOUND = (frozenset({"aac", "mp3", "opus", "flac"}), "aac")
WEBM_SOUND = (frozenset({"opus", "vorbis"}), "libopus")
SOUND_RATE = 48_000  # samples per second of sound that is encoded anew; Opus has no other
CLOCK = Fraction(1, 90_000)  # MPEG's: every common frame rate is a whole number of ticks
# Longest time between two images. FFmpeg's MP4 holds pts - dts in 31 bits, 6.6 h of the clock; with B-frames it spans
# up to five gaps.
MAX_GAP_SECONDS = 1800.0
BT709, BT601 = 1, 6  # of H.273: primaries and transfer of screens; the matrix that OpenCV assumes when it reads
SoundPackets: TypeAlias = "Generator[tuple[float, list[Packet[AudioStream]]], None, None]"  # with times in seconds


class PyAvEncoder:
    """Encodes each image at its own time, with the index at the file's start, so that it plays while it loads."""

    def __init__(
        self, path: Path, *, fps: float, size: tuple[int, int], sound: Path | None, sound_start: float = 0.0
    ) -> None:
        self._tick, self._frame_seconds, self._failed = -1, 1 / fps, False
        self._n_gaps, self._cut = 0, 0.0  # gaps that were shortened, and the seconds that they lost
        suffix = path.suffix.lower()
        codec, options = VP9 if suffix == ".webm" else H264
        options_of_file = {"movflags": "faststart"} if suffix in (".mp4", ".m4v", ".mov") else {}
        with self._guard(), ExitStack() as stack:
            name = stack.enter_context(plain_name(path))
            self._file = stack.enter_context(av.open(name, "w", options=options_of_file))
            rate = Fraction(fps).limit_denominator(1001)
            self._video = cast(VideoStream, self._file.add_stream(codec, rate=rate, options=options))
            self._video.width, self._video.height = size
            self._video.pix_fmt = "yuv420p"  # the one that every browser decodes
            context = self._video.codec_context
            context.time_base = CLOCK
            context.colorspace, context.color_primaries, context.color_trc = BT601, BT709, BT709
            self._sound = stack.enter_context(closing(_sound_packets(sound, self._file, suffix, sound_start)))
            self._next_sound = next(self._sound, None)
            self._stack = stack.pop_all()

    def write(self, image: ImageArray, time: float) -> None:
        """Append an image at its time in seconds, or right after the last one where that is later.

        A gap of more than `MAX_GAP_SECONDS` is shortened, with a warning at the end; sound is not, so that it is late
        from there on.

        Raises:
            OSError: The file cannot be written.
            UnwritableImage: The codec cannot hold the image.
        """
        time -= self._cut
        latest = float(max(self._tick, 0) * CLOCK) + MAX_GAP_SECONDS
        if time > latest:
            self._n_gaps, self._cut, time = self._n_gaps + 1, self._cut + time - latest, latest
        with self._guard():
            self._copy_sound(time)
            self._tick = max(round(time / CLOCK), self._tick + 1)
            frame = VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = self._tick, CLOCK
            self._file.mux(self._video.encode(frame))

    def close(self) -> None:
        """Finish the file; its sound ends with the last image.

        Raises:
            OSError: The file cannot be written.
            UnwritableImage: The codec cannot hold the image.
        """
        with self._guard(), self._stack:
            if not self._failed:
                self._copy_sound(float(self._tick * CLOCK) + self._frame_seconds)
                self._file.mux(self._video.encode())
        if self._n_gaps:
            warn_of_gaps(self._n_gaps, MAX_GAP_SECONDS)

    def _copy_sound(self, until: float) -> None:
        while self._next_sound is not None and self._next_sound[0] < until:
            self._file.mux(self._next_sound[1])
            self._next_sound = next(self._sound, None)

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn PyAV's errors into OSError, or UnwritableImage where they are of the codec and not of the system.

        They are noted, since writing after a failure can crash FFmpeg.
        """
        try:
            yield
        except av.FFmpegError as error:
            self._failed = True
            reason = error.strerror or str(error)
            if isinstance(error, (OSError, MemoryError)):  # a MemoryError of PyAV has a number too
                raise OSError(error.errno, reason) from error
            raise UnwritableImage(f"FFmpeg cannot encode it ({reason}); choose another format") from error


def _sound_packets(source: Path | None, output: OutputContainer, suffix: str, after: float) -> SoundPackets:
    """Add a sound stream to a file; yield its packets with their times, in seconds from `after` in the source."""
    if source is None:
        return
    copied, encoder = WEBM_SOUND if suffix == ".webm" else MP4_SOUND
    try:
        with plain_name(source) as name, av.open(name) as file:
            stream = next(iter(file.streams.audio), None)
            if stream is None:
                return
            video = next(iter(file.streams.video), None)
            start = after + (0.0 if video is None else _seconds(video.start_time, video.time_base))
            if stream.codec_context.codec.canonical_name in copied:
                yield from _copied(file, stream, output.add_stream_from_template(stream), start)
            else:
                target = cast(AudioStream, output.add_stream(encoder, rate=SOUND_RATE))
                yield from _encoded(file, stream, target, start)
    except (av.FFmpegError, OSError, IndexError) as error:
        # IndexError: of PyAV, where another stream begins
        reason = "it has other streams from there on" if isinstance(error, IndexError) else error
        warn(f"the sound of '{printable(source)}' is lost or cut short: {reason}", code="sound-cut", stacklevel=2)


def _copied(file: InputContainer, stream: AudioStream, target: AudioStream, start: float) -> SoundPackets:
    shift, end = None, None  # in ticks; `end` is that of the last packet
    for packet in file.demux(stream):
        if packet.pts is None or packet.dts is None:  # the last one is empty
            continue
        if shift is None:
            shift = round(start / packet.time_base)
        if end is not None and packet.dts - shift < end:
            shift = packet.dts - end  # times jump back where recordings were joined: the sound goes on
        packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, target
        end = packet.dts + max(packet.duration or 0, 1)
        time = _seconds(packet.pts, packet.time_base)
        if time >= 0:
            yield time, [packet]


def _encoded(file: InputContainer, stream: AudioStream, target: AudioStream, start: float) -> SoundPackets:
    time = 0.0
    for frame in file.decode(stream):
        time = _seconds(frame.pts, frame.time_base) - start
        if time >= 0 and frame.time_base:
            frame.pts = round(time / frame.time_base)
            yield time, target.encode(frame)
    yield time, target.encode()


def _seconds(ticks: int | None, base: Fraction | None) -> float:
    return float((ticks or 0) * (base or 0))
