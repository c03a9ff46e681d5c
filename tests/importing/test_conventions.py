"""Conventions of masks: each is read right, or refused with a sentence that names the remedy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from voc_seg.config import DataConfig
from voc_seg.importing.classes import class_pixels, class_rows, plan_classes
from voc_seg.importing.environment import data_text
from voc_seg.importing.inspect import inspect_pairs
from voc_seg.importing.layout import Found, LabelledImage
from voc_seg.importing.overrides import join_lists, parse_overrides
from voc_seg.system.errors import VocSegError
from voc_seg.voc.classes import VOID, voc_palette
from voc_seg.voc.masks import decode_mask

SIZE = (24, 32)
CAT, DOG = (slice(2, 12), slice(3, 13)), (slice(13, 22), slice(18, 30))
IMAGES = 4

Saved = Callable[[np.ndarray, Path], None]


def truth(number: int) -> np.ndarray:
    """0 background, 1 in every image, 2 in every second, 255 as a border of the first object."""
    mask = np.zeros(SIZE, np.uint8)
    mask[1:13, 2:14] = VOID
    mask[CAT] = 1
    if number % 2:
        mask[DOG] = 2
    return mask


def grey(*values: int) -> Saved:
    """Background, first, second and void by these values."""
    return lambda mask, path: Image.fromarray(mapped(mask, np.array(values, np.uint8))).save(path)


def mapped(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    return values[np.where(mask == VOID, 3, mask)]


def coloured(*colours: tuple[int, int, int], mode: str = "RGB") -> Saved:
    return lambda mask, path: Image.fromarray(mapped(mask, np.array(colours, np.uint8))).convert(mode).save(path)


def palette(values: Sequence[int], colours: Sequence[tuple[int, int, int]]) -> Saved:
    def save(mask: np.ndarray, path: Path) -> None:
        image = Image.fromarray(mapped(mask, np.array(values, np.uint8)))
        table = np.zeros((256, 3), np.uint8)
        table[list(values)] = colours
        image.putpalette(table.tobytes())
        image.save(path)

    return save


def wide(mask: np.ndarray, path: Path) -> None:
    Image.fromarray(mapped(mask, np.array([0, 1, 2, 255], np.int32)).astype(np.uint16)).save(path)


def thousands(mask: np.ndarray, path: Path) -> None:
    Image.fromarray(mapped(mask, np.array([0, 1000, 2000, 0], np.int32)).astype(np.uint16)).save(path)


def one_bit(mask: np.ndarray, path: Path) -> None:
    Image.fromarray(mask == 1).save(path)


def blurred(mask: np.ndarray, path: Path) -> None:
    small = Image.fromarray(np.where(mask == 1, 255, 0).astype(np.uint8))
    small.resize((37, 29), Image.Resampling.BICUBIC).resize(SIZE[::-1], Image.Resampling.BILINEAR).save(path)


def transparent(mask: np.ndarray, path: Path) -> None:
    pixels = np.zeros((*SIZE, 4), np.uint8)
    pixels[mask == 1] = (255, 0, 0, 255)
    Image.fromarray(pixels).save(path)


def jpeg(mask: np.ndarray, path: Path) -> None:
    Image.fromarray(mapped(mask, np.array([0, 100, 200, 255], np.uint8))).save(path, format="JPEG")


def alternating(*writers: Saved) -> Saved:
    """Other files in another convention."""
    return lambda mask, path: writers[int(path.stem[-1]) % len(writers)](mask, path)


VOC = [tuple(colour) for colour in voc_palette().tolist()]
BLACK, RED, GREEN, GREY = (0, 0, 0), (200, 0, 0), (0, 200, 0), (128, 128, 128)
VOID_COLOUR = VOC[VOID]


@dataclass(frozen=True)
class Case:
    """A convention and what must come of it: names of background, first, second and void; or the refusal."""

    save: Saved
    names: tuple[str, str, str, str] = ("", "", "", "")
    refused: str = ""
    options: dict[str, str] = field(default_factory=dict)
    found: dict[str, object] = field(default_factory=dict)


BINARY = ("background", "object", "background", "background")
CASES = {
    "0 and 255": Case(grey(0, 255, 0, 0), BINARY),
    "0 and 1": Case(grey(0, 1, 0, 0), BINARY),
    "1 bit": Case(one_bit, BINARY),
    "0 and 128": Case(grey(0, 128, 0, 0), BINARY),
    "indices with void": Case(grey(0, 1, 2, 255), ("background", "class_1", "class_2", "void")),
    "indices in 16 bits": Case(wide, ("background", "class_1", "class_2", "void")),
    "gaps": Case(grey(0, 7, 40, 0), ("background", "class_7", "class_40", "background")),
    "numbered from 1": Case(grey(1, 2, 3, 0), ("class_1", "class_2", "class_3", "background")),
    "from 1, named": Case(
        grey(1, 2, 3, 0), ("background", "cat", "dog", "void"), options={"classes": "1=background,2=cat,3=dog,0=void"}
    ),
    "another void": Case(grey(0, 1, 2, 9), ("background", "class_1", "class_2", "void"), options={"void": "9"}),
    "merged": Case(grey(0, 1, 2, 255), ("background", "animal", "animal", "void"), options={"merge": "animal=1+2"}),
    "merged by name": Case(
        grey(0, 1, 2, 255),
        ("background", "pet", "pet", "void"),
        options={"merge": "pet=cat+dog"},
        found={"values": {0: "background", 1: "cat", 2: "dog"}},
    ),
    "ignored class": Case(grey(0, 1, 2, 255), ("background", "class_1", "void", "void"), options={"void": "2"}),
    "grey levels": Case(grey(0, 100, 200, 255), ("background", "class_100", "class_200", "class_255")),
    "0 and 255, inverted": Case(
        grey(255, 0, 255, 255),
        ("background", "tree", "background", "background"),
        options={"classes": "255=background,0=tree"},
    ),
    "VOC palette": Case(
        palette((0, 1, 2, 255), (BLACK, VOC[1], VOC[2], VOID_COLOUR)), ("background", "class_1", "class_2", "void")
    ),
    "palettes in another order": Case(
        alternating(
            palette((0, 1, 2, 255), (BLACK, RED, GREEN, VOID_COLOUR)),
            palette((5, 2, 1, 9), (BLACK, RED, GREEN, VOID_COLOUR)),
        ),
        ("background", "colour_c80000", "colour_00c800", "void"),
    ),
    "RGB": Case(coloured(BLACK, RED, GREEN, VOID_COLOUR), ("background", "colour_c80000", "colour_00c800", "void")),
    "RGB with a labelmap": Case(
        coloured(GREY, RED, GREEN, BLACK),
        ("street", "cat", "dog", "void"),
        found={"colours": {BLACK: "void", GREY: "street", RED: "cat", GREEN: "dog"}},
    ),
    "greys with a labelmap": Case(
        coloured(BLACK, (255,) * 3, GREY, BLACK),
        ("background", "snow", "stone", "background"),
        found={"colours": {BLACK: "background", (255,) * 3: "snow", GREY: "stone"}},
    ),
    "indices beside a list of other colours": Case(
        grey(0, 1, 2, 255),
        ("background", "class_1", "class_2", "void"),
        found={"colours": {BLACK: "background", RED: "cat", GREEN: "dog"}},
    ),
    "RGB and opaque alpha": Case(coloured(BLACK, RED, BLACK, BLACK, mode="RGBA"), BINARY),
    "RGB, two colours of a class": Case(
        coloured(BLACK, RED, GREEN, GREY),
        ("background", "pet", "pet", "void"),
        options={"classes": "#c80000=pet,#00c800=pet", "void": "#808080"},
    ),
    "indices in RGB": Case(
        coloured((0, 0, 0), (1, 1, 1), (2, 2, 2), (255, 255, 255)), ("background", "class_1", "class_2", "void")
    ),
    "black and white in RGB": Case(coloured(BLACK, (255,) * 3, BLACK, BLACK), BINARY),
    "RGB beside a palette of the same colours": Case(
        alternating(coloured(BLACK, RED, GREEN, BLACK), palette((0, 1, 2, 0), (BLACK, RED, GREEN, BLACK))),
        ("background", "colour_c80000", "colour_00c800", "background"),
    ),
    "1 in some masks, 255 in others": Case(
        alternating(grey(0, 1, 0, 0), grey(0, 255, 0, 0)), refused=r"1 \(such as .*--classes 0=background,1=object,255"
    ),
    "the same, with the remedy": Case(
        alternating(grey(0, 1, 0, 0), grey(0, 255, 0, 0)),
        BINARY,
        options={"classes": "0=background,1=object,255=object"},
    ),
    "blurred borders": Case(blurred, refused=r"anti-aliasing or resizing.*--void \d+-\d+"),
    "JPEG": Case(jpeg, refused="lossy mask.*save the masks as PNG"),
    "transparent": Case(transparent, refused=r"mask with transparency.*save it with a palette"),
    "instances in 16 bits": Case(thousands, refused="values from 0 to 2000.*save class indices"),
    "only background": Case(grey(0, 0, 0, 0), refused="only one class: background.*--classes"),
    "only void": Case(grey(255, 255, 255, 255), refused="only one class.*--classes"),
    "an unnamed value": Case(
        grey(0, 1, 2, 255),
        refused="values without a name: 2 in 2 masks such as m1.*--classes 2=name.*--void 2",
        found={"values": {0: "background", 1: "cat"}},
    ),
    "0 and 255 with the names of 0 and 1": Case(
        grey(0, 255, 0, 0),
        refused="values without a name: 255 in 4 masks such as m0.*--classes 255=name.*--void 255",
        found={"values": {0: "background", 1: "tree"}},
    ),
    "indices in some masks, colours in others": Case(
        alternating(grey(0, 1, 2, 0), coloured(BLACK, RED, GREEN, BLACK)),
        refused='in colours, such as m1, and 2 hold plain values, such as m0.*--classes "#010101=name"',
    ),
    "the same, with names": Case(
        alternating(grey(0, 1, 2, 0), coloured(BLACK, RED, GREEN, BLACK)),
        ("background", "cat", "dog", "background"),
        options={"classes": "#010101=cat,#020202=dog,#c80000=cat,#00c800=dog"},
    ),
    "background 254 and void 255": Case(
        grey(254, 0, 1, 255), refused="hold 254 and 255 .such as m0.*--classes 254=background --void 255"
    ),
    "the same, named": Case(
        grey(254, 0, 1, 255),
        ("background", "class_0", "class_1", "void"),
        options={"classes": "254=background,0=class_0", "void": "255"},
    ),
    "traces of lossy compression": Case(grey(0, 255, 254, 1), refused="after lossy compression, for the same object"),
    "an unnamed colour": Case(
        coloured(BLACK, RED, GREEN, BLACK),
        refused="no class has: #00c800 in 2 masks such as m1.*--void #00c800",
        found={"colours": {BLACK: "background", RED: "cat"}},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_convention(tmp_path: Path, case: Case) -> None:
    found = make(tmp_path, case)
    facts = inspect_pairs(found)
    if case.refused:
        with pytest.raises(VocSegError, match=f"(?s){case.refused}"):
            plan_classes(facts, found, parse_overrides(**case.options))
        return
    plan = plan_classes(facts, found, parse_overrides(**case.options))
    # What is written into parameters.yml decides how the masks are read.
    data = DataConfig.model_validate(yaml.safe_load("data:\n" + data_text(plan, class_rows(facts, plan)))["data"])
    assert [one.name for one in data.classes or ()] == list(plan.names)
    names = (*plan.names, *["?"] * (VOID - len(plan.names)), "void")
    for number, one in enumerate(facts):
        assert one.source.mask is not None
        read = np.array(names)[decode_mask(one.source.mask, data.class_table).indices]
        expected = np.array(case.names)[np.where(truth(number) == VOID, 3, truth(number))]
        np.testing.assert_array_equal(read, expected)
        counts = {name: int(count) for name, count in zip(*np.unique(expected, return_counts=True))}
        assert class_pixels(one, plan) == counts


def make(folder: Path, case: Case) -> Found:
    images = []
    for number in range(IMAGES):
        image, mask = folder / f"i{number}.png", folder / f"m{number}.png"
        Image.fromarray(np.full((*SIZE, 3), 40 * number, np.uint8)).save(image)
        case.save(truth(number), mask)
        images.append(LabelledImage(image, mask, name=f"m{number}"))
    return Found(tuple(images), **case.found)  # type: ignore[arg-type]


def test_instance_numbers_are_not_classes(tmp_path: Path) -> None:
    images = []
    for number in range(6):
        mask = np.zeros(SIZE, np.uint8)
        for instance in range(number):
            mask[4 * instance : 4 * instance + 3, 3:9] = instance + 1
        Image.fromarray(mask).save(tmp_path / f"m{number}.png")
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / f"i{number}.png")
        images.append(LabelledImage(tmp_path / f"i{number}.png", tmp_path / f"m{number}.png"))
    found = Found(tuple(images))
    facts = inspect_pairs(found)
    with pytest.raises(VocSegError, match=r"look like instance numbers.*--classes 0=background,1-5=object"):
        plan_classes(facts, found)
    plan = plan_classes(facts, found, parse_overrides("0=background,1-5=object"))
    assert plan.names == ("background", "object")
    assert data_text(plan, class_rows(facts, plan)).count("object: [1, 2, 3, 4, 5]") == 1


def test_a_photograph_is_no_mask(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    for name in ("i.png", "m.png"):
        Image.fromarray(noise).save(tmp_path / name)
    found = Found((LabelledImage(tmp_path / "i.png", tmp_path / "m.png"),))
    with pytest.raises(VocSegError, match=r"mask of \d+ colours.*photograph"):
        plan_classes(inspect_pairs(found), found)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"classes": "0=a,b"}, "--classes: 'b' is not of the form A=B, .* A name cannot have a comma"),
        ({"classes": "a, b"}, 'mask value of each class.* --classes "0=a,1=b" if the masks hold 0, 1'),
        ({"classes": "300=cat"}, "300 is not a mask value"),
        ({"classes": "9-3=cat"}, "9-3 is not a mask value or a range"),
        ({"classes": "#ff00=cat"}, "not a value, range"),
        ({"classes": "1=cat", "void": "0-3"}, "--void: 0-3 has two meanings, cat and void"),
        ({"merge": "animal"}, "--merge: 'animal' is not of the form A=B"),
    ],
)
def test_options_that_cannot_be_read(options: dict[str, str], message: str) -> None:
    with pytest.raises(VocSegError, match=message):
        parse_overrides(**options)


@pytest.mark.parametrize(
    "typed, read",
    [
        ("DIR --classes 0=a, 1=b --name x", ["DIR", "--classes", "0=a,1=b", "--name", "x"]),
        ("--classes=0=a, 1=b, 2=c DIR", ["--classes=0=a,1=b,2=c", "DIR"]),
        ("--void 4, 250-255 --merge a=b+c, d=e+f DIR", ["--void", "4,250-255", "--merge", "a=b+c,d=e+f", "DIR"]),
        ("--classes 0=a, --check DIR", ["--classes", "0=a,", "--check", "DIR"]),
        ("a, --name b, c", ["a,", "--name", "b,", "c"]),
        ("a, b", ["a,", "b"]),
        ("", []),
    ],
)
def test_lists_may_have_blanks_after_commas(typed: str, read: list[str]) -> None:
    assert join_lists(typed.split()) == read


@pytest.mark.parametrize("names, remedy", [(("dog, brown\n", "cat"), "1=other"), (("Cat", "cat"), '"1=Cat,2=Cat"')])
def test_the_advice_on_names_works(tmp_path: Path, names: tuple[str, str], remedy: str) -> None:
    """It names stored values: names may hold commas and equals signs, which options cannot."""
    values = {0: "background", 1: names[0], 2: names[1], 255: "void"}
    found = make(tmp_path, Case(grey(0, 1, 2, 255), found={"values": values}))
    facts = inspect_pairs(found)
    with pytest.raises(VocSegError, match=f"--classes {remedy}"):
        plan_classes(facts, found)
    assert plan_classes(facts, found, parse_overrides(remedy.strip('"'))).values[1] in ("other", "Cat")


def test_a_name_and_a_value_may_not_contradict(tmp_path: Path) -> None:
    found = make(tmp_path, Case(grey(0, 1, 2, 255)))
    with pytest.raises(VocSegError, match="1 has two meanings in the options, cat and dog"):
        plan_classes(inspect_pairs(found), found, parse_overrides("class_1=cat,1=dog"))


@pytest.mark.parametrize("name", ["no", "12", "a: b", "naïve", "{x}", "#1", "null", "a, b", "it's", '"q"'])
def test_names_survive_the_parameters_file(tmp_path: Path, name: str) -> None:
    colours = {(0, 0, 0): "background", (9, 8, 7): name}  # which make a name one of several entries in braces
    found = make(
        tmp_path, Case(grey(0, 1, 2, 0), found={"values": {0: "background", 1: name, 2: name}, "colours": colours})
    )
    facts = inspect_pairs(found)
    plan = plan_classes(facts, found)
    data = DataConfig.model_validate(yaml.safe_load("data:\n" + data_text(plan, class_rows(facts, plan)))["data"])
    assert data.class_table.names == ("background", name)
    assert data.class_table.meaning()[:3].tolist() == [0, 1, 1]
