"""Checks of image and mask files; tests/test_damaged_data.py has every kind of damage."""

import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from voc_seg.system.errors import VocSegError
from voc_seg.voc import decode_memory
from voc_seg.voc.classes import CLASS_NAMES, VOID, name_classes, voc_palette
from voc_seg.voc.images import decode_dataset_image, orientation
from voc_seg.voc.masks import BY_PALETTE, decode_mask, palette_image

HEIGHT, WIDTH = 12, 20


@pytest.fixture
def mask() -> np.ndarray:
    """Every class and void, ``uint8 (33, 47)``."""
    return np.random.default_rng(1).choice(np.array([*range(21), VOID], np.uint8), (33, 47))


@pytest.mark.parametrize("palette", [True, False])
def test_masks_come_back_bit_by_bit(tmp_path, mask, palette):
    picture = palette_image(mask) if palette else Image.fromarray(mask)
    picture.save(tmp_path / "m.png")
    found = decode_mask(tmp_path / "m.png")
    assert (found.mode, found.note) == ("P" if palette else "L", "")
    decoded = found.indices
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, mask)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_images_become_rgb(tmp_path, mode):
    Image.new(mode, (WIDTH, HEIGHT)).save(tmp_path / "i.jpg")
    image = decode_dataset_image(tmp_path / "i.jpg")
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8


def test_decoding_a_missing_file_is_the_users_error(tmp_path):
    with pytest.raises(VocSegError, match="missing image"):
        decode_dataset_image(tmp_path / "absent.jpg")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_masks_in_class_colours_are_converted_with_a_note(tmp_path, mask, mode):
    Image.fromarray(voc_palette()[mask]).convert(mode).save(tmp_path / "m.png")
    found = decode_mask(tmp_path / "m.png")
    np.testing.assert_array_equal(found.indices, mask)
    assert found.indices.dtype == np.uint8
    assert (found.mode, found.note) == (mode, "mask read by its RGB colours")


def test_own_colours_are_recognised(tmp_path):
    classes = name_classes(("background", "crack"), ((10, 20, 30), (0, 0, 255)))
    indices = np.array([[0, 1, VOID]], np.uint8)
    Image.fromarray(classes.palette()[indices]).save(tmp_path / "m.png")
    np.testing.assert_array_equal(decode_mask(tmp_path / "m.png", classes).indices, indices)
    with pytest.raises(VocSegError, match=r"has \(0, 0, 255\), \(10, 20, 30\), which no class has"):
        decode_mask(tmp_path / "m.png")


def test_only_a_few_strange_colours_are_listed(tmp_path):
    noise = np.random.default_rng(0).integers(1, 9, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "m.png")
    with pytest.raises(
        VocSegError,
        match=r"m\.png is RGB and has \(.*\) and \d+ more, which no class has \(\d+ of \d+ pixels\); add the colour",
    ):
        decode_mask(tmp_path / "m.png")


def reordered(mask: np.ndarray) -> Image.Image:
    """As PNG optimisers write it: the values in use renumbered, and the palette shortened to them."""
    used, numbers = np.unique(mask, return_inverse=True)
    picture = Image.fromarray(numbers.reshape(mask.shape).astype(np.uint8))
    picture.putpalette(voc_palette()[used].tobytes())
    return picture


@pytest.mark.parametrize("values", [(0, 15, 8), (0, 15, 8, VOID), (15,), (1, 2)])
def test_a_palette_that_contradicts_the_indices_is_read_by_its_colours(tmp_path, values):
    mask = np.random.default_rng(2).choice(np.array(values, np.uint8), (9, 8))
    reordered(mask).save(tmp_path / "m.png")
    found = decode_mask(tmp_path / "m.png")
    np.testing.assert_array_equal(found.indices, mask)
    assert found.indices.dtype == np.uint8
    assert (found.note, found.palette) == (BY_PALETTE, "")


@pytest.mark.parametrize("values", [(0, 1), (0, 1, 2), (2,), (0, 1, 2, VOID)])
def test_names_without_colours_are_no_reason_to_doubt_indices(tmp_path, values):
    """Black, green, maroon: VOC's default colours of classes 0, 2, 1; the classes declare no colours."""
    palette = np.zeros((256, 3), np.uint8)
    palette[[1, 2, VOID]] = (0, 128, 0), (128, 0, 0), (255, 255, 255)
    mask = np.random.default_rng(2).choice(np.array(values, np.uint8), (9, 8))
    picture = Image.fromarray(mask)
    picture.putpalette(palette.tobytes())
    picture.save(tmp_path / "m.png")
    for colours in ((), (None, (1, 2, 3), None)):
        found = decode_mask(tmp_path / "m.png", name_classes(("background", "defect", "rim"), colours))
        np.testing.assert_array_equal(found.indices, mask)
    picture.convert("RGB").save(tmp_path / "m.png")
    with pytest.raises(VocSegError, match=r"m\.png is RGB; give every class in data\.classes its colour"):
        decode_mask(tmp_path / "m.png", name_classes(("background", "defect", "rim")))


@pytest.mark.parametrize(("bits", "values"), [(2, (0, 1, 3)), (4, (0, 1, 7, 15))])
def test_grey_of_few_bits_holds_indices_too(tmp_path, bits, values):
    mask = np.random.default_rng(0).choice(np.array(values, np.uint8), (8, 8))
    packed = np.packbits(np.unpackbits(mask[..., None], axis=-1)[..., 8 - bits :].reshape(8, -1), axis=-1)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    header = struct.pack(">IIBBBBB", 8, 8, bits, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    np.testing.assert_array_equal(decode_mask(tmp_path / "m.png").indices, mask)


def test_bytes_after_the_end_of_a_jpeg_do_not_matter(tmp_path):
    path = tmp_path / "i.jpg"
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    whole = path.read_bytes()
    for trailer in (b"\0" * 50, b"SEFT" + b"\0" * 8, b"\0" * 50 + b"x"):
        path.write_bytes(whole + trailer)
        assert decode_dataset_image(path).shape == (HEIGHT, WIDTH, 3)


def test_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "plain.jpg")
    assert [orientation(tmp_path / name) for name in ("turned.jpg", "plain.jpg", "none.jpg")] == [6, 1, 1]


@pytest.mark.parametrize(("kind", "value"), [(1, b"\6\0\0\0"), (2, b"6\0\0\0"), (3, b"\0\0\0\0"), (3, b"\x11\1\0\0")])
def test_an_orientation_that_means_nothing_is_none(tmp_path, kind, value):
    """A byte or text, 0 and 273 are values found in real images."""
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHI", 8, 1, 0x0112, kind, 1) + value + bytes(4)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "i.jpg", exif=exif)
    assert orientation(tmp_path / "i.jpg") == 1


@pytest.mark.parametrize(
    "colours",
    [
        np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1),  # greys
        np.zeros((256, 3), np.uint8),  # all black
        np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8),
        voc_palette(),
    ],
    ids=["grey", "black", "random", "voc"],
)
@pytest.mark.parametrize("values", [(0, 1, 7, VOID), (7,), (0, 1), (0, 255), (0,), (8, 15, 20)])
def test_any_other_palette_plays_no_part(tmp_path, colours, values):
    mask = np.random.default_rng(2).choice(np.array(values, np.uint8), (9, 8))
    picture = Image.fromarray(mask)
    picture.putpalette(colours.tobytes())
    picture.save(tmp_path / "m.png")
    found = decode_mask(tmp_path / "m.png")
    np.testing.assert_array_equal(found.indices, mask)
    assert (found.mode, found.note) == ("P", "")


def test_palette_images_hold_indices_and_show_colours(mask):
    picture = palette_image(mask)
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), mask)
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), voc_palette()[mask])
    own = palette_image(mask, name_classes(CLASS_NAMES, ((9, 8, 7),)))
    np.testing.assert_array_equal(np.asarray(own.convert("RGB"))[mask == 0], [[9, 8, 7]] * int((mask == 0).sum()))


@pytest.mark.parametrize("read", [decode_dataset_image, decode_mask])
@pytest.mark.parametrize(
    "content",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 40\n%%EndComments\nshowpage\n%%EOF\n",
        b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
        b"P6 1 1 255 abc",
    ],
    ids=["eps", "gif", "ppm"],
)
def test_other_formats_are_not_opened(tmp_path, monkeypatch, read, content):
    """Pillow starts Ghostscript for EPS, whatever the file's name."""

    def started(*args, **kwargs):
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", started)
    (tmp_path / "i.png").write_bytes(content)
    with pytest.raises(VocSegError, match=r"unreadable (image|mask): .*i\.png \(.*not JPEG, PNG, TIFF, BMP or WEBP\)"):
        read(tmp_path / "i.png")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
def test_the_formats_of_a_data_set_are_read_whatever_their_ending(tmp_path, format):
    Image.new("RGB", (WIDTH, HEIGHT), (200, 10, 10)).save(tmp_path / "i.jpg", format=format)
    assert decode_dataset_image(tmp_path / "i.jpg").shape == (HEIGHT, WIDTH, 3)


def test_transparent_pixels_of_an_image_are_white(tmp_path):
    """As in images with a transparent background; the hidden colours are arbitrary."""
    pixels = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 51]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "i.png")
    assert decode_dataset_image(tmp_path / "i.png")[0].tolist() == [[255] * 3, [10, 20, 30], [204] * 3]
    pixels[..., 3] = 255
    Image.fromarray(pixels).save(tmp_path / "i.png")
    np.testing.assert_array_equal(decode_dataset_image(tmp_path / "i.png"), pixels[..., :3])


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_in_a_tiff_holds_indices_too(tmp_path, bits):
    """Pillow stretches 1 to 85 or 17, which is VOC's sheep."""
    mask = np.array([[0, 1, 3, 2]], np.uint8)
    packed = np.packbits(np.unpackbits(mask[..., None], axis=-1)[..., 8 - bits :].reshape(1, -1), axis=-1).tobytes()
    tags = [(256, 4), (257, 1), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, len(packed))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    body = b"II*\0" + struct.pack("<I", 8 + 4) + packed.ljust(4, b"\0") + struct.pack("<H", len(tags)) + entries
    (tmp_path / "m.tif").write_bytes(body + struct.pack("<I", 0))
    np.testing.assert_array_equal(decode_mask(tmp_path / "m.tif").indices, mask)


def test_huge_sizes_are_refused_before_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT // 2 - 1)
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "m.png")
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("decoded"))
    for read in (decode_dataset_image, decode_mask):
        with pytest.raises(VocSegError, match=r"oversized (image|mask): .*m\.png"):
            read(tmp_path / "m.png")


def test_an_image_counts_as_in_use_while_its_mask_is_decoded(tmp_path, monkeypatch):
    """Otherwise every thread could hold a large image and wait: threads are limited by bytes."""
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "i.png")
    monkeypatch.setattr(decode_memory, "_MAX_BYTES", WIDTH * HEIGHT * 20)
    kept, most = [], []

    def pair(_: int) -> None:
        with decode_memory.hold_decode_memory():
            decode_dataset_image(tmp_path / "i.png")
            kept.append(1)
            most.append(len(kept))
            time.sleep(0.02)
            decode_dataset_image(tmp_path / "i.png")
            kept.pop()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(pair, range(8)))
    assert max(most) == 1
    assert decode_memory._in_use == 0
    decode_dataset_image(tmp_path / "i.png")  # a single later reader is not affected
    assert decode_memory._in_use == 0


@pytest.mark.parametrize(("bits", "greys"), [(8, (0, 255)), (4, (0, 255)), (4, range(16))])
def test_a_bmp_whose_bits_are_taken_wrong_is_refused(tmp_path, bits, greys):
    palette, pixels = b"".join(bytes([grey, grey, grey, 0]) for grey in greys), bytes([0, 1, 1, 0] * 4)
    start = 54 + len(palette)
    head = struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, bits, 0, len(pixels), 0, 0, len(greys), 0)
    (tmp_path / "mask.bmp").write_bytes(head + info + palette + pixels)
    with pytest.raises(VocSegError, match=f"BMP of {bits} bits .*mask.bmp.*save it as PNG"):
        decode_dataset_image(tmp_path / "mask.bmp")
