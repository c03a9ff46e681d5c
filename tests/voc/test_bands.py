"""Images other than 8-bit RGB: the rule of each kind, by hand-made files and hand-worked values."""

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from voc_seg.system.errors import VocSegError
from voc_seg.voc.channel_statistics import channel_statistics, channel_sums
from voc_seg.voc.images import dark_note, decode_dataset_image, decode_image
from voc_seg.voc.pairs import Reading, read_pair
from voc_seg.voc.pixel_format import RGB, PixelFormat, displayed, map_bands

tifffile = pytest.importorskip("tifffile")

HEIGHT, WIDTH = 5, 7
GREY, FOUR = PixelFormat(1), PixelFormat(4)
TWELVE_BITS = (0, 4095)


def values(*shape: int, dtype: type = np.uint8, highest: int = 255) -> np.ndarray:
    return np.random.default_rng(0).integers(0, highest + 1, shape).astype(dtype)


def both(path: Path, pixels: PixelFormat) -> np.ndarray:
    """What training and inference read, which is the same."""
    trained, inferred = decode_dataset_image(path, pixels), decode_image(path, pixels)
    np.testing.assert_array_equal(trained, inferred)
    assert (inferred.dtype, inferred.flags.writeable, inferred.shape[2]) == (np.uint8, True, pixels.channels)
    return trained


def refusal(path: Path, pixels: PixelFormat) -> str:
    found = set()
    for read in (decode_dataset_image, decode_image):
        with pytest.raises(VocSegError) as caught:
            read(path, pixels)
        found.add(str(caught.value))
    (message,) = found
    return message


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("low_high", "stored", "expected"),
    [
        (None, [0, 256, 257, 32_896, 65_534, 65_535], [0, 0, 1, 128, 254, 255]),
        # 100 * 255 / 4095 = 6.23; 2048 * 255 / 4095 = 127.53
        (TWELVE_BITS, [0, 100, 2048, 4095, 4096, 65_535], [0, 6, 128, 255, 255, 255]),
        ((1000, 1255), [0, 1000, 1001, 1254, 1255, 2000], [0, 0, 1, 254, 255, 255]),
    ],
)
def test_16_bit_grey(
    tmp_path: Path, name: str, channels: int, low_high: tuple | None, stored: list[int], expected: list[int]
) -> None:
    Image.fromarray(np.array([stored], np.uint16)).save(tmp_path / name)
    found = both(tmp_path / name, PixelFormat(channels, low_high))
    assert found[0].T.tolist() == [expected] * channels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_floats_need_a_range(tmp_path: Path, channels: int, dtype: type) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.array([[-1, 0, 0.25, 1, 7, np.nan]], dtype))
    if dtype == np.float64 and channels == 3:  # which Pillow does not read
        assert "has 1 band, but data.channels is 3" in refusal(path, PixelFormat(3, (0, 1)))
        return
    name = np.dtype(dtype).name
    assert f"/a.tif holds {name} values; set data.range to the values to show" in refusal(path, PixelFormat(channels))
    # 0.25 * 255 = 63.75
    assert both(path, PixelFormat(channels, (0, 1)))[0, :, 0].tolist() == [0, 0, 64, 255, 255, 0]


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32])
def test_signed_and_32_bit_integers_need_a_range(tmp_path: Path, dtype: type) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 100, 200]], dtype))
    assert "set data.range" in refusal(tmp_path / "a.tif", GREY)
    assert both(tmp_path / "a.tif", PixelFormat(1, (100, 200)))[0, :, 0].tolist() == [0, 0, 255]


def test_8_bits_are_not_scaled(tmp_path: Path) -> None:
    pixels = values(HEIGHT, WIDTH)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(both(tmp_path / "a.png", PixelFormat(1, TWELVE_BITS))[..., 0], pixels)


def test_16_bit_colours(tmp_path: Path) -> None:
    stored = values(HEIGHT, WIDTH, 3, dtype=np.uint16, highest=4095)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb")
    np.testing.assert_array_equal(both(tmp_path / "a.tif", RGB), stored >> 8)  # as Pillow reads it
    expected = np.rint(stored * (255 / 4095))
    np.testing.assert_array_equal(both(tmp_path / "a.tif", PixelFormat(3, TWELVE_BITS)), expected)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (np.uint8, {"photometric": "rgb"}),
        (np.uint8, {"photometric": "rgb", "extrasamples": ["unspecified"]}),
        (np.uint8, {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
        (np.uint8, {"photometric": "rgb", "compression": "deflate"}),
        (np.uint8, {"photometric": "minisblack", "planarconfig": "contig"}),
        (np.uint8, {"photometric": "minisblack", "planarconfig": "separate"}),
        (np.uint16, {"photometric": "rgb"}),
        (np.uint16, {"photometric": "minisblack", "planarconfig": "separate", "compression": "deflate"}),
        (np.uint16, {"photometric": "minisblack", "planarconfig": "contig", "bigtiff": True}),
    ],
)
@pytest.mark.parametrize("channels", [2, 4, 5])
def test_bands_of_a_tiff_are_read_as_stored(tmp_path: Path, channels: int, dtype: type, options: dict) -> None:
    if channels == 2:
        options = options | {"photometric": "minisblack"}  # colours have three bands at least
        options.pop("extrasamples", None)
        options.setdefault("planarconfig", "contig")
    options = dict(options)
    if "extrasamples" in options:
        options["extrasamples"] = options["extrasamples"] * (channels - 3)
    stored = values(HEIGHT, WIDTH, channels, dtype=dtype, highest=np.iinfo(dtype).max)
    planar = options.get("planarconfig") == "separate"
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(stored, -1, 0) if planar else stored, **options)
    expected = stored if dtype == np.uint8 else stored // 257
    np.testing.assert_array_equal(both(tmp_path / "a.tif", PixelFormat(channels)), expected)


@pytest.mark.parametrize(
    ("name", "options"), [("a.png", {}), ("a.tif", {}), ("a.webp", {"lossless": True, "exact": True})]
)
def test_alpha_is_the_fourth_band(tmp_path: Path, name: str, options: dict) -> None:
    stored = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 51]]], np.uint8)
    Image.fromarray(stored).save(tmp_path / name, **options)
    assert both(tmp_path / name, FOUR).tolist() == stored.tolist()
    assert both(tmp_path / name, RGB).tolist() == [[[255] * 3, [10, 20, 30], [204] * 3]]


@pytest.mark.parametrize(
    ("mode", "name", "bands"), [("L", "a.png", 1), ("1", "a.png", 1), ("LA", "a.png", 2), ("RGB", "a.jpg", 3),
                                ("CMYK", "a.jpg", 3), ("P", "a.png", 3), ("RGBA", "a.tif", 4)]
)  # fmt: skip
def test_a_file_with_other_bands_is_refused(tmp_path: Path, mode: str, name: str, bands: int) -> None:
    Image.fromarray(values(HEIGHT, WIDTH, 3)).convert(mode).save(tmp_path / name)
    assert both(tmp_path / name, PixelFormat(bands)).shape == (HEIGHT, WIDTH, bands)
    for channels in {1, 2, 4, 5} - {bands}:
        assert f"/{name} has {bands} band" in (message := refusal(tmp_path / name, PixelFormat(channels)))
        assert f"but data.channels is {channels}; set data.channels={bands}" in message


@pytest.mark.parametrize("channels", [4, 5])
def test_bands_are_not_dropped_for_rgb(tmp_path: Path, channels: int) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", values(HEIGHT, WIDTH, channels), photometric="rgb",
        extrasamples=["unspecified"] * (channels - 3),
    )  # fmt: skip
    assert f"has {channels} bands, but data.channels is 3; set data.channels={channels}" in refusal(
        tmp_path / "a.tif", RGB
    )


def test_pages_are_not_bands(tmp_path: Path) -> None:
    path, page = tmp_path / "a.tif", values(40, 48, dtype=np.uint16, highest=65_535)
    tifffile.imwrite(path, np.stack([page] * 3), photometric="minisblack")
    assert "several pages: " in refusal(path, GREY)
    tifffile.imwrite(path, np.stack([page.astype(np.float64)] * 3), photometric="minisblack")
    assert "/a.tif has 3, but an image has one" in refusal(path, PixelFormat(1, (0, 1)))
    with tifffile.TiffWriter(path) as file:  # smaller copies and masks of the page are no further pages
        file.write(page, subifds=0)
        file.write(page[::2, ::2], subfiletype=1)
        file.write(page > 9, subfiletype=4)
    np.testing.assert_array_equal(both(path, GREY)[..., 0], page // 257)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_files_for_the_extra_and_damaged_ones_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values(40, 40, 5), photometric="minisblack", planarconfig="contig")
    whole = path.read_bytes()
    path.write_bytes(whole[:-900])
    assert refusal(path, PixelFormat(5)).startswith("damaged image: ")
    path.write_bytes(whole[:40])
    assert refusal(path, PixelFormat(5)).startswith("damaged image: ")
    path.write_bytes(whole)

    def without_codecs(page: object) -> None:
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    with monkeypatch.context() as patch:
        patch.setattr(tifffile.TiffPage, "asarray", without_codecs)
        assert refusal(path, PixelFormat(5)).startswith("compressed image: ")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert refusal(path, PixelFormat(5)).endswith("that needs the extra tiff: pip install 'voc_seg[tiff]'")


def test_a_colour_png_of_16_bits_has_no_range(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"\0" + struct.pack(">3H", 513, 2, 65_535)
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))
    assert both(tmp_path / "a.png", RGB).tolist() == [[[2, 0, 255]]]
    assert "with data.range, save it as a TIFF" in refusal(tmp_path / "a.png", PixelFormat(3, TWELVE_BITS))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_bands_are_turned_upright(tmp_path: Path, orientation: int, name: str) -> None:
    stored = values(HEIGHT, WIDTH, 4)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / name, exif=exif)
    np.testing.assert_array_equal(decode_dataset_image(tmp_path / name, FOUR), stored)
    plain = Image.fromarray(stored[..., 0])
    plain.getexif()[0x0112] = orientation
    plain.save(tmp_path / "plain.png", exif=plain.getexif())
    with Image.open(tmp_path / "plain.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(decode_image(tmp_path / name, FOUR)[..., 0], expected)


def test_an_orientation_that_is_not_applied_is_refused(tmp_path: Path) -> None:
    tag = (274, "H", 1, 6, True)
    tifffile.imwrite(
        tmp_path / "a.tif", values(4, 4, 5), photometric="minisblack", planarconfig="contig", extratags=[tag]
    )
    assert "orientation: " in refusal(tmp_path / "a.tif", PixelFormat(5))


def test_bands_are_resized_one_by_one() -> None:
    """Pillow would weight colours by alpha: what is transparent would not count."""
    image = np.zeros((2, 2, 4), np.uint8)
    image[..., 0] = [[0, 200], [0, 200]]
    image[..., 3] = [[0, 0], [0, 255]]
    small = map_bands(image, lambda band: band.resize((1, 1), Image.Resampling.BOX))
    assert small.tolist() == [[[100, 0, 0, 64]]]


def test_a_pair_with_bands_is_turned_and_reduced_together(tmp_path: Path) -> None:
    stored = values(64, 96, 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "i.png", exif=exif)
    Image.fromarray(np.ones((96, 64), np.uint8)).save(tmp_path / "m.png")
    pair = read_pair(tmp_path / "i.png", tmp_path / "m.png", Reading(longer_side=48, pixels=FOUR))
    assert (pair.image.shape, pair.mask.indices.shape) == ((48, 32, 4), (48, 32))


@pytest.mark.parametrize(("highest", "dark"), [(4095, True), (16_000, True), (17_000, False), (65_535, False)])
@pytest.mark.parametrize("kind", ["grey", "colours", "bands"])
def test_16_bit_files_with_few_values_are_noted(tmp_path: Path, kind: str, highest: int, dark: bool) -> None:
    path, channels = tmp_path / "a.tif", {"grey": 1, "colours": 3, "bands": 5}[kind]
    stored = values(20, 20, channels, dtype=np.uint16, highest=highest)
    stored[0, 0] = highest
    if kind == "bands":
        tifffile.imwrite(path, stored, photometric="minisblack", planarconfig="contig")
    else:
        tifffile.imwrite(path, stored.squeeze(), photometric="rgb" if channels == 3 else "minisblack")
    pixels = PixelFormat(channels)
    note = dark_note(decode_dataset_image(path, pixels), path, pixels)
    assert ("set data.range to the lowest and highest value" in note) == dark == bool(note)
    ranged = PixelFormat(channels, (0, highest))
    assert not dark_note(decode_dataset_image(path, ranged), path, ranged)
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "night.png")
    assert not dark_note(decode_dataset_image(tmp_path / "night.png"), tmp_path / "night.png", RGB)


def test_statistics_are_those_of_all_pixels() -> None:
    first, second = values(6, 5, 4), values(9, 2, 4)
    second[..., 3] = 7
    first[..., 3] = 7
    both_images = np.concatenate([image.reshape(-1, 4) for image in (first, second)]) / 255
    mean, std = channel_statistics([channel_sums(first), "", channel_sums(second)])
    np.testing.assert_allclose(mean, both_images.mean(0), atol=1e-6)
    np.testing.assert_allclose(std[:3], both_images.std(0)[:3], atol=1e-6)
    assert std[3] == pytest.approx(1 / 255, abs=1e-6)  # not 0, by which nothing can be divided
    assert channel_sums(values(2, 2, 3)) == ""
    assert channel_statistics([""]) == ((), ())


def test_people_see_three_bands() -> None:
    rgb = values(2, 2, 3)
    assert displayed(rgb) is rgb
    five = values(2, 2, 5)
    np.testing.assert_array_equal(displayed(five), five[..., :3])
    for channels in (1, 2):
        grey = values(2, 2, channels)
        np.testing.assert_array_equal(displayed(grey), grey[..., :1].repeat(3, -1))
