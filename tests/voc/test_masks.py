"""The meaning of stored values and colours of masks; tests/voc/test_image_file.py has the files."""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from voc_seg.system.errors import VocSegError
from voc_seg.voc import mask_colours, mask_modes, mask_values
from voc_seg.voc.classes import VOID, Classes, name_classes
from voc_seg.voc.mask_values import count_values
from voc_seg.voc.masks import BY_GREY, BY_PALETTE, decode_mask

BLACK_AND_WHITE = name_classes(("background", "object"), ((0, 0, 0), (255, 255, 255)))


def classes_with(values, names=("background", "cat", "dog")) -> Classes:
    return Classes(tuple(names), name_classes(names).colours, coded=False, values=tuple(values.items()))


def read(tmp_path, stored, classes, mode="L"):
    image = Image.fromarray(np.array([stored], np.uint8))
    if mode == "P":
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    image.save(tmp_path / "m.png")
    return decode_mask(tmp_path / "m.png", classes)


@pytest.mark.parametrize("mode", ["L", "P"])
@pytest.mark.parametrize(
    ("values", "stored", "expected"),
    [
        ({0: 0, 255: 1}, [0, 255, 0], [0, 1, 0]),  # the usual export of two classes
        ({1: 0, 2: 1, 3: 2, 0: VOID}, [0, 1, 2, 3], [VOID, 0, 1, 2]),  # counted from one
        ({10: 1, 200: 2}, [0, 10, 200], [0, 1, 2]),  # gaps
        ({4: VOID}, [0, 1, 2, 4, 255], [0, 1, 2, VOID, VOID]),  # another value for ignore
        ({1: 1, 2: 1, 3: 1}, [0, 1, 2, 3], [0, 1, 1, 1]),  # merged
        ({15: 1, 0: 0, 3: 0, 7: VOID}, [0, 3, 7, 15], [0, 0, VOID, 1]),  # one class of VOC's
    ],
)
def test_stored_values_have_the_declared_meaning(tmp_path, mode, values, stored, expected):
    found = read(tmp_path, stored, classes_with(values), mode)
    np.testing.assert_array_equal(found.indices, [expected])
    assert found.indices.dtype == np.uint8


@pytest.mark.parametrize(
    ("values", "stored", "unknown", "known"),
    [
        ({15: 1}, [0, 1, 15], "1", "0, 2, 15 and 255"),  # VOC's aeroplane is not 'cat' because of its number
        ({1: 0, 2: 1, 3: 2}, [0, 1], "0", "1 to 3 and 255"),
        ({255: 1, 0: 0}, [0, 7, 255], "7", "0, 2 and 255"),
    ],
)
def test_a_class_with_declared_values_has_no_others(tmp_path, values, stored, unknown, known):
    with pytest.raises(VocSegError, match=rf"unknown labels: .*m\.png has {unknown} \(known are {known}; data\.values"):
        read(tmp_path, stored, classes_with(values))


@pytest.mark.parametrize("stored", [[0, 255], [255, 255], [0, 0]])
def test_greys_of_declared_colours_are_classes(tmp_path, stored):
    found = read(tmp_path, stored, BLACK_AND_WHITE)
    np.testing.assert_array_equal(found.indices, [[value // 255 for value in stored]])
    assert found.note == (BY_GREY if any(stored) else "")


def test_other_greys_are_values(tmp_path):
    found = read(tmp_path, [0, 1, 255], BLACK_AND_WHITE)
    np.testing.assert_array_equal(found.indices, [[0, 1, VOID]])
    assert not found.note


def test_without_colours_for_all_255_stays_void(tmp_path):
    found = read(tmp_path, [0, 255], name_classes(("background", "object"), (None, (255, 255, 255))))
    np.testing.assert_array_equal(found.indices, [[0, VOID]])


def test_palettes_are_written_down_where_values_count(tmp_path):
    image = Image.fromarray(np.array([[0, 2, 2]], np.uint8))
    image.putpalette([0, 0, 0, 9, 9, 9, 230, 159, 0])
    image.save(tmp_path / "m.png")
    names = name_classes(("background", "cat", "dog"))
    assert decode_mask(tmp_path / "m.png", names).palette == '{"0": "000000", "2": "e69f00"}'
    image.putpalette(bytes(768))  # all black
    image.save(tmp_path / "m.png")
    assert decode_mask(tmp_path / "m.png", names).palette == ""
    image.putpalette(bytes(value for grey in range(256) for value in (grey, grey, grey)))
    image.save(tmp_path / "m.png")
    assert decode_mask(tmp_path / "m.png", names).palette == ""


def test_large_coloured_masks_are_read_in_strips(tmp_path, monkeypatch):
    for module in (mask_colours, mask_values):
        monkeypatch.setattr(module, "STRIP_PIXELS", 70)
    classes = name_classes(("background", "a", "b"), ((0, 0, 0), (1, 2, 3), (3, 2, 1)))
    indices = np.random.default_rng(0).choice(np.array([0, 1, 2, VOID], np.uint8), (31, 33))
    Image.fromarray(classes.palette()[indices]).save(tmp_path / "m.png")
    np.testing.assert_array_equal(decode_mask(tmp_path / "m.png", classes).indices, indices)
    np.testing.assert_array_equal(count_values(indices), np.bincount(indices.ravel(), minlength=256))
    pixels = classes.palette()[indices]
    pixels[-1, -1] = pixels[0, :2] = 7, 7, 8
    pixels[1, 1] = 250, 0, 0
    Image.fromarray(pixels).save(tmp_path / "m.png")
    message = (
        r"m\.png is RGB and has \(7, 7, 8\), \(250, 0, 0\), which no class has \(4 of 1023 pixels\); add the "
        r"colour to a class in data\.classes, or paint void pixels \(224, 224, 192\)"
    )
    with pytest.raises(VocSegError, match=message):
        decode_mask(tmp_path / "m.png", classes)


def test_a_coloured_mask_takes_little_more_memory_than_its_pixels(tmp_path):
    import tracemalloc

    classes = name_classes(("background", "a"), ((0, 0, 0), (1, 2, 3)))
    Image.fromarray(np.zeros((3000, 2000, 3), np.uint8)).save(tmp_path / "m.png")
    tracemalloc.start()
    decode_mask(tmp_path / "m.png", classes)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5 * 3000 * 2000  # NumPy's part; whole arrays of numbers would take 40 bytes a pixel


COLOURED = name_classes(("background", "cat", "dog"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))
RENUMBERED = (255, 0, 0), (0, 255, 0), (0, 0, 0)  # value 0 is a cat, 1 a dog, 2 background


def read_palette(tmp_path, stored, colours, classes):
    image = Image.fromarray(np.array([stored], np.uint8))
    palette = np.full((256, 3), 200, np.uint8)
    for value, colour in colours.items():
        palette[value] = colour
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "m.png")
    return decode_mask(tmp_path / "m.png", classes)


def test_void_may_have_any_colour_in_a_renumbered_palette(tmp_path):
    colours = dict(enumerate(RENUMBERED)) | {255: (255, 255, 255)}
    found = read_palette(tmp_path, [0, 1, 2, 255], colours, COLOURED)
    np.testing.assert_array_equal(found.indices, [[1, 2, 0, VOID]])
    assert found.note == BY_PALETTE


def test_a_renumbered_palette_with_an_unknown_colour_is_refused(tmp_path):
    """Read by value, a cat would silently be background."""
    colours = dict(enumerate(RENUMBERED)) | {3: (255, 255, 255)}
    with pytest.raises(VocSegError, match=r"palette and values disagree: .*m\.png shows value 0 in the colour of cat"):
        read_palette(tmp_path, [0, 1, 2, 3], colours, COLOURED)


@pytest.mark.parametrize("values", [((255, VOID),), ((2, 2),)])
def test_declared_values_do_not_excuse_the_others(tmp_path, values):
    classes = Classes(COLOURED.names, COLOURED.colours, values=values)
    with pytest.raises(VocSegError, match="palette and values disagree"):
        read_palette(tmp_path, [0, 1, 2], dict(enumerate(RENUMBERED)), classes)


def test_declared_values_are_believed_against_a_palette(tmp_path):
    classes = Classes(COLOURED.names, COLOURED.colours, values=((0, 0), (1, 1), (2, 2)))
    found = read_palette(tmp_path, [0, 1, 2], dict(enumerate(RENUMBERED)), classes)
    np.testing.assert_array_equal(found.indices, [[0, 1, 2]])


def test_the_colour_of_void_does_not_make_palettes_differ(tmp_path):
    names = name_classes(("background", "cat", "dog"))
    found = read_palette(tmp_path, [0, 1, 255], {0: (0, 0, 0), 1: (255, 0, 0), 255: (255, 255, 255)}, names)
    assert found.palette == '{"0": "000000", "1": "ff0000"}'


def test_only_low_greys_look_like_indices(tmp_path):
    for grey, hinted in ((3, True), (255, False)):
        Image.fromarray(np.full((2, 2, 3), grey, np.uint8)).save(tmp_path / "m.png")
        with pytest.raises(VocSegError, match="which no class has") as caught:
            decode_mask(tmp_path / "m.png", COLOURED)
        assert ("indices saved as RGB" in str(caught.value)) == hinted


PLAIN = name_classes(("background", "cat", "dog"))
INDICES = np.array([[0, 1, 2, VOID]], np.uint8)


def equal_channels(values, mode="RGB"):
    return Image.fromarray(np.repeat(np.array([values], np.uint8)[..., None], 3, axis=2)).convert(mode)


def wide(values, mode):
    kinds = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    return Image.fromarray(np.array([values], kinds[mode]))


@pytest.mark.parametrize("classes", [PLAIN, COLOURED], ids=["plain", "coloured"])
@pytest.mark.parametrize(
    ("image", "ending", "note"),
    [
        (equal_channels(INDICES[0]), "png", mask_modes.BY_EQUAL_CHANNELS),
        (equal_channels(INDICES[0], "RGBA"), "png", mask_modes.BY_EQUAL_CHANNELS),
        (equal_channels(INDICES[0]), "bmp", mask_modes.BY_EQUAL_CHANNELS),
        (Image.fromarray(INDICES).convert("LA"), "png", mask_modes.BY_GREY_OF_ALPHA),
        (wide(INDICES[0], "I;16"), "png", mask_modes.BY_WIDE_VALUES),
        (wide(INDICES[0], "I"), "tif", mask_modes.BY_WIDE_VALUES),
        (wide(INDICES[0], "F"), "tif", mask_modes.BY_WIDE_VALUES),
    ],
    ids=["RGB", "RGBA", "bmp", "LA", "16 bits", "32 bits", "float"],
)
def test_indices_in_other_modes_are_read_and_noted(tmp_path, classes, image, ending, note):
    image.save(tmp_path / f"m.{ending}")
    found = decode_mask(tmp_path / f"m.{ending}", classes)
    np.testing.assert_array_equal(found.indices, INDICES)
    assert found.indices.dtype == np.uint8
    assert found.note == note


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_one_bit_holds_two_classes(tmp_path, ending):
    Image.fromarray(np.array([[False, True]])).save(tmp_path / f"m.{ending}")
    found = decode_mask(tmp_path / f"m.{ending}", PLAIN)
    np.testing.assert_array_equal(found.indices, [[0, 1]])
    assert (found.mode, found.note) == ("1", mask_modes.BY_BITS)
    white_first = name_classes(("paper", "ink"), ((255, 255, 255), (0, 0, 0)))
    found = decode_mask(tmp_path / f"m.{ending}", white_first)
    np.testing.assert_array_equal(found.indices, [[1, 0]])
    assert found.note == f"{mask_modes.BY_BITS}; {BY_GREY}"


def test_declared_values_hold_in_equal_channels(tmp_path):
    equal_channels([0, 255]).save(tmp_path / "m.png")
    found = decode_mask(tmp_path / "m.png", classes_with({0: 0, 255: 1}))
    np.testing.assert_array_equal(found.indices, [[0, 1]])


@pytest.mark.parametrize(
    ("image", "classes", "message"),
    [
        (equal_channels([0, 255]), COLOURED, r"has \(255, 255, 255\), which no class has"),  # white is not void there
        (equal_channels([0, 1, 3]), COLOURED, r"has \(1, 1, 1\), \(3, 3, 3\), which no class has"),
        (equal_channels([0, 3]), PLAIN, r"unknown labels: .*m\.tif has 3"),
        (wide([0, 1, 65_535], "I;16"), PLAIN, r"values from 0 to 65535; class indices are 0 to 254"),
        (wide([-1, 0, 1], "I"), PLAIN, "values from -1 to 1"),
        (wide([0, 0.5, 1], "F"), PLAIN, r"has fractions \(F\)"),
        (wide([0, float("nan")], "F"), PLAIN, "values from nan to nan"),
        (Image.fromarray(np.array([[[1, 254]]], np.uint8), "LA"), PLAIN, "is LA and not opaque"),
    ],
    ids=["black and white", "one index too high", "unknown", "65535", "negative", "fractions", "nan", "alpha"],
)
def test_invalid_values_in_other_modes_are_refused(tmp_path, image, classes, message):
    image.save(tmp_path / "m.tif")
    with pytest.raises(VocSegError, match=message):
        decode_mask(tmp_path / "m.tif", classes)


def test_16_bits_a_channel_lose_their_lower_half(tmp_path):
    """Pillow keeps the upper half of each value, so all indices would be background."""
    rows = b"\0" + np.array([[0, 0, 0], [1, 1, 1], [2, 2, 2]], ">u2").tobytes()
    header = struct.pack(">IIBBBBB", 3, 1, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(VocSegError, match=r"16 bits a channel: .*m\.png is RGB; save it with a single channel"):
        decode_mask(tmp_path / "m.png", PLAIN)


def test_several_pages_are_not_one_mask(tmp_path):
    pages = [Image.fromarray(INDICES) for _ in range(3)]
    pages[0].save(tmp_path / "m.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(VocSegError, match=r"several pages: .*m\.tif has 3"):
        decode_mask(tmp_path / "m.tif", PLAIN)


@pytest.mark.parametrize(
    ("name", "options"),
    [("m.webp", {"quality": 95}), ("m.webp", {"quality": 80, "exif": b"Exif\0\0"}), ("m.tif", {"compression": "jpeg"})],
    ids=["webp", "webp with tags", "tiff"],
)
def test_lossy_compression_is_refused_whatever_the_format(tmp_path, name, options):
    equal_channels([0, 1, 2, 255] * 8).save(tmp_path / name, **options)
    with pytest.raises(VocSegError, match=r"lossy mask: .* with lossy compression, which changes labels"):
        decode_mask(tmp_path / name, PLAIN)


@pytest.mark.parametrize("options", [{}, {"exif": b"Exif\0\0"}], ids=["plain", "with tags"])
def test_lossless_webp_is_read(tmp_path, options):
    equal_channels(INDICES[0]).save(tmp_path / "m.webp", lossless=True, **options)
    np.testing.assert_array_equal(decode_mask(tmp_path / "m.webp", PLAIN).indices, INDICES)


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_an_exif_orientation_of_a_mask_is_refused(tmp_path, ending):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / f"mask.{ending}", exif=exif, lossless=True)
    with pytest.raises(VocSegError, match=f"EXIF orientation: .*mask.{ending} has 3"):
        decode_mask(tmp_path / f"mask.{ending}", name_classes(("background", "object")))


def test_greys_whose_colour_contradicts_the_declared_values_are_refused(tmp_path):
    greys = name_classes(("background", "cat", "dog"), ((0, 0, 0), (128,) * 3, (255,) * 3))
    Image.fromarray(np.full((1, 2, 3), 255, np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(VocSegError, match=r"colour of dog in data.classes, but 255 means void in data.values"):
        decode_mask(tmp_path / "mask.png", replace(greys, values=((255, 255),)))
    assert (decode_mask(tmp_path / "mask.png", replace(greys, values=((255, 2),))).indices == 2).all()


def test_white_of_one_bit_is_255_where_values_know_no_1(tmp_path):
    declared = replace(name_classes(("background", "object")), values=((0, 0), (255, 1)))
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "mask.png")
    mask = decode_mask(tmp_path / "mask.png", declared)
    assert mask.indices.tolist() == [[0, 1]]
    assert "0 and 255" in mask.note
    swapped = replace(declared, values=((0, 1), (1, 0)))
    assert decode_mask(tmp_path / "mask.png", swapped).indices.tolist() == [[1, 0]]
