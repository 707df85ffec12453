"""Pictures and videos of every kind become RGB frames; bad files become one clear error."""

import os
import struct
import sys
import zlib
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from clips import turn_clockwise, write_video
from disks import nested_too_deep
from mien.errors import CameraError, ConfigError, InputError, UnreadablePicture
from mien.quiet import quiet
from mien.sinks.live_video import LiveVideoSink
from mien.sources import camera, pictures
from mien.sources.address import parse_source
from mien.sources.frames import frames, inspect, open_media
from mien.sources.media import FrameSelection, Media
from mien.sources.paths import find_files, list_files
from mien.sources.pictures import decode, read_picture
from mien.structures import ImageArray

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(size: int = 64) -> ImageArray:
    """Draw a picture whose quarters are red, green / blue, white."""
    image = np.empty((size, size, 3), np.uint8)
    half = size // 2
    image[:half, :half], image[:half, half:], image[half:, :half], image[half:, half:] = RED, GREEN, BLUE, WHITE
    return image


def corners(image: ImageArray) -> list[tuple[int, ...]]:
    """Return the colours near the corners: top left, top right, bottom left, bottom right."""
    height, width = image.shape[:2]
    places = [(y, x) for y in (height // 8, -height // 8) for x in (width // 8, -width // 8)]
    return [tuple(int(v) for v in image[place]) for place in places]


def assert_near(image: ImageArray, expected: list[tuple[int, int, int]], *, within: int = 12) -> None:
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert np.abs(np.subtract(corners(image), expected)).max() <= within, corners(image)


class TestPictures:
    @pytest.mark.parametrize("suffix", ["png", "jpg", "jfif", "webp", "avif", "tif", "bmp", "ppm", "gif"])
    def test_each_format_gives_rgb(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(quarters()).save(path)
        image = read_picture(path)
        assert image.shape == (64, 64, 3)
        assert_near(image, [RED, GREEN, BLUE, WHITE])

    @pytest.mark.parametrize(("mode", "suffix"), [("P", "png"), ("P", "gif"), ("CMYK", "jpg"), ("CMYK", "tif")])
    def test_palette_and_cmyk_become_rgb(self, tmp_path: Path, mode: str, suffix: str) -> None:
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(quarters()).convert(mode).save(path)
        assert_near(read_picture(path), [RED, GREEN, BLUE, WHITE])

    @pytest.mark.parametrize("mode", ["L", "1", "I;16"])
    def test_grey_of_any_depth_becomes_three_equal_channels(self, tmp_path: Path, mode: str) -> None:
        grey = np.zeros((64, 64), np.uint16)
        grey[:32] = 65535
        image = Image.fromarray(grey) if mode == "I;16" else Image.fromarray((grey >> 8).astype(np.uint8)).convert(mode)
        image.save(tmp_path / "a.png")
        black = (0, 0, 0)
        assert_near(read_picture(tmp_path / "a.png"), [WHITE, WHITE, black, black], within=0)

    @pytest.mark.parametrize("suffix", ["png", "webp", "tif", "gif"])
    def test_transparent_pixels_are_blended_with_white(self, tmp_path: Path, suffix: str) -> None:
        alpha = np.zeros((64, 64, 1), np.uint8)
        alpha[:32] = 255
        image = Image.fromarray(np.dstack([quarters() // 2, alpha]))
        image.save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
        assert_near(read_picture(tmp_path / f"a.{suffix}"), [(127, 0, 0), (0, 127, 0), WHITE, WHITE], within=1)

    def test_half_transparent_16_bit_pixels_mix_with_white(self, tmp_path: Path) -> None:
        pixels = np.zeros((8, 8, 4), np.uint16)
        pixels[:, :, 3] = 65535 // 2
        cv2.imwrite(str(tmp_path / "a.png"), pixels)
        assert np.abs(read_picture(tmp_path / "a.png").astype(int) - 128).max() <= 1

    @pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "avif"])
    def test_exif_rotation_is_applied(self, tmp_path: Path, suffix: str) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # shown after a quarter turn clockwise
        Image.fromarray(np.hstack([quarters(), quarters()])).save(tmp_path / f"a.{suffix}", exif=exif)
        image = read_picture(tmp_path / f"a.{suffix}")
        assert image.shape == (128, 64, 3)
        assert corners(image)[0][2] > 200  # the lower left corner, blue, came to the upper left
        assert corners(image)[0][0] < 50
        assert inspect(tmp_path / f"a.{suffix}").size == (64, 128)

    def test_exif_rotation_is_applied_to_transparent_pictures_too(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 3
        Image.fromarray(np.dstack([quarters(), np.full((64, 64), 255, np.uint8)])).save(tmp_path / "a.png", exif=exif)
        assert_near(read_picture(tmp_path / "a.png"), [WHITE, BLUE, GREEN, RED], within=0)

    @pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
    def test_every_exif_orientation_is_undone_as_pillow_does(self, tmp_path: Path, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(quarters()[:, :48]).save(tmp_path / "a.png", exif=exif)
        with Image.open(tmp_path / "a.png") as picture:
            expected = np.asarray(ImageOps.exif_transpose(picture))
        assert np.array_equal(read_picture(tmp_path / "a.png"), expected)

    @pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
    def test_grey_of_a_sensor_s_bits_in_16_is_stretched(self, tmp_path: Path, bits: int) -> None:
        white = 2**bits - 1
        Image.fromarray(np.array([[0, white // 2, white]], np.uint16)).save(tmp_path / "a.png")
        assert read_picture(tmp_path / "a.png")[0, :, 0].tolist() == [0, 127, 255]

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "I;16"])
    def test_strips_give_the_same_pixels(self, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (65, 33, 4), np.uint8)
        picture = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
        if mode != "I;16":
            picture = Image.fromarray(noise).convert("RGBA" if mode.endswith("A") else "RGB").convert(mode)
        picture.save(tmp_path / "a.png")
        whole = read_picture(tmp_path / "a.png")
        monkeypatch.setattr(pictures, "STRIP_PIXELS", 200)
        assert np.array_equal(read_picture(tmp_path / "a.png"), whole)

    def test_a_file_of_several_pages_is_read_with_a_warning(self, tmp_path: Path) -> None:
        page = Image.fromarray(quarters())
        page.save(tmp_path / "a.tif", save_all=True, append_images=[page, page])
        with pytest.warns(UserWarning, match=r"a\.tif' holds 3 pictures; only the first is read"):
            assert len(list(frames(tmp_path / "a.tif"))) == 1

    @pytest.mark.parametrize("progressive", [False, True])
    @pytest.mark.parametrize(("missing", "message"), [(1, "all its pixels"), (2, "all its pixels"), (30, "its last")])
    def test_a_jpeg_without_its_last_bytes_is_read_with_a_warning(
        self, tmp_path: Path, missing: int, message: str, progressive: bool
    ) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (480, 64, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "whole.jpg", progressive=progressive, subsampling=0)
        (tmp_path / "a.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-missing])
        with pytest.warns(UserWarning, match=rf"a\.jpg' lacks its end, .*; {message}"):
            image = read_picture(tmp_path / "a.jpg")
        assert np.array_equal(image[:448], read_picture(tmp_path / "whole.jpg")[:448])

    def test_damaged_exif_is_ignored(self, tmp_path: Path) -> None:
        Image.fromarray(quarters()).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1\x12")
        assert_near(read_picture(tmp_path / "a.jpg"), [RED, GREEN, BLUE, WHITE])

    def test_heic_is_read(self, tmp_path: Path) -> None:
        pillow_heif = pytest.importorskip("pillow_heif")
        pillow_heif.from_pillow(Image.fromarray(quarters())).save(tmp_path / "a.heic", quality=90)
        assert_near(read_picture(tmp_path / "a.heic"), [RED, GREEN, BLUE, WHITE], within=20)
        assert inspect(tmp_path / "a.heic") == Media("picture", (64, 64), 1, None)

    def test_heic_without_its_extra_names_the_command_that_helps(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
        assert list_files(tmp_path) == [tmp_path / "a.heic"]
        with pytest.raises(UnreadablePicture, match=r"a\.heic.*pip install .*\[heic\]'; or save it as JPEG"):
            read_picture(tmp_path / "a.heic")

    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif"])
    def test_a_picture_that_is_too_large_is_read_at_half_its_size(
        self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pictures, "FULL_SIZE_PIXELS", 4000)
        exif = Image.Exif()
        exif[0x0112] = 6
        wide = Image.fromarray(np.hstack([quarters(), quarters()])[:, :127])
        wide.save(tmp_path / name, **({} if name == "a.gif" else {"exif": exif}))
        with pytest.warns(UserWarning, match=r"127x64 pixels and is read at half"):
            image = read_picture(tmp_path / name)
        assert image.shape == ((32, 64, 3) if name == "a.gif" else (64, 32, 3))
        assert inspect(tmp_path / name).size == image.shape[1::-1]
        with pytest.warns(UserWarning, match="half"):
            assert next(frames(tmp_path / name)).scale == 2

    def test_a_photo_of_108_megapixels_is_read(self, tmp_path: Path) -> None:
        Image.new("L", (12000, 9000), 128).save(tmp_path / "a.jpg")
        with pytest.warns(UserWarning, match="12000x9000"):
            image = read_picture(tmp_path / "a.jpg")
        assert image.shape == (4500, 6000, 3)
        assert image.min() == image.max() == 128

    def test_bytes_are_decoded_as_files_are(self, tmp_path: Path) -> None:
        Image.fromarray(quarters()).save(tmp_path / "a.png")
        assert np.array_equal(decode((tmp_path / "a.png").read_bytes()), quarters())
        Image.fromarray(quarters()).convert("L").save(tmp_path / "a.png")
        assert decode((tmp_path / "a.png").read_bytes(), keep_grey=True).shape == (64, 64)
        with pytest.raises(UnreadablePicture, match="face 7"):
            decode(b"not a picture", name="face 7")

    def test_a_single_pixel_is_a_picture(self, tmp_path: Path) -> None:
        Image.new("RGB", (1, 1), RED).save(tmp_path / "a.png")
        assert read_picture(tmp_path / "a.png").tolist() == [[[255, 0, 0]]]

    def test_a_picture_is_known_by_its_bytes_not_its_suffix(self, tmp_path: Path) -> None:
        Image.fromarray(quarters()).save(tmp_path / "a.png")
        (tmp_path / "a.png").rename(tmp_path / "a.mp4")
        [frame] = frames(tmp_path / "a.mp4")
        assert_near(frame.image, [RED, GREEN, BLUE, WHITE])

    def test_a_picture_is_one_frame(self, tmp_path: Path) -> None:
        Image.fromarray(quarters()).save(tmp_path / "a.png")
        [frame] = frames(str(tmp_path / "a.png"))
        assert (frame.time, frame.index, frame.source) == (0.0, 0, str(tmp_path / "a.png"))
        assert inspect(tmp_path / "a.png") == Media("picture", (64, 64), 1, None)

    def test_very_long_names_work(self, tmp_path: Path) -> None:
        folder = tmp_path / ("d" * 200) / ("e" * 200)
        folder.mkdir(parents=True)
        Image.fromarray(quarters()).save(folder / ("f" * 200 + ".png"))
        [frame] = frames(folder)
        assert frame.image.shape == (64, 64, 3)

    @pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode elsewhere")
    def test_names_that_are_not_utf8_work(self, tmp_path: Path) -> None:
        Image.fromarray(quarters()).save(tmp_path / "a.png")
        (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"caf\xe9.png"))
        write_video(tmp_path / "v.mp4", n=3).rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
        assert len(list(frames(tmp_path))) == 4


class TestBadPictures:
    def fails(self, path: Path, *words: str, error: type[InputError] = UnreadablePicture) -> str:
        with pytest.raises(error) as caught:
            list(frames(path))
        message = str(caught.value)
        assert "\n" not in message
        for word in words:
            assert word in message
        return message

    def test_a_missing_path(self, tmp_path: Path) -> None:
        self.fails(tmp_path / "no.jpg", "no.jpg", "check the path", error=InputError)

    def test_a_pattern_in_quotes_gets_a_hint(self) -> None:
        self.fails(Path("holiday/*.jpg"), "holiday/*.jpg", "remove the quotes", "--glob '*.jpg'", error=InputError)

    def test_an_address_gets_a_hint_that_names_no_password(self) -> None:
        message = self.fails(Path("https://me:secret@host/a.jpg"), "host/a.jpg", "download it", error=InputError)
        assert "secret" not in message

    def test_an_impossible_path(self, tmp_path: Path) -> None:
        self.fails(tmp_path / "a\0b.jpg", "null", error=InputError)
        message = self.fails(tmp_path / ("x" * 5000), "too long", error=InputError)
        assert len(message) < 400

    @pytest.mark.parametrize("name", ["a.jpg", "a.gif", "a.mp4"])
    def test_an_empty_file(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        self.fails(tmp_path / name, name, "empty")

    def test_text_with_a_picture_suffix(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_text("not a picture at all, but some words")
        self.fails(tmp_path / "a.jpg", "not a picture", "JPEG", "PNG")

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp", "ppm", "gif"])
    def test_a_truncated_picture(self, tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"whole.{suffix}")
        data = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"a.{suffix}").write_bytes(data[: len(data) * 2 // 3])
        self.fails(tmp_path / f"a.{suffix}", f"a.{suffix}")
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp", "ppm", "gif"])
    def test_a_file_that_ends_in_its_header(self, tmp_path: Path, suffix: str) -> None:
        Image.fromarray(quarters()).save(tmp_path / f"whole.{suffix}")
        data = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"a.{suffix}").write_bytes(data[:20])
        self.fails(tmp_path / f"a.{suffix}", f"a.{suffix}")

    def test_a_small_png_of_900_million_pixels_is_refused_before_decoding(self, tmp_path: Path) -> None:
        def chunk(kind: bytes, body: bytes) -> bytes:
            return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

        size = struct.pack(">IIBBBBB", 30000, 30000, 1, 0, 0, 0, 0)
        pixels = zlib.compress(b"\0" * (30000 * 3751), 9)
        path = tmp_path / "bomb.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
        assert path.stat().st_size < 200_000
        self.fails(path, "30000x30000", "250 million")

    def test_a_gif_with_a_huge_canvas_is_refused(self, tmp_path: Path) -> None:
        Image.fromarray(quarters()).save(tmp_path / "a.gif")
        data = bytearray((tmp_path / "a.gif").read_bytes())
        data[6:10] = struct.pack("<HH", 60000, 60000)
        (tmp_path / "a.gif").write_bytes(data)
        self.fails(tmp_path / "a.gif", "60000x60000")

    def test_a_picture_whose_decoder_takes_too_much_memory_is_refused(self, tmp_path: Path) -> None:
        Image.fromarray(quarters()).save(tmp_path / "a.gif")
        data = bytearray((tmp_path / "a.gif").read_bytes())
        data[6:10] = struct.pack("<HH", 13000, 13000)
        (tmp_path / "a.gif").write_bytes(data)
        self.fails(tmp_path / "a.gif", "13000x13000", "1.7 GB of memory, at most 1.6 GB")

    def test_so_is_an_animated_png_whose_still_one_would_be_read(self, tmp_path: Path) -> None:
        first, second = (Image.fromarray(np.full((8, 8), grey, np.uint8)) for grey in (0, 255))
        first.save(tmp_path / "a.png", save_all=True, append_images=[second])
        data = bytearray((tmp_path / "a.png").read_bytes())
        data[16:24] = struct.pack(">II", 14000, 14000)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        (tmp_path / "a.png").write_bytes(data)
        self.fails(tmp_path / "a.png", "14000x14000", "1.8 GB of memory, at most 1.6 GB")

    def test_the_preview_of_a_camera_s_raw_file_is_no_picture(self, tmp_path: Path) -> None:
        Image.fromarray(quarters()).save(tmp_path / "a.dng", format="TIFF", tiffinfo={254: 1})
        self.fails(tmp_path / "a.dng", "small preview", "develop it")

    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (b"<!DOCTYPE html><html>404</html>", "a web page"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
            (b"%PDF-1.4\n%\xe2\xe3", "a PDF document"),
            (b"PK\x03\x04" + bytes(40), "a zip archive"),
            (b"8BPS" + bytes(40), "a Photoshop document"),
            ("Notizen".encode("utf-16"), "text in UTF-16"),
            (b"notes.txt".ljust(257, b"\0") + b"ustar\x0000", "a tar archive"),
        ],
    )
    @pytest.mark.parametrize("name", ["a.jpg", "a.mp4"])
    def test_other_files_are_refused_as_what_they_are(
        self, tmp_path: Path, content: bytes, kind: str, name: str
    ) -> None:
        (tmp_path / name).write_bytes(content)
        self.fails(tmp_path / name, f"{name}' is {kind}", "expected", error=InputError)

    def test_a_damaged_tiff_is_an_error_without_lines_of_its_library(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
        Image.fromarray(noise).save(tmp_path / "a.tif", compression="tiff_adobe_deflate")
        with Image.open(tmp_path / "a.tif") as picture:
            offset = picture.tag_v2[273][0]  # of the pixels
        data = bytearray((tmp_path / "a.tif").read_bytes())
        data[offset + 40 : offset + 80] = bytes(range(40))
        (tmp_path / "a.tif").write_bytes(data)
        self.fails(tmp_path / "a.tif", "damaged")
        assert capfd.readouterr().err == ""

    def test_a_tiff_of_32_bits_is_a_rare_kind(self, tmp_path: Path) -> None:
        Image.fromarray(np.full((8, 8), 1 << 20, np.int32)).save(tmp_path / "deep.tif")
        with pytest.raises(UnreadablePicture, match=r"mode I\) is rare"):
            read_picture(tmp_path / "deep.tif")

    def test_a_kind_of_picture_that_cannot_become_rgb(self, tmp_path: Path) -> None:
        Image.fromarray(np.zeros((8, 8), np.float32)).save(tmp_path / "a.tif")
        self.fails(tmp_path / "a.tif", "TIFF", "save it again")

    def test_a_folder_is_no_picture(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="folder"):
            read_picture(tmp_path)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_a_pipe_is_refused_rather_than_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.jpg")
        self.fails(tmp_path / "pipe.jpg", "neither a file nor a folder", error=InputError)

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
    def test_a_file_without_permission(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jpg"
        path.write_bytes(b"x")
        path.chmod(0)
        self.fails(path, "ermission", error=InputError)


class TestFolders:
    def make(self, folder: Path, *names: str) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(quarters(8)).save(folder / name, format="PNG")

    def test_pictures_are_found_at_any_depth_in_order(self, tmp_path: Path) -> None:
        self.make(tmp_path, "b.PNG", "a/z.jpg", "a/c/y.webp", "A.png")
        found = [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path)]
        assert found == ["A.png", "a/c/y.webp", "a/z.jpg", "b.PNG"]
        assert [Path(frame.source).name for frame in frames(tmp_path)] == ["A.png", "y.webp", "z.jpg", "b.PNG"]

    def test_files_that_are_passed_over_are_counted_by_kind(self, tmp_path: Path) -> None:
        self.make(tmp_path, "a.png", "a/picture", "._a.png", ".cache/b.png", "__MACOSX/c.png", "outside/d.png")
        for name in ("notes.txt", "a/more.TXT", "faces.csv", "README", "Thumbs.db", "b.ts", "c.mts"):
            (tmp_path / name).write_text("export const a = 1")
        (tmp_path / "c.ts").write_bytes(b"G" + bytes(187))
        (tmp_path / "outside").rename(tmp_path.parent / "outside")
        (tmp_path / "link").symlink_to(tmp_path.parent / "outside")
        (tmp_path / "lost.jpg").symlink_to("nowhere.jpg")
        with pytest.warns(UserWarning, match="passed over 9 files in ") as caught:
            files = list_files(tmp_path)
        assert [path.relative_to(tmp_path).as_posix() for path in files] == ["a/picture", "a.png", "c.ts"]
        (warning,) = caught
        for part in ("2 .txt", "1 .csv", "1 .mts", "1 .ts", "3 of other kinds"):
            assert part in str(warning.message)
        counts = find_files(tmp_path).passed_over
        rest = ("without suffix", "hidden", "linked folder", "broken link or device")
        assert [counts[kind] for kind in rest] == [1, 1, 1, 1]

    def test_a_hidden_folder_given_by_name_is_read(self, tmp_path: Path) -> None:
        self.make(tmp_path / ".hidden", "a.png")
        assert len(list_files(tmp_path / ".hidden")) == 1

    def test_glob_chooses_files(self, tmp_path: Path) -> None:
        self.make(tmp_path, "a.png", "b.jpg", "d/c.png", "d/picture")
        assert [path.name for path in list_files(tmp_path, glob="*.png")] == ["a.png", "c.png"]
        assert [path.name for path in list_files(tmp_path, glob="d/*")] == ["c.png", "picture"]

    @pytest.mark.parametrize("glob", [None, "*.png", "d/*", "**/*.png"])
    def test_folders_may_be_nested_to_any_depth(self, tmp_path: Path, glob: str | None) -> None:
        with nested_too_deep(tmp_path, "a.png") as path:
            self.make(path.parent, "a.png")
            assert list_files(tmp_path, glob=glob) == [path]

    def test_a_glob_with_folders_of_any_depth_inside_is_followed(self, tmp_path: Path) -> None:
        self.make(tmp_path, "a.png", "x/a/b.png", "x/a/y/c.png", "a/d.jpg")
        assert [path.name for path in list_files(tmp_path, glob="a/**/*.png")] == ["b.png", "c.png"]

    def test_sound_files_and_videos_are_found_without_formats_that_have_no_sound(self, tmp_path: Path) -> None:
        for name in ("b.WAV", "a/c.mp3", "d.mp4", "e.gif", "f.jpg", "picture", ".g.wav"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        with pytest.warns(UserWarning, match="1 .gif, 1 .jpg, 1 hidden, 1 without suffix"):
            found = list_files(tmp_path, sound=True)
        assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a/c.mp3", "b.WAV", "d.mp4"]
        assert [path.name for path in list_files(tmp_path, glob="*.mp*", sound=True)] == ["c.mp3", "d.mp4"]
        with pytest.raises(InputError, match=r"no sound files or videos in folder .*'\*\.ogg'"):
            list_files(tmp_path, glob="*.ogg", sound=True)

    def test_a_folder_without_pictures_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("x")
        with pytest.raises(InputError, match=r"no pictures or videos .*\.jpg"):
            frames(tmp_path)
        with pytest.raises(InputError, match=r"match '\*\.heic'"):
            list_files(tmp_path, glob="*.heic")
        with pytest.raises(InputError, match="'/etc/\\*' is a path in full; expected one below the folder"):
            list_files(tmp_path, glob="/etc/*")

    @pytest.mark.parametrize("glob", ["/etc/*", "**x/../"])
    def test_a_glob_that_python_refuses_is_an_input_error(self, tmp_path: Path, glob: str) -> None:
        with pytest.raises(InputError):
            list_files(tmp_path, glob=glob)

    def test_files_are_read_when_their_turn_comes(self, tmp_path: Path) -> None:
        self.make(tmp_path, "a.png")
        (tmp_path / "b.png").write_bytes(b"broken")
        stream = frames(tmp_path)
        next(stream)
        with pytest.raises(UnreadablePicture, match=r"b\.png"):
            next(stream)


class TestVideos:
    def test_frames_come_with_times_and_colours(self, tmp_path: Path) -> None:
        found = list(frames(write_video(tmp_path / "a.mp4", n=10, fps=10)))
        assert [frame.index for frame in found] == list(range(10))
        assert [frame.time for frame in found] == pytest.approx([i / 10 for i in range(10)])
        red, grey = found[5].image[24, 16], found[5].image[24, 48]
        assert red[0] > 230
        assert red[2] < 130
        assert np.abs(grey.astype(int) - 100).max() < 10

    def test_a_video_has_its_kind_size_frames_and_rate(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", n=10, fps=12.5)
        assert inspect(path) == Media("video", (64, 48), 10, pytest.approx(12.5))

    def test_a_rotated_video_is_turned_upright(self, tmp_path: Path) -> None:
        frame = next(frames(turn_clockwise(write_video(tmp_path / "a.mp4"))))
        assert frame.image.shape == (64, 48, 3)
        assert frame.image[8, 24, 0] > 200  # red, at the left as stored, is above
        assert frame.image[56, 24, 0] < 50

    def test_a_gif_keeps_its_own_times(self, tmp_path: Path) -> None:
        images = [Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN, BLUE)]
        images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[100, 300, 50])
        found = list(frames(tmp_path / "a.gif"))
        assert [frame.time for frame in found] == pytest.approx([0.0, 0.1, 0.4])
        assert [tuple(frame.image[5, 5].tolist()) for frame in found] == [RED, (0, 255, 0), BLUE]
        assert inspect(tmp_path / "a.gif") == Media("video", (32, 32), 3, pytest.approx(10))

    @pytest.mark.parametrize("suffix", ["webp", "png"])
    def test_animated_webp_and_png_keep_their_own_times(self, tmp_path: Path, suffix: str) -> None:
        images = [Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN, BLUE)]
        durations = {"duration": [100, 300, 50], **({"lossless": True} if suffix == "webp" else {})}
        images[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=images[1:], **durations)
        found = list(frames(tmp_path / f"a.{suffix}"))
        assert [frame.time for frame in found] == pytest.approx([0.0, 0.1, 0.4])
        assert [tuple(frame.image[5, 5].tolist()) for frame in found] == [RED, (0, 255, 0), BLUE]
        assert inspect(tmp_path / f"a.{suffix}").kind == "video"
        assert tuple(read_picture(tmp_path / f"a.{suffix}")[5, 5].tolist()) == RED

    def test_the_still_picture_of_an_animated_png_is_no_frame(self, tmp_path: Path) -> None:
        images = [Image.new("RGB", (32, 32), colour) for colour in (GREEN, BLUE)]
        still = Image.new("RGB", (32, 32), RED)
        still.save(tmp_path / "a.png", save_all=True, append_images=images, default_image=True, duration=100)
        assert [tuple(frame.image[5, 5].tolist()) for frame in frames(tmp_path / "a.png")] == [GREEN, BLUE]
        assert inspect(tmp_path / "a.png").frames == 2

    def test_a_gif_frame_that_is_disposed_of_leaves_the_background(self, tmp_path: Path) -> None:
        clear = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
        dots = [clear.copy() for _ in range(2)]
        dots[0].paste(RED, (0, 0, 8, 8))
        dots[1].paste(BLUE, (24, 24, 32, 32))
        dots[0].save(tmp_path / "a.gif", save_all=True, append_images=dots[1:], duration=100, disposal=2)
        _, second = frames(tmp_path / "a.gif")
        assert second.image[2, 2].tolist() == list(WHITE)
        assert second.image[28, 28].tolist() == list(BLUE)

    def test_frames_of_no_duration_last_a_tenth_of_a_second_as_in_browsers(self, tmp_path: Path) -> None:
        images = [Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN)]
        images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=0)
        assert [frame.time for frame in frames(tmp_path / "a.gif")] == pytest.approx([0, 0.1])

    def test_a_video_is_opened_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path, opened = write_video(tmp_path / "a.mp4"), []
        capture = cv2.VideoCapture
        monkeypatch.setattr(cv2, "VideoCapture", lambda name: opened.append(name) or capture(name))
        with open_media(path) as (media, stream):
            assert media.frames == len(list(stream)) == 10
        assert opened == [str(path)]

    def test_an_error_of_the_reader_is_not_taken_for_damage(self, tmp_path: Path) -> None:
        Image.fromarray(quarters()).save(tmp_path / "a.png")
        with pytest.raises(ZeroDivisionError), open_media(tmp_path / "a.png"):
            raise ZeroDivisionError

    def test_a_gif_of_one_picture_is_no_video(self, tmp_path: Path) -> None:
        Image.new("RGB", (32, 32), RED).save(tmp_path / "a.gif")
        assert inspect(tmp_path / "a.gif").kind == "picture"
        assert len(list(frames(tmp_path / "a.gif"))) == 1

    def test_the_content_decides_whether_a_file_is_a_video(self, tmp_path: Path) -> None:
        write_video(tmp_path / "a.mp4", n=3).rename(tmp_path / "a.jpg")
        assert len(list(frames(tmp_path / "a.jpg"))) == 3

    @pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1heic", b"abcd\0\0\0\0abcdmiafheic"])
    def test_ffmpeg_never_reads_a_tile_of_a_heic(
        self, tmp_path: Path, brands: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        (tmp_path / "a.mp4").write_bytes(struct.pack(">I", len(brands) + 8) + b"ftyp" + brands + bytes(100))
        with pytest.raises(UnreadablePicture, match="is HEIC"):
            list(frames(tmp_path / "a.mp4"))

    def test_an_avif_of_another_main_brand_is_a_picture(self, tmp_path: Path) -> None:
        Image.fromarray(quarters()).save(tmp_path / "a.avif")
        data = (tmp_path / "a.avif").read_bytes()
        assert data[8:12] == b"avif"
        (tmp_path / "a").write_bytes(data[:8] + b"miaf" + data[12:])
        assert inspect(tmp_path / "a").kind == "picture"

    def test_motion_jpeg_without_a_container_is_a_video(self, tmp_path: Path) -> None:
        jpeg = cv2.imencode(".jpg", quarters())[1].tobytes()
        (tmp_path / "a.mjpeg").write_bytes(3 * jpeg)
        assert len(list(frames(tmp_path / "a.mjpeg"))) == 3

    def test_frames_of_wide_pixels_become_wide(self, tmp_path: Path) -> None:
        av = pytest.importorskip("av")
        with av.open(str(tmp_path / "a.mp4"), "w") as file:
            stream = file.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 48, 64, "yuv420p"
            stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
            for _ in range(3):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(quarters()[:, :48], format="rgb24")))
            file.mux(stream.encode())
        assert inspect(tmp_path / "a.mp4").size == (96, 64)
        assert {frame.image.shape for frame in frames(tmp_path / "a.mp4")} == {(64, 96, 3)}

    def test_a_video_that_ends_before_its_header_says_is_reported(self, tmp_path: Path) -> None:
        with LiveVideoSink(tmp_path / "whole.mkv") as sink:
            for i in range(30):
                sink.write(quarters(), time=i / 10)
        data = (tmp_path / "whole.mkv").read_bytes()
        (tmp_path / "a.mkv").write_bytes(data[: len(data) // 2])
        assert len(list(frames(tmp_path / "whole.mkv"))) == 30
        with pytest.warns(UserWarning, match=r"a\.mkv' ends before .*: \d+ frames are announced, 1\d were read"):
            list(frames(tmp_path / "a.mkv"))

    @pytest.mark.parametrize(
        ("selection", "indices"),
        [
            (FrameSelection(start=0.25), [3, 4, 5, 6, 7, 8, 9]),
            (FrameSelection(start=0.2, stop=0.5), [2, 3, 4]),
            (FrameSelection(fps=5), [0, 2, 4, 6, 8]),
            (FrameSelection(fps=3, start=0.1), [1, 5, 8]),
            (FrameSelection(fps=100), list(range(10))),
        ],
    )
    @pytest.mark.parametrize("suffix", ["mp4", "gif"])
    def test_chosen_frames_keep_their_indices_and_times(
        self, tmp_path: Path, suffix: str, selection: FrameSelection, indices: list[int]
    ) -> None:
        path = tmp_path / f"a.{suffix}"
        if suffix == "mp4":
            write_video(path, n=10, fps=10)
        else:
            images = [Image.new("L", (32, 32), 20 * i) for i in range(10)]
            images[0].save(path, save_all=True, append_images=images[1:], duration=100)
        found = list(frames(path, selection=selection))
        assert [frame.index for frame in found] == indices
        assert [frame.time for frame in found] == pytest.approx([i / 10 for i in indices])
        assert [int(frame.image[-1, -1, 1]) for frame in found] == pytest.approx([20 * i for i in indices], abs=12)
        with pytest.raises(InputError, match=r"no frame from 60 s to the end; its last one is at 0\.90 s"):
            list(frames(path, selection=FrameSelection(start=60)))

    @pytest.mark.parametrize("wrong", [{"fps": 0}, {"fps": float("nan")}, {"start": -1}, {"start": 2, "stop": 2}])
    def test_impossible_selections_are_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ConfigError, match="expected"):
            FrameSelection(**wrong)

    def test_times_always_increase(self, tmp_path: Path) -> None:
        times = [frame.time for frame in frames(write_video(tmp_path / "a.mp4", n=12, fps=29.97))]
        assert all(a < b for a, b in pairwise(times))

    @pytest.mark.parametrize("content", [b"hello " * 1000, b"\0\0\0\x20ftypisom" + bytes(500)])
    def test_a_file_that_is_no_video_is_one_error(
        self, tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a.mp4").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.mp4") as caught:
            list(frames(tmp_path / "a.mp4"))
        assert "\n" not in str(caught.value)
        assert capfd.readouterr().err == ""

    def test_a_truncated_video_is_an_error(self, tmp_path: Path) -> None:
        data = write_video(tmp_path / "a.mp4").read_bytes()
        (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
        with pytest.raises(InputError, match="is it whole"):
            list(frames(tmp_path / "a.mp4"))

    def test_a_name_like_a_protocol_is_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_video(tmp_path / "a.mp4", n=2).rename(tmp_path / "clip:1.mp4")
        monkeypatch.chdir(tmp_path)
        assert len(list(frames("clip:1.mp4"))) == 2

    def test_a_stream_may_be_left_early(self, tmp_path: Path) -> None:
        stream = frames(write_video(tmp_path / "a.mp4"))
        next(stream)
        del stream
        (tmp_path / "a.mp4").unlink()


def test_a_raw_video_of_dark_pixels_is_no_text(tmp_path: Path) -> None:
    frame = b"FRAME\n" + bytes([80]) * (64 * 48 * 3 // 2)
    (tmp_path / "dark.y4m").write_bytes(b"YUV4MPEG2 W64 H48 F10:1 Ip A1:1 C420jpeg\n" + frame * 3)
    assert len(list(frames(tmp_path / "dark.y4m"))) == 3


@pytest.mark.parametrize("name", ["notes.txt", "clip.mp4", "list.m3u8", "noend"])
def test_a_text_is_no_video(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("#EXTM3U\nhttp://example.org/a.ts\n")
    with pytest.raises(InputError, match="is a text file; expected a video or a picture"):
        list(frames(tmp_path / name))


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (1, 1),
        ("0", 0),
        ("/dev/video0", "/dev/video0"),
        (Path("/dev/video10"), "/dev/video10"),
        ("/dev/v4l/by-id/usb-Cam-index0", "/dev/v4l/by-id/usb-Cam-index0"),
        ("RTSP://host/x", "RTSP://host/x"),
        ("http://host/clip.mp4", "http://host/clip.mp4"),
        ("clip.mp4", Path("clip.mp4")),
        ("clip:1.mp4", Path("clip:1.mp4")),
        ("C:/clips/a.mp4", Path("C:/clips/a.mp4")),
        ("/dev/videos/a.mp4", Path("/dev/videos/a.mp4")),
        ("20260401", Path("20260401")),
        ("-1", Path("-1")),
        ("٣", Path("٣")),
    ],
)
@pytest.mark.usefixtures("own_folder")
def test_a_source_is_parsed_as_an_index_an_address_or_a_path(text: int | str | Path, source: int | str | Path) -> None:
    parsed = parse_source(text)
    assert parsed == source
    assert type(parsed) is type(source)


@pytest.mark.usefixtures("own_folder")
def test_digits_that_name_a_folder_are_a_path() -> None:
    Path("7").mkdir()
    Image.fromarray(quarters()).save("7/a.png")
    assert parse_source("7") == Path("7")
    assert len(list(frames("7"))) == 1


@pytest.mark.parametrize("source", [-1, 10**12, "rtsp://\udc80/x", "http://a\0b"])
def test_sources_that_crash_opencv_are_refused(source: int | str) -> None:
    with pytest.raises(InputError, match="expected"):
        parse_source(source)


class Steady:
    """A device that always gives the same picture, BGR."""

    released = False

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, ImageArray]:
        return True, np.full((4, 6, 3), (0, 0, 255), np.uint8)

    def get(self, propId: int, /) -> float:
        return -1.0

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize(("source", "name"), [(0, "camera 0"), ("0", "camera 0"), ("rtsp://host/x", "rtsp://host/x")])
@pytest.mark.usefixtures("own_folder")
def test_a_live_source_is_read_like_a_file_and_closed_when_left(
    source: int | str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Steady()
    monkeypatch.setattr(camera, "open_device", lambda source, *, timeout_seconds: device)
    stream = frames(source)
    first, second = next(stream), next(stream)
    assert (first.image == RED).all()
    assert first.source == name
    assert first.index < second.index
    assert first.time < second.time
    del stream
    assert device.released


def test_a_live_source_without_frames_is_an_error_at_the_first_frame() -> None:
    stream = frames(4242)
    with pytest.raises(CameraError, match="camera 4242"):
        next(stream)


def test_opencv_stays_quiet_until_the_last_of_overlapping_blocks_ends() -> None:
    log = getattr(cv2.utils, "logging", cv2)
    before = log.getLogLevel()
    assert before > 0
    first, second = quiet(), quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert log.getLogLevel() == 0
    second.__exit__(None, None, None)
    assert log.getLogLevel() == before
    assert "OPENCV_FFMPEG_LOGLEVEL" not in os.environ
