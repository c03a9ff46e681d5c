"""labelme's JSON files: masks with labelme's own pixels, images however they are named, nothing dropped silently."""

import base64
import runpy
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from voc_seg.importing.files import list_files
from voc_seg.importing.formats.labelme_shapes import draw_labelme
from voc_seg.importing.inspect import inspect_pairs
from voc_seg.importing.layout import find_layout
from voc_seg.importing.layouts import labelme
from voc_seg.system.errors import VocSegError

data = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("annotation_files.py"))))
reference = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("labelme_masks.py"))))
SIZE = data.SIZE
SQUARE = [[4, 4], [12, 4], [12, 12], [4, 12]]


def shape(label: str = "cat", points: Any = SQUARE, kind: str = "polygon", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def document(image: Any, *shapes: Any, size: tuple[int, int] = SIZE, **more: Any) -> dict[str, Any]:
    return {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": image, "imageData": None,
            "imageHeight": size[0], "imageWidth": size[1], **more}  # fmt: skip


def label(folder: Path, *shapes: Any, name: str = "a", size: tuple[int, int] = SIZE, **more: Any) -> Path:
    data.image(folder / f"{name}.jpg", size)
    return data.write(folder / f"{name}.json", document(f"{name}.jpg", *shapes, size=size, **more))


@pytest.mark.parametrize("name", reference.SHAPES)
def test_a_shape_has_the_pixels_of_labelme(name: str) -> None:
    one, packed = reference.SHAPES[name]
    expected = np.unpackbits(np.frombuffer(bytes.fromhex(packed), np.uint8)).reshape(SIZE)
    drawn = draw_labelme([{"label": "a", **one}], [7], SIZE)
    assert np.array_equal(drawn, 7 * expected)


def test_later_shapes_lie_over_earlier_ones_as_in_labelme(tmp_path: Path) -> None:
    shapes = [
        {"label": "__ignore__" if number == 5 else f"c{number}", **reference.SHAPES[name][0]}
        for number, name in enumerate(reference.ORDER, 1)
    ]
    label(tmp_path, *shapes)
    found = data.found(tmp_path, "labelme")
    names = dict.fromkeys(f"c{number}" for number in range(1, 8) if number != 5)
    expected = np.frombuffer(zlib.decompress(base64.b64decode(reference.COMBINED)), np.uint8).reshape(SIZE)
    names_by_value = np.array(["background", "c1", "c2", "c3", "c4", "void", "c6", "c7", *["void"] * 248])
    assert set(found.values.values()) == {"background", "void", *names}
    drawn = np.array([found.values.get(value, "?") for value in range(256)])[data.drawn(found, "a.jpg")]
    assert np.array_equal(drawn, names_by_value[expected])


def test_a_rectangle_of_four_points_is_a_polygon() -> None:
    four = draw_labelme([shape(points=SQUARE, kind="rectangle")], [1], SIZE)
    two = draw_labelme([shape(points=[[12, 12], [4, 4]], kind="rectangle")], [1], SIZE)
    assert np.array_equal(four, two)
    assert four.sum() == 81


def test_classes_are_sorted_and_images_without_json_are_unlabelled(tmp_path: Path) -> None:
    label(tmp_path, shape(" dog "), shape("cat"), shape("_background_", [[5, 5], [9, 5], [9, 9]]))
    label(tmp_path, name="empty")
    data.image(tmp_path / "more.jpg")
    found = data.found(tmp_path, "labelme")
    assert found.values == {0: "background", 1: "cat", 2: "dog", 255: "void"}
    assert not data.drawn(found, "empty.jpg").any()
    assert data.drawn(found, "a.jpg")[6, 7] == 0  # background drawn over the cat
    assert [path.name for path in found.unlabelled] == ["more.jpg"]
    assert found.upright
    assert "the labels by name" in found.notes[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_labels_txt_gives_the_order(tmp_path: Path, encoding: str) -> None:
    label(tmp_path / "set", shape("cat"), shape("dog"), shape("bird"))
    labels = "\ufeff__ignore__\r\n_background_\r\ndog\r\ncat\r\n\r\ncow\r\n"
    (tmp_path / "labels.txt").write_bytes(labels.removeprefix("\ufeff" * (encoding != "utf-8")).encode(encoding))
    found = data.found(tmp_path, "labelme")
    assert found.values == {0: "background", 1: "dog", 2: "cat", 3: "cow", 4: "bird", 255: "void"}
    assert "does not list bird (1 shapes)" in found.notes[0]


@pytest.mark.parametrize(
    "image, path, json",
    [
        ("photos/a.jpg", "..\\photos\\a.jpg", "json/a.json"),
        ("a.jpg", "C:\\Users\\me\\a.jpg", "a.json"),
        ("deep/images/a.jpg", "/home/me/images/a.jpg", "deep/labels/a.json"),
        ("A.JPG", "a.jpg", "a.json"),
        ("renamed.jpg", "before.jpg", "renamed.json"),
        ("images/renamed.jpg", "", "json/renamed.json"),
        ("images/\u00fc.jpg", "u\u0308.jpg", "json/b.json"),
        ("renamed.jpg", "x" * 5000 + ".jpg", "renamed.json"),
        ("renamed.jpg", "a\x00.jpg", "renamed.json"),
    ],
)
def test_the_image_is_found(tmp_path: Path, image: str, path: str, json: str) -> None:
    data.image(tmp_path / "x" / image)
    data.write(tmp_path / "x" / json, document(path, shape()), encoding="utf-8-sig")
    data.write(tmp_path / "x" / "package.json", {"name": "something"})
    found = data.found(tmp_path, "labelme")
    (one,) = found.images
    assert one.image == (tmp_path / "x" / image).resolve()
    assert data.drawn(found, one.image.name).any()
    assert any("1 JSON file ignored, not of labelme: " in note for note in found.notes)


def test_images_may_lie_outside_the_folder_of_the_json_files(tmp_path: Path) -> None:
    data.image(tmp_path / "images" / "a.jpg")
    data.write(tmp_path / "json" / "a.json", document("..\\images\\a.jpg", shape()))
    (one,) = data.found(tmp_path / "json", "labelme").images
    assert one.image == (tmp_path / "images" / "a.jpg").resolve()


def test_folders_are_splits(tmp_path: Path) -> None:
    label(tmp_path / "Train", shape(), name="a")
    label(tmp_path / "valid", shape(), name="b")
    found = data.found(tmp_path, "labelme")
    assert {name: one.split for name, one in data.by_name(found).items()} == {"a.jpg": "train", "b.jpg": "val"}


def test_one_image_of_two_files(tmp_path: Path) -> None:
    label(tmp_path, shape())
    data.write(tmp_path / "a_old.json", document("a.jpg", shape("dog")))
    found = data.found(tmp_path, "labelme")
    assert set(found.values.values()) == {"background", "cat", "void"}
    assert any("a_old.json" in note for note in found.notes)
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    with pytest.raises(VocSegError, match=r"a_old\.json and .*b\.json both label .*a\.jpg\. Delete one"):
        find_layout(list_files(tmp_path))


def test_images_only_inside_the_json_are_said(tmp_path: Path) -> None:
    label(tmp_path, shape())
    data.write(tmp_path / "b.json", document("b.jpg", shape(), imageData="aGVsbG8="))
    data.write(tmp_path / "c.json", document("c.jpg", shape()))
    notes = data.found(tmp_path, "labelme").notes
    assert any("1 labelme file ignored, as the image is only inside" in note and "b.json" in note for note in notes)
    assert any("image not found: c.json" in note for note in notes)
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(VocSegError, match=r"none of them can be used.*a\.json, c\.json.*imageData"):
        find_layout(list_files(tmp_path))


@pytest.mark.parametrize(
    "text, what",
    [
        ('{"version": "5", "shapes": [', "damaged JSON: .*bad.json"),
        ("", "damaged JSON: .*the file is empty"),
        (document("bad.jpg", shape(kind="cube")), "type 'cube' cannot be drawn"),
        (document("bad.jpg", shape(points=[[1, 2]], kind="circle")), "a circle cannot have 1 points"),
        (document("bad.jpg", shape(points=5)), "not pairs of numbers"),
        (document("bad.jpg", shape(points=[["x", 2], [3, 4], [1, 1]])), "not pairs of numbers"),
        (document("bad.jpg", shape(points=[[float("nan"), 2], [3, 4], [1, 1]])), "far outside"),
        (document("bad.jpg", shape(points=[[1e300, 2], [3, 4], [1, 1]])), "far outside"),
        (document("bad.jpg", shape(label=None)), "without a label"),
        (document("bad.jpg", "text"), "not a JSON object"),
        (document("bad.jpg", shape(points=[[1, 1], [3, 3]], kind="mask", mask="AAAA")), "does not hold a PNG"),
        (document("bad.jpg", shape(), size=(9, 9)), r"has 32 x 24 pixels, but bad\.json was made for 9 x 9"),
    ],
)
def test_a_bad_file_is_the_problem_of_its_image(tmp_path: Path, text: Any, what: str) -> None:
    label(tmp_path, shape())
    data.image(tmp_path / "bad.jpg")
    data.write(tmp_path / "bad.json", text)
    found = data.found(tmp_path, "labelme")
    facts = {one.source.image.name: one for one in inspect_pairs(found)}
    assert facts["a.jpg"].problem == "" and facts["a.jpg"].values
    assert facts["bad.jpg"].problem
    with pytest.raises(VocSegError, match=what):
        data.drawn(found, "bad.jpg")


def test_what_is_ignored_is_said(tmp_path: Path) -> None:
    label(tmp_path, shape(), shape(points=[[1, 1], [5, 5]]), shape("p", [[3, 3]], "point"), flags={"blurred": True})
    notes = " ".join(data.found(tmp_path, "labelme").notes)
    assert "1 labelme file with shapes of too few points" in notes
    assert "1 of the type point" in notes
    assert "blurred (1)" in notes


def test_old_files_without_type_and_size(tmp_path: Path) -> None:
    data.image(tmp_path / "a.jpg", orientation=6)
    data.write(tmp_path / "a.json", {"flags": {}, "shapes": [{"label": "cat", "line_color": None, "points": SQUARE}],
                                     "imagePath": "a.jpg", "imageData": "x" * 100_000})  # fmt: skip
    mask = data.drawn(data.found(tmp_path, "labelme"), "a.jpg")
    assert mask.shape == SIZE[::-1]  # labelme shows the image upright
    assert mask.sum() == 81


def test_more_classes_than_masks_can_hold(tmp_path: Path) -> None:
    label(tmp_path, *(shape(f"c{number}") for number in range(255)))
    with pytest.raises(VocSegError, match=r"255 classes .*254 and the background is the limit"):
        find_layout(list_files(tmp_path))


@pytest.mark.parametrize("text", ["{}", "[]", '{"shapes": 3, "imagePath": "a.jpg"}', '{"shapes": [', "null", ""])
def test_other_json_is_not_labelme(tmp_path: Path, text: str) -> None:
    data.image(tmp_path / "a.jpg")
    data.write(tmp_path / "a.json", text)
    assert labelme.find(list_files(tmp_path)) is None
