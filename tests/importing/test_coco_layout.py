"""COCO JSON: masks with the pixels of pycocotools, exports of several tools, and files that contradict themselves."""

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from voc_seg.importing.files import list_files
from voc_seg.importing.formats import coco_files
from voc_seg.importing.formats.coco_masks import polygon_mask, rle_mask
from voc_seg.importing.inspect import inspect_pairs
from voc_seg.importing.layout import find_layout
from voc_seg.importing.layouts import coco
from voc_seg.system.errors import VocSegError

pycocotools = pytest.importorskip("pycocotools.mask")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0.11

data = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("annotation_files.py"))))
SIZE = data.SIZE
HEIGHT, WIDTH = SIZE
BIG = [2, 2, 28.5, 3, 27, 20.2, 3, 18]
SMALL = [10, 8, 16, 8, 16, 14, 10, 14]
CATEGORIES = [{"id": 7, "name": "dog", "supercategory": "animal"}, {"id": 3, "name": " cat "}]


def polygons(*parts: list[float], size: tuple[int, int] = SIZE) -> np.ndarray:
    """The mask by pycocotools."""
    return pycocotools.decode(pycocotools.merge(pycocotools.frPyObjects(list(parts), *size))).astype(bool)


def item(segmentation: Any, category: Any = 3, image: Any = 1, **more: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0,
            "bbox": [1, 1, 5, 5], "area": 1, **more}  # fmt: skip


def document(*annotations: Any, images: Any = ("a.jpg",), categories: Any = CATEGORIES, **more: Any) -> dict[str, Any]:
    rows = [one if isinstance(one, dict) else {"id": number, "file_name": one, "height": HEIGHT, "width": WIDTH}
            for number, one in enumerate(images, 1)]  # fmt: skip
    return {"info": {}, "licenses": [], "images": rows, "annotations": list(annotations), "categories": categories,
            **more}  # fmt: skip


def export(folder: Path, *annotations: Any, name: str = "annotations/instances_default.json", **more: Any) -> Any:
    """Write ``images/a.jpg`` and a JSON file, and return what is found."""
    data.image(folder / "images" / "a.jpg")
    data.write(folder / name, document(*annotations, **more))
    return data.found(folder, "coco")


def test_polygons_have_the_pixels_of_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for number in range(600):
        height, width = rng.integers(1, 50, 2).tolist()
        points = rng.uniform(-0.3, 1.3, (rng.integers(3, 12), 2)) * [width, height]
        points = (points, points.round(), points.round(1), np.repeat(points, 2, axis=0))[number % 4]
        expected = polygons(points.ravel().tolist(), size=(height, width))
        assert np.array_equal(polygon_mask(points, (height, width)), expected), points.tolist()


def test_run_lengths_have_the_pixels_of_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for number in range(200):
        size = tuple(rng.integers(1, 70, 2).tolist())
        mask = rng.random(size) < number / 200
        mask = np.repeat(mask, 30, axis=0)[: size[0]] if number % 2 else mask
        packed = pycocotools.encode(np.asfortranarray(mask, np.uint8))
        assert np.array_equal(rle_mask(packed, size), mask)
        assert np.array_equal(rle_mask({"size": list(size), "counts": packed["counts"].decode()}, size), mask)
        flat = mask.T.reshape(-1)
        runs = np.diff([0, *np.flatnonzero(np.diff(flat)) + 1, flat.size]).tolist()
        assert np.array_equal(rle_mask({"size": list(size), "counts": [0] * int(flat[0]) + runs}, size), mask)


@pytest.mark.parametrize(
    "segmentation, what",
    [
        ({"size": [HEIGHT, WIDTH], "counts": [3, 4]}, "run lengths of 7 pixels, in an image of 768"),
        ({"size": [WIDTH, HEIGHT], "counts": [768]}, "for the size"),
        ({"size": [HEIGHT, WIDTH], "counts": [-1, 769]}, "run lengths of 768 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [1.5, 2]}, "not whole numbers"),
        ({"size": [HEIGHT, WIDTH], "counts": "\u00fc"}, "run lengths of"),
        ({"size": [HEIGHT, WIDTH], "counts": "`````````````"}, "damaged"),
        ({"size": [HEIGHT, WIDTH], "counts": None}, "missing"),
        ({"counts": [768]}, "for the size"),
        ([[1, 1, 5, 1, 5e9, 5]], "far outside the 32 x 24 pixels"),
        ([[1, 1, 5, 1, float("nan"), 5]], "not a number"),
        ([[1, 1, 5, 1, 5, 5, 7]], "neither polygons nor RLE"),
        ([["a", 1, 5, 1, 5, 5]], "neither polygons nor RLE"),
        ("text", "neither polygons nor RLE"),
    ],
)
def test_a_segmentation_that_makes_no_sense_is_the_problem_of_its_image(
    tmp_path: Path, segmentation: Any, what: str
) -> None:
    data.image(tmp_path / "images" / "b.jpg")
    found = export(tmp_path, item(segmentation), item([SMALL], image=2), images=["a.jpg", "b.jpg"])
    facts = {one.source.image.name: one.problem for one in inspect_pairs(found)}
    assert facts["b.jpg"] == "" and facts["a.jpg"]
    with pytest.raises(VocSegError, match=what):
        data.drawn(found, "a.jpg")


def test_the_smaller_object_is_on_top_and_values_follow_the_ids(tmp_path: Path) -> None:
    found = export(tmp_path, item([SMALL], category=3), item([BIG], category=7))
    assert found.values == {0: "background", 1: "cat", 2: "dog", 255: "void"}
    expected = np.where(polygons(SMALL), 1, np.where(polygons(BIG), 2, 0))
    assert np.array_equal(data.drawn(found, "a.jpg"), expected)
    assert "Where objects overlap, the smaller one is on top." in found.notes


def test_parts_and_crowds(tmp_path: Path) -> None:
    far = [22, 15, 30, 15, 30, 22, 22, 22]
    crowd = {"size": list(SIZE), "counts": [0, HEIGHT * 12, HEIGHT * (WIDTH - 12)]}
    found = export(tmp_path, item([SMALL, far]), item(crowd, iscrowd=1))
    expected = np.zeros(SIZE, np.uint8)
    expected[:, :12] = 255
    expected[polygons(SMALL, far)] = 1
    assert np.array_equal(data.drawn(found, "a.jpg"), expected)
    assert any("1 crowd void" in note for note in found.notes)


def test_masks_of_cvat_are_no_crowds(tmp_path: Path) -> None:
    mask = {"size": list(SIZE), "counts": [0, HEIGHT * 12, HEIGHT * (WIDTH - 12)]}
    found = export(tmp_path, item(mask, iscrowd=1, attributes={"occluded": False}))
    assert np.array_equal(np.unique(data.drawn(found, "a.jpg")), [0, 1])
    assert any("CVAT" in note for note in found.notes)


@pytest.mark.parametrize("segmentation", [BIG, [BIG], [[[x, y] for x, y in zip(BIG[::2], BIG[1::2])]],
                                          [[x, y] for x, y in zip(BIG[::2], BIG[1::2])]])  # fmt: skip
def test_polygons_nested_otherwise(tmp_path: Path, segmentation: Any) -> None:
    assert np.array_equal(data.drawn(export(tmp_path, item(segmentation)), "a.jpg"), polygons(BIG))


def test_objects_with_a_box_only(tmp_path: Path) -> None:
    # Beside other objects the box is void; an image of boxes only is not used. Neither becomes background.
    data.image(tmp_path / "images" / "b.jpg")
    data.image(tmp_path / "images" / "c.jpg")
    found = export(
        tmp_path, item([SMALL]), item([], bbox=[8, 2, 10, 10]), item([], image=2), images=["a.jpg", "b.jpg", "c.jpg"]
    )
    box = pycocotools.decode(pycocotools.frPyObjects(np.array([[8.0, 2, 10, 10]]), *SIZE))[..., 0].astype(bool)
    expected = np.where(polygons(SMALL), 1, np.where(box, 255, 0))
    assert np.array_equal(data.drawn(found, "a.jpg"), expected)
    assert [path.name for path in found.unlabelled] == ["b.jpg"]
    assert not data.drawn(found, "c.jpg").any()
    notes = " ".join(found.notes)
    assert "1 image not used, as objects have a box only" in notes
    assert "1 object with a box only" in notes
    assert "1 image without annotations: background only: c.jpg" in notes


def test_annotations_of_what_is_not_listed(tmp_path: Path) -> None:
    found = export(tmp_path, item([SMALL], image=99), item([BIG], category=99), item([SMALL]), item([[1, 1, 2, 2]]))
    expected = np.where(polygons(SMALL), 1, np.where(polygons(BIG), 255, 0))
    assert np.array_equal(data.drawn(found, "a.jpg"), expected)
    notes = " ".join(found.notes)
    for text in (
        "1 annotation ignored, as the image",
        "1 annotation void, as the category",
        "1 polygon of fewer than three",
    ):
        assert text in notes


def test_key_points_are_ignored(tmp_path: Path) -> None:
    found = export(tmp_path, item([SMALL], keypoints=[1, 2, 2], num_keypoints=1))
    assert np.array_equal(data.drawn(found, "a.jpg"), polygons(SMALL))
    assert any("1 annotation with key points" in note for note in found.notes)


def test_roboflow(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "pets"},
    ]
    for split, copies in (("train", "bc"), ("valid", "d")):
        names = [f"photo_jpg.rf.{copy * 32}.jpg" for copy in copies]
        for name in names:
            data.image(tmp_path / split / name)
        data.write(
            tmp_path / split / "_annotations.coco.json",
            document(item([SMALL], category=1), images=names, categories=categories),
        )
    found = data.found(tmp_path, "coco")
    assert found.values == {0: "background", 1: "cat", 255: "void"}
    assert [(one.split, one.group) for one in found.images] == [("train", "photo")] * 2 + [("val", "photo")]


def test_files_by_split_and_of_other_tasks(tmp_path: Path) -> None:
    for year, name in (("train2017", "1.jpg"), ("val2017", "2.jpg"), ("test2017", "3.jpg")):
        data.image(tmp_path / year / name)
    folder = tmp_path / "annotations"
    data.write(folder / "instances_train2017.json", document(item([SMALL], category=3), images=["1.jpg"]))
    other = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]  # other ids than in the first file
    data.write(folder / "instances_val2017.json", document(item([BIG], category=2), images=["2.jpg"], categories=other))
    captions = {"id": 1, "image_id": 1, "caption": "A cat."}
    data.write(folder / "captions_train2017.json", document(captions, images=["1.jpg"]))
    data.write(folder / "image_info_test2017.json", {"images": [{"id": 1, "file_name": "3.jpg"}], "categories": []})
    found = data.found(tmp_path, "coco")
    assert {name: one.split for name, one in data.by_name(found).items()} == {"1.jpg": "train", "2.jpg": "val"}
    assert data.value(found, "cat") == data.drawn(found, "2.jpg").max()
    assert any("2 JSON files for other tasks ignored" in note for note in found.notes)


def test_a_file_without_annotations_lists_unlabelled_images(tmp_path: Path) -> None:
    data.image(tmp_path / "more" / "b.jpg")
    data.write(tmp_path / "more.json", {"images": [{"id": 1, "file_name": "b.jpg"}], "categories": CATEGORIES})
    found = export(tmp_path, item([SMALL]), name="all.json")
    assert [path.name for path in found.unlabelled] == ["b.jpg"]


@pytest.mark.parametrize("name", ["C:\\data\\images\\a.jpg", "/srv/x/a.jpg", "images/a.jpg", "../../2/ab%20c/A.JPG"])
def test_paths_of_another_machine(tmp_path: Path, name: str) -> None:
    found = export(tmp_path / "unpacked" / "set", item([SMALL]), images=[name])
    assert [one.image.name for one in found.images] == ["a.jpg"]
    assert np.array_equal(data.drawn(found, "a.jpg"), polygons(SMALL))


def test_images_of_one_name(tmp_path: Path) -> None:
    for folder in ("cam1", "cam2"):
        data.image(tmp_path / "images" / folder / "1.jpg")
    data.write(tmp_path / "all.json", document(item([SMALL]), images=["x/cam1/1.jpg", "y/cam2/1.jpg"]))
    found = data.found(tmp_path, "coco")
    assert [one.image.parent.name for one in found.images] == ["cam1", "cam2"]
    data.write(tmp_path / "all.json", document(item([SMALL]), images=["1.jpg"]))
    with pytest.raises(VocSegError, match=r"Several images fit '1\.jpg': images/cam1/1\.jpg, images/cam2/1\.jpg"):
        find_layout(list_files(tmp_path))


def test_masks_beside_the_images_are_not_taken_for_them(tmp_path: Path) -> None:
    data.image(tmp_path / "masks" / "a.png")
    data.image(tmp_path / "photos" / "a.png")
    data.write(tmp_path / "all.json", document(item([SMALL]), images=["a.png"]))
    (one,) = data.found(tmp_path, "coco").images
    assert one.image.parent.name == "photos"


def test_an_image_that_is_listed_twice(tmp_path: Path) -> None:
    twice = export(tmp_path, item([SMALL]), item([BIG], category=7, image=2), images=["a.jpg", "a.jpg"])
    assert np.array_equal(np.unique(data.drawn(twice, "a.jpg")), [0, 1, 2])
    data.write(tmp_path / "annotations" / "more.json", document(item([BIG])))
    with pytest.raises(VocSegError, match=r"a\.jpg.* in .*instances_default\.json and .* in .*more\.json"):
        find_layout(list_files(tmp_path))


def test_two_paths_to_one_image_are_refused(tmp_path: Path) -> None:
    data.image(tmp_path / "cam1" / "1.jpg")  # that of cam2 is missing
    data.write(tmp_path / "all.json", document(item([SMALL]), images=["cam1/1.jpg", "cam2/1.jpg"]))
    with pytest.raises(VocSegError, match=r"'cam1/1\.jpg' in all\.json and 'cam2/1\.jpg' in all\.json"):
        find_layout(list_files(tmp_path))


@pytest.mark.parametrize(
    "change, what",
    [
        ({"annotations": [{"id": 1, "image_id": 1, "segments_info": []}]}, "panoptic format"),
        ({"annotations": [item([]), item(None)]}, "has boxes or captions, but no polygons and no RLE"),
        ({"annotations": [{"image_id": 1, "caption": "A cat."}]}, "has boxes or captions"),
        ({"images": [{"id": 1, "file_name": "gone.jpg"}]}, r"None of the 1 images .* first is 'gone\.jpg'"),
        ({"images": []}, "lists no image that is labelled"),
        ({"annotations": 3}, "lists no image that is labelled"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]}, "with the same id 1"),
        ({"categories": [{"id": 1, "name": " "}]}, "category 1 has no name"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "'a' and 'b' are both category 1"),
        ({"categories": [{"id": n, "name": f"c{n}"} for n in range(300)]}, "300 classes"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    data.image(tmp_path / "a.jpg")
    data.write(tmp_path / "all.json", document(item([SMALL])) | change)
    with pytest.raises(VocSegError, match=what):
        find_layout(list_files(tmp_path))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    data.image(tmp_path / "a.jpg")
    data.write(tmp_path / "all.json", '{"images": [{"id": 1, "file_name": "a.j')
    with pytest.raises(VocSegError, match=r"damaged JSON: .*all\.json"):
        find_layout(list_files(tmp_path))


def test_another_size_is_the_problem_of_the_image(tmp_path: Path) -> None:
    found = export(tmp_path, item([SMALL]), images=[{"id": 1, "file_name": "a.jpg", "height": 48, "width": 64}])
    with pytest.raises(VocSegError, match=r"has 32 x 24 pixels, but instances_default\.json was made for 64 x 48"):
        data.drawn(found, "a.jpg")


def test_a_turned_image_is_drawn_in_the_declared_size(tmp_path: Path) -> None:
    upright = {"id": 1, "file_name": "b.jpg", "height": WIDTH, "width": HEIGHT}
    data.image(tmp_path / "images" / "b.jpg", orientation=6)
    found = export(tmp_path, item([SMALL]), images=[upright])
    assert np.array_equal(data.drawn(found, "b.jpg"), polygons(SMALL, size=SIZE[::-1]))


@pytest.mark.parametrize("height", [None, "0" * 5000, 1e300, float("nan"), -1, [24]])
def test_a_height_that_makes_no_sense_is_that_of_the_file(tmp_path: Path, height: Any) -> None:
    found = export(tmp_path, item([SMALL]), images=[{"id": 1, "file_name": "a.jpg", "height": height, "width": WIDTH}])
    assert np.array_equal(data.drawn(found, "a.jpg"), polygons(SMALL))


def test_ids_as_text_and_numbers(tmp_path: Path) -> None:
    found = export(tmp_path, item([SMALL], image="1", category=3.0))
    assert np.array_equal(data.drawn(found, "a.jpg"), polygons(SMALL))


@pytest.mark.parametrize("text", ["{}", "[]", '{"images": 3}', '{"images": ["a"]}', '{"categories": [1]}', '"images"'])
def test_other_json_is_not_coco(tmp_path: Path, text: str) -> None:
    data.image(tmp_path / "a.jpg")
    data.write(tmp_path / "package.json", text)
    assert coco.find(list_files(tmp_path)) is None


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    whole = coco_files.read_json
    monkeypatch.setattr("voc_seg.importing.formats.coco_files.read_json", lambda path: read.append(path) or whole(path))
    for module in ("labelme_files", "label_studio_files"):
        monkeypatch.setattr(
            f"voc_seg.importing.formats.{module}.read_json", lambda path: pytest.fail(f"{path} is read again")
        )
    found = export(tmp_path, item([SMALL]))
    data.drawn(found, "a.jpg")
    assert len(read) == 1
