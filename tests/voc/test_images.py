"""Images of any origin are read as people see them; other files are rejected with a reason."""

import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from voc_seg.system.errors import VocSegError
from voc_seg.voc.decode_memory import allow_large_images
from voc_seg.voc.images import decode_image

HEIGHT, WIDTH = 24, 40
RED, BLUE = (200, 40, 40), (40, 40, 200)


def halves(mode: str = "RGB") -> Image.Image:
    """Red on the left, blue on the right."""
    pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:, : WIDTH // 2], pixels[:, WIDTH // 2 :] = RED, BLUE
    return Image.fromarray(pixels).convert(mode)


def turned(path: Path, orientation: object, **options: object) -> Path:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    halves().save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.jpg", "RGB", {"quality": 95, "subsampling": 0}),
        ("a.png", "RGB", {}),
        ("a.webp", "RGB", {"lossless": True}),
        ("a.tif", "RGB", {}),
        ("a.bmp", "RGB", {}),
        ("cmyk.jpg", "CMYK", {"quality": 95, "subsampling": 0}),
        ("palette.png", "P", {}),
        ("alpha.png", "RGBA", {}),
        ("alpha.webp", "RGBA", {"lossless": True}),
        ("picture_without_ending", "RGB", {"format": "PNG"}),
    ],
)
def test_every_kind_becomes_rgb(tmp_path: Path, name: str, mode: str, options: dict) -> None:
    halves(mode).save(tmp_path / name, **options)
    image = decode_image(tmp_path / name)
    assert (image.shape, image.dtype, image.flags.writeable) == ((HEIGHT, WIDTH, 3), np.uint8, True)
    for pixel, colour in ((image[4, 4], RED), (image[20, 35], BLUE)):
        # The 216 colours of Pillow's palette lie up to 26 off, dithered up to 51.
        assert np.abs(pixel.astype(int) - colour).max() <= (51 if mode == "P" else 3)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_has_three_equal_channels(tmp_path: Path, mode: str) -> None:
    halves(mode).save(tmp_path / "a.png")
    image = decode_image(tmp_path / "a.png")
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert (image == image[..., :1]).all()


def test_16_bits_are_scaled_over_their_whole_range(tmp_path: Path) -> None:
    # 65535 / 257 = 255; Pillow's own conversion would cut everything above 255 off to white.
    Image.fromarray(np.array([[0, 256, 257, 32_896, 65_535]], np.uint16)).save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png")[0, :, 1].tolist() == [0, 0, 1, 128, 255]


def test_transparent_pixels_are_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 51]]], np.uint8)).save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png")[0].tolist() == [[255] * 3, [10, 20, 30], [204] * 3]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8))
    palette.putpalette([9, 9, 9, 50, 60, 70])
    palette.save(tmp_path / "p.png", transparency=0)
    assert decode_image(tmp_path / "p.png")[0].tolist() == [[255] * 3, [50, 60, 70]]


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_orientation_6_is_turned_clockwise(tmp_path: Path, ending: str) -> None:
    image = decode_image(turned(tmp_path / f"a.{ending}", 6))
    assert image.shape == (WIDTH, HEIGHT, 3)
    # Stored with red at the left; turned by a quarter to the right, red is on top.
    assert image[4, 12, 0] > 150 > image[35, 12, 0]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_a_tiff(tmp_path: Path, orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = halves(mode)
    image.save(tmp_path / "a.tif", exif=exif)
    image.convert("RGB").save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(decode_image(tmp_path / "a.tif"), decode_image(tmp_path / "a.png"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_that_of_pillow(tmp_path: Path, orientation: int) -> None:
    path = turned(tmp_path / "a.png", orientation)
    with Image.open(path) as image:
        np.testing.assert_array_equal(decode_image(path), np.array(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_without_sense_is_passed_over(tmp_path: Path, orientation: object) -> None:
    path = turned(tmp_path / "a.png", orientation)
    np.testing.assert_array_equal(decode_image(path), np.array(halves()))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_tags_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    halves().save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff no tags")
    np.testing.assert_array_equal(decode_image(tmp_path / "a.png"), np.array(halves()))


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_the_first_frame_of_an_animation(tmp_path: Path, ending: str) -> None:
    second = Image.new("RGB", (WIDTH, HEIGHT), "lime")
    halves().save(tmp_path / f"a.{ending}", save_all=True, append_images=[second], lossless=True, duration=100)
    np.testing.assert_array_equal(decode_image(tmp_path / f"a.{ending}"), np.array(halves()))


def _cut(path: Path, share: float = 0.6) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def _zeroed(path: Path) -> None:
    _cut(path, 1.0)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))


def _flipped(path: Path) -> None:
    _cut(path, 1.0)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _declared(path: Path) -> None:
    """A PNG of a few bytes that declares 30,000 by 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut.jpg": (_cut, "truncated image: "),
    "zeroed.jpg": (_zeroed, "truncated image: .*ends in zeros"),
    "cut.png": (_cut, "ed image: "),
    "cut.webp": (_cut, "image: "),
    "flipped.png": (_flipped, "damaged image: "),
    "text.jpg": (lambda path: path.write_text("hello"), "unreadable image: .*/text.jpg .not JPEG, PNG, TIFF, "),
    "empty.png": (lambda path: path.touch(), "empty image: .*empty.png .0 bytes"),
    "other.png": (lambda path: halves("P").save(path, format="GIF"), "a GIF, not JPEG, .*WEBP"),
    "pointer.jpg": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "Git LFS pointer instead of image: .*; fetch the files with: git lfs pull",
    ),
    "bomb.png": (_declared, "oversized image: .*900000000 pixels"),
    "folder.jpg": (lambda path: path.mkdir(), "folder instead of image"),
    "gone.jpg": (lambda path: path.symlink_to("nowhere"), "dangling link instead of image"),
    "circle.jpg": (lambda path: path.symlink_to(path), "image: .*circle.jpg"),
    "pipe.jpg": (os.mkfifo, "not a regular file: "),
}


@pytest.mark.parametrize("name", BAD)
def test_an_unreadable_image_gives_the_reason(tmp_path: Path, name: str) -> None:
    make, message = BAD[name]
    make(tmp_path / name)
    with pytest.raises(VocSegError, match=message):
        decode_image(tmp_path / name)


def test_a_device_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(VocSegError, match="not a regular file: dev/zero"):
        decode_image(Path("/dev/zero"))


def test_a_large_picture_is_no_reason_to_warn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: object) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", HEIGHT * WIDTH - 1)
    halves().save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png").shape == (HEIGHT, WIDTH, 3)
    assert len(recwarn) == 0


def test_threads_do_not_end_each_others_permission_for_large_images(recwarn: pytest.WarningsRecorder) -> None:
    before = warnings.filters[:]
    first, second = allow_large_images(), allow_large_images()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # in the order of their arrival
    warnings.warn("large", Image.DecompressionBombWarning, stacklevel=1)
    second.__exit__(None, None, None)
    assert not recwarn.list
    assert warnings.filters == before
