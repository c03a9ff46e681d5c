"""Label Studio's exports: brush, polygon and rectangle labels, as JSON, JSON-MIN and PNG files."""

import base64
import runpy
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from voc_seg.importing.files import list_files
from voc_seg.importing.formats.label_studio_brush import decode_brush, half_covered
from voc_seg.importing.inspect import inspect_pairs
from voc_seg.importing.layout import find_layout
from voc_seg.importing.layouts import label_studio
from voc_seg.system.errors import VocSegError

data = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("annotation_files.py"))))

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0.11

SIZE = (12, 17)
BRUSHES = {
    # A soft disc of colour 255, 128, 7, packed by encode_rle of label-studio-converter 0.0.59; and the same packed in
    # blocks of single values too, as rle-pack does. Both were decoded by that release's decode_rle.
    "tool": (
        "eNpjYGA2sJT+J83A/IeDgfGALoRyhlAmEIrxaAJDfSMDgwVHApgSdQBTcmBBG/sHDgx87CfkQRTrDTDFdE0Zap43hLoHph7+Z2JgqKg/"
        "0MAgJ/9BgYG9HS5YYOcApqQ23GAAm8DggWQeP/8PAQbmw/9YGBg+/IdZiS5oIX0A7CrWHTEM/CDTGXX4US3BajO64IGiQw8gnuV1qMdl"
        "F25BPpZp4lCvJzGTZjMkIJQ27ICEAOMCMMXeIE+aA5iuweJyEvEOYDoDDisGdd4GRpB5D7gbwVQgI4FAF4ekCLYZPZBAZ2CBhH0HmGKC"
        "Um8g1AqI3AmIynjtBgYAHy+/+Q=="
    ),
    "blocks": (
        "eNpjYGA2sJT+J81g/5+BLxqI24E4E4iZuw4I3P/DYCX/h8E2/A+DfTsQ/wfi80A+SPyaMoNL/QeGl0D8+/4Hhv//sWD7DwxvI3IYRf8f"
        "YG4B4rtA/B8Pfl9/gHnawwKWcKD10/8z8P8njPmeth4QjP/DYB0OdR4BbDNNnMEV6OQ38TicjIY/RsSAnT8L6LQf9fidD8JrEzew+AOd"
        "pkrA6elApwu3HRAEhq7FfmCIimN3LiikLZcpMzgDnfzAHuLsL0D8Hcj/CqTfAfGjnzEMAIMc80U="
    ),
}
ALPHA = (
    "eNpjYAADXWcTRgYEcF714f/P3VFwvve9/yDwMwvK59z9HwLu6UIV/IeBIohAFlxgEkQgCS7QBREw+QATgNkzCcrfzAkVEF8E5u82gTuEMWnR"
    "7lVF4gxYAQCkj068"
)
POLYGON = {"points": [[10, 10], [60, 20], [50, 80]], "polygonlabels": ["cat"]}
BOX = {"x": 50, "y": 50, "width": 25, "height": 25, "rotation": 0, "rectanglelabels": ["dog"]}


def unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def alpha() -> np.ndarray:
    return np.frombuffer(unpacked(ALPHA), np.uint8).reshape(SIZE)


def brush(label: str = "cat", name: str = "blocks") -> dict[str, Any]:
    return {"format": "rle", "rle": list(unpacked(BRUSHES[name])), "brushlabels": [label]}


def result(value: dict[str, Any], number: str = "r1", size: tuple[int, int] = SIZE, **more: Any) -> dict[str, Any]:
    return {"id": number, "type": "x", "from_name": "tag", "to_name": "image", "image_rotation": 0, "value": value,
            "original_height": size[0], "original_width": size[1], **more}  # fmt: skip


def task(*results: Any, image: str = "/data/upload/1/ab12cd34-photo.jpg", number: int = 1, **more: Any) -> Any:
    annotation = {"id": 10 * number, "completed_by": 1, "was_cancelled": False, "ground_truth": False,
                  "updated_at": "2026-01-01T00:00:00Z", "result": list(results), **more}  # fmt: skip
    return {"id": number, "annotations": [annotation], "data": {"image": image}, "predictions": []}


def project(folder: Path, *tasks: Any, image: str = "photo.jpg", size: tuple[int, int] = SIZE) -> Any:
    data.image(folder / "images" / image, size)
    data.write(folder / "project-1-at-2026-01-01.json", list(tasks))
    return data.found(folder, "label_studio")


def png(folder: Path, name: str, pixels: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / name)


@pytest.mark.parametrize("name", BRUSHES)
def test_a_brush_has_the_opacity_that_label_studio_decodes(name: str) -> None:
    assert np.array_equal(decode_brush(list(unpacked(BRUSHES[name])), SIZE), alpha())


def test_a_pixel_counts_if_the_brush_covers_half_of_it() -> None:
    assert half_covered(np.array([[0, 127, 128, 255]], np.uint8)).tolist() == [[False, False, True, True]]
    assert half_covered(np.array([[0, 1, 1]], np.uint8)).tolist() == [[False, True, True]]  # mask2rle of 0 and 1
    assert half_covered(np.array([[0, 49, 50, 100]], np.uint8)).tolist() == [[False, False, True, True]]
    assert not half_covered(np.zeros((2, 2), np.uint8)).any()


@pytest.mark.parametrize(
    "rle, what",
    [
        (list(unpacked(BRUSHES["blocks"]))[:-40], "damaged .it ends too early"),
        (list(unpacked(BRUSHES["blocks"]))[:3], "brush region of"),
        ([0, 0, 0, 8, 0], "brush region of 2 pixels, in an image of 204"),
        ([1000, -3], "damaged"),
        ("text", "damaged"),
        (None, "damaged"),
    ],
)
def test_a_damaged_brush_is_the_problem_of_its_image(tmp_path: Path, rle: Any, what: str) -> None:
    data.image(tmp_path / "images" / "b.jpg", SIZE)
    found = project(tmp_path, task(result({**brush(), "rle": rle})), task(result(POLYGON), image="b.jpg", number=2))
    facts = {one.source.image.name: one.problem for one in inspect_pairs(found)}
    assert facts["b.jpg"] == "" and facts["photo.jpg"]
    with pytest.raises(VocSegError, match=what):
        data.drawn(found, "photo.jpg")


def test_regions_in_their_order(tmp_path: Path) -> None:
    found = project(tmp_path, task(result(brush(), "1"), result(BOX, "2")))
    assert found.values == {0: "background", 1: "cat", 2: "dog", 255: "void"}
    expected = half_covered(alpha()).astype(np.uint8)
    expected[6:9, 9:13] = 2  # 50 to 75 % of 12 rows and 17 columns: half columns count as for COCO
    assert np.array_equal(data.drawn(found, "photo.jpg"), expected)


@pytest.mark.parametrize("as_coco", [False, True])
def test_polygons_have_the_pixels_of_the_coco_export(tmp_path: Path, as_coco: bool) -> None:
    mask = pytest.importorskip("pycocotools.mask")
    height, width = SIZE
    points = [(x / 100 * width, y / 100 * height) for x, y in POLYGON["points"]]
    if as_coco:
        data.image(tmp_path / "images" / "photo.jpg", SIZE)
        row = {"id": 0, "image_id": 0, "category_id": 0, "segmentation": [np.ravel(points).tolist()], "iscrowd": 0}
        data.write(tmp_path / "result.json", {
            "images": [{"width": width, "height": height, "id": 0, "file_name": "images\\1\\ab12cd34-photo.jpg"}],
            "categories": [{"id": 0, "name": "cat"}], "annotations": [row], "info": {"contributor": "Label Studio"},
        })  # fmt: skip
        (tmp_path / "images" / "photo.jpg").rename(tmp_path / "images" / "ab12cd34-photo.jpg")
        found = data.found(tmp_path, "coco")
    else:
        found = project(tmp_path, task(result(POLYGON)))
    expected = mask.decode(mask.frPyObjects([np.ravel(points).tolist()], height, width))[..., 0]
    assert np.array_equal(data.drawn(found, found.images[0].image.name), expected)


def test_a_rectangle_turns_about_its_first_corner_in_pixels(tmp_path: Path) -> None:
    size = (40, 80)
    turned = {**BOX, "x": 50, "y": 25, "width": 20, "height": 10, "rotation": 90}  # 16 x 4 pixels from 40, 10
    mask = data.drawn(project(tmp_path, task(result(turned, size=size)), size=size), "photo.jpg")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == (10, 26, 36, 40)


def test_an_ellipse_is_drawn_about_its_centre(tmp_path: Path) -> None:
    size = (40, 80)
    ellipse = {"x": 50, "y": 50, "radiusX": 25, "radiusY": 25, "rotation": 0, "ellipselabels": ["cat"]}
    mask = data.drawn(project(tmp_path, task(result(ellipse, size=size)), size=size), "photo.jpg")
    assert abs(mask.sum() - np.pi * 20 * 10) < 10
    assert np.array_equal(mask, mask[:, ::-1]) or abs(int(mask[:, :40].sum()) - int(mask[:, 40:].sum())) < 10


def test_shape_and_label_as_two_results(tmp_path: Path) -> None:
    shape = {"points": POLYGON["points"], "closed": True}
    found = project(tmp_path, task(result(shape), result({**shape, "labels": ["cat", "old"]})))
    assert set(np.unique(data.drawn(found, "photo.jpg"))) == {0, 1}
    assert any("several labels" in note for note in found.notes)


def test_json_min(tmp_path: Path) -> None:
    row = {"id": 1, "image": "/data/upload/ab12cd34-photo.jpg", "annotator": 1, "annotation_id": 4,
           "created_at": "2026", "updated_at": "2026", "lead_time": 1.5,
           "tag": [{**brush(), "original_height": SIZE[0], "original_width": SIZE[1]}]}  # fmt: skip
    newer = {**row, "annotation_id": 5, "updated_at": "2027", "tag": [{**row["tag"][0], "brushlabels": ["dog"]}]}
    found = project(tmp_path, newer, row)
    assert set(found.values.values()) == {"background", "dog", "void"}
    assert np.array_equal(data.drawn(found, "photo.jpg"), half_covered(alpha()))
    assert any("several annotations" in note for note in found.notes)


def test_the_ground_truth_else_the_newest_annotation_is_used(tmp_path: Path) -> None:
    one = task(result(POLYGON))
    first = one["annotations"][0]
    newer = {**first, "updated_at": "2027", "result": [result({**POLYGON, "polygonlabels": ["dog"]})]}
    cancelled = {**newer, "updated_at": "2028", "was_cancelled": True}
    for annotations, label in (
        ([newer, first, cancelled], "dog"),
        ([{**first, "ground_truth": True}, newer], "cat"),
    ):
        found = project(tmp_path, {**one, "annotations": annotations})
        assert set(found.values.values()) == {"background", label, "void"}


@pytest.mark.parametrize(
    "stored, name",
    [
        ("/data/upload/1/ab12cd34-photo.jpg", "ab12cd34-photo.jpg"),
        ("/data/upload/1/ab12cd34-my%20photo.jpg", "my photo.jpg"),
        ("/data/local-files/?d=set%5Cphoto.jpg", "photo.jpg"),
        ("https://example.org/x/photo.jpg?token=1.png", "photo.jpg"),
        ("s3://bucket/x/photo.JPG", "photo.jpg"),
        ("photo.jpg", "photo.jpg"),
    ],
)
def test_the_image_of_a_task_is_found(tmp_path: Path, stored: str, name: str) -> None:
    found = project(tmp_path, task(result(POLYGON), image=stored), image=name)
    assert [one.image.name for one in found.images] == [name]


def test_tasks_without_annotation_or_image(tmp_path: Path) -> None:
    data.image(tmp_path / "images" / "b.jpg")
    empty = {**task(number=2), "annotations": [], "data": {"image": "b.jpg"}}
    found = project(tmp_path, task(), empty, task(result(POLYGON), image="gone.jpg", number=3))
    assert not data.drawn(found, "photo.jpg").any()
    assert [path.name for path in found.unlabelled] == ["b.jpg"]
    assert any("1 task ignored, image not in the folder: gone.jpg" in note for note in found.notes)
    (tmp_path / "images" / "photo.jpg").unlink()
    (tmp_path / "images" / "b.jpg").unlink()
    with pytest.raises(VocSegError, match=r"tasks ignored.*Put the images"):
        find_layout(list_files(tmp_path))


def test_rows_that_are_no_tasks_and_annotations_that_are_no_lists(tmp_path: Path) -> None:
    data.image(tmp_path / "images" / "b.jpg")
    odd = {**task(image="b.jpg", number=2), "annotations": 3}
    found = project(tmp_path, task(result(POLYGON)), odd, None, {"id": 3, "data": 1.5})
    assert [one.image.name for one in found.images] == ["photo.jpg"]
    assert [path.name for path in found.unlabelled] == ["b.jpg"]
    assert any("2 tasks ignored" in note for note in found.notes)


@pytest.mark.parametrize(
    "one, what",
    [
        (result({"points": POLYGON["points"]}), "a region has no label"),
        (result(POLYGON, image_rotation=90), "turned in the editor"),
        (result({"imageDataURL": "data:", "bitmasklabels": ["cat"]}), "type bitmasklabels are not read"),
        (result({**POLYGON, "points": [[1, 1], [2, 2]]}), "fewer than three points"),
        (result({**POLYGON, "points": "x"}), "no usable coordinates"),
        (result({**BOX, "width": None}), "not a number"),
        (result({**BOX, "width": "wide"}), "no usable coordinates"),
        (result(POLYGON, size=(50, 60)), "was made for 60 x 50"),
    ],
)
def test_a_region_that_cannot_be_drawn_is_the_problem_of_its_image(tmp_path: Path, one: Any, what: str) -> None:
    with pytest.raises(VocSegError, match=what):
        data.drawn(project(tmp_path, task(one)), "photo.jpg")


def test_key_points_and_choices_are_no_regions(tmp_path: Path) -> None:
    point = {"x": 5, "y": 5, "width": 0.3, "keypointlabels": ["eye"]}
    found = project(tmp_path, task(result(point, "1"), result({"choices": ["sunny"]}, "2"), result(POLYGON, "3")))
    assert set(found.values.values()) == {"background", "cat", "void"}
    assert any("1 key point ignored" in note for note in found.notes)


def test_two_tasks_of_one_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VocSegError, match=r"photo\.jpg is the image of the tasks 1 and 2"):
        project(tmp_path, task(result(POLYGON)), task(result(POLYGON), number=2))


def test_png_files_with_the_tasks_beside_them(tmp_path: Path) -> None:
    large, small = np.zeros(SIZE), np.zeros(SIZE)
    large[1:10, 1:15], small[4:7, 4:7] = 255, 255
    for annotation, name, pixels in ((3, "cat", small), (4, "big-dog", large), (4, "cat", small)):
        file = f"task-1-annotation-{annotation}-by-me@example.org-tag-{name}-0.png"
        png(tmp_path / "brush", file, pixels)
    png(tmp_path / "brush", "task-9-annotation-1-by-1-tag-cat-0.png", small)
    listed = {"id": 1, "data": {"image": "/data/upload/1/ab12cd34-photo.jpg"}}
    found = project(tmp_path, listed)
    assert found.values == {0: "background", 1: "big-dog", 2: "cat", 255: "void"}
    assert np.array_equal(data.drawn(found, "photo.jpg"), np.where(small, 2, np.where(large, 1, 0)))
    notes = " ".join(found.notes)
    assert "smaller one is on top" in notes
    assert "1 PNG file ignored" in notes
    png(tmp_path / "brush", "task-1-annotation-4-by-me@example.org-tag-cat-0.png", small[:5])
    with pytest.raises(VocSegError, match=r"has 17 x 5 pixels, its image 17 x 12"):
        data.drawn(found, "photo.jpg")


def test_png_files_alone_do_not_say_their_images(tmp_path: Path) -> None:
    data.image(tmp_path / "1.jpg", SIZE)
    png(tmp_path, "task-1-annotation-1-by-1-tag-cat-0.png", alpha())
    with pytest.raises(VocSegError, match="Export the project as JSON too"):
        find_layout(list_files(tmp_path))


@pytest.mark.parametrize(
    "text", ["[]", "[1]", '[{"data": 1}]', '[{"data": {}, "id": 1}]',
             '[{"id": 1, "data": {"text": "hello"}, "annotations": [{"result": []}]}]']
)  # fmt: skip
def test_other_json_is_not_label_studio(tmp_path: Path, text: str) -> None:
    data.image(tmp_path / "a.jpg")
    data.write(tmp_path / "a.json", text)
    assert label_studio.find(list_files(tmp_path)) is None
