"""Videos as files that appear, whole, when they are finished."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from mien.errors import ConfigError, OutputError, UnwritableImage
from mien.files import as_path, atomic_path
from mien.images import ImageLike, to_rgb
from mien.pixels import fit_exactly
from mien.settings import Range
from mien.sinks.encoders import CODECS, Encoder, open_encoder


class VideoSink:
    """Writes a video; the file appears, whole, when the block ends.

    With the extra `video` it is H.264, or VP9 in WebM, which browsers play; each image may have its own time, and the
    sound of another video can be copied. Without the extra it is MPEG-4 Part 2 (VP8 in WebM) at a constant rate,
    without sound; a warning says so. AVI is always Motion JPEG at a constant rate, without sound. At a constant rate
    images are repeated, or left out with a warning, so that times are kept. Very long gaps between two images (more
    than 10 s at a constant rate, else half an hour) are shortened with a warning.

    The file also appears when Ctrl+C ends the block, with the images written until then, but not after another error,
    nor without any image. For a stream that may end in any way, see `LiveVideoSink`.

    Args:
        path: Ends in .mp4, .m4v, .mov, .mkv, .webm or .avi.
        fps: Frames per second.
        size: Width and height in pixels; those of the first image when None. Others are resized to it. Odd sides
            gain a pixel, since the codecs need even ones.
        sound: Video whose sound is copied.
        sound_start: Its time in seconds that is the start of the file.

    Raises:
        ConfigError: fps or size are out of range.
        OutputError: Another suffix, or the file cannot be written.

    Example:
        >>> with VideoSink("annotated.mp4", fps=25) as sink:
        ...     sink.write(image)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float,
        size: tuple[int, int] | None = None,
        sound: str | Path | None = None,
        sound_start: float = 0.0,
    ) -> None:
        self.path = as_path(path)
        if self.path.suffix.lower() not in CODECS:
            raise OutputError(f"cannot write '{path}': unknown video suffix; choose from {', '.join(CODECS)}")
        if size is not None and min(size) < 1:
            raise ConfigError(f"video size is {size}; expected positive width and height")
        self.fps: float = Range(0, 1000, above=True).check("fps", fps)
        self.size = size
        self._sound, self._sound_start = None if sound is None else Path(sound), sound_start
        self._stack = ExitStack()
        self._encoder: Encoder | None = None
        self._n_written = 0

    def __enter__(self) -> VideoSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._stack.close()
        else:
            self._stack.__exit__(kind, error, trace)

    def write(self, image: ImageLike, *, time: float | None = None) -> None:
        """Append an image.

        Args:
            image: As for `mien.to_rgb`, usually RGB uint8 (H, W, 3).
            time: Seconds from the video's start, later than the last image's; by the frame rate when None.

        Raises:
            InputError: The image has an unsupported type, shape or value range.
            OutputError: The file cannot be written; `UnwritableImage`: its format cannot hold the image.
        """
        image = to_rgb(image)
        width, height = self.size or (image.shape[1], image.shape[0])
        size = (width + width % 2, height + height % 2)
        try:
            if self._encoder is None:
                self.size = size
                self._encoder = self._open(size)
            self._encoder.write(fit_exactly(image, size), self._n_written / self.fps if time is None else time)
        except (OSError, UnwritableImage) as error:
            raise self._failure(error) from error
        self._n_written += 1

    def _open(self, size: tuple[int, int]) -> Encoder:
        temporary = self._stack.enter_context(atomic_path(self.path))
        encoder = open_encoder(temporary, fps=self.fps, size=size, sound=self._sound, sound_start=self._sound_start)
        self._stack.push(self._close)  # before the file is put into place
        return encoder

    def _close(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._encoder is not None
        try:
            self._encoder.close()
        except (OSError, UnwritableImage) as error:
            if kind is None:
                raise self._failure(error) from error

    def _failure(self, error: OSError | UnwritableImage) -> OutputError:
        if isinstance(error, UnwritableImage):
            return UnwritableImage(f"cannot write '{self.path}': {error}")
        return OutputError(
            f"cannot write all of '{self.path}': {error.strerror or error}; make room there or choose another place"
        )
