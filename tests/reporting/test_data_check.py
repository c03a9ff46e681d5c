"""The page of the data check shows findings, classes, and images with their masks, whatever is wrong with the files."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from voc_seg.importing.checks import check_data
from voc_seg.importing.class_plan import ClassPlan
from voc_seg.importing.findings import Finding, of_images
from voc_seg.importing.inspect import PairFacts, inspect_pairs
from voc_seg.importing.layout import Found, LabelledImage
from voc_seg.reporting.data_check import choose_images, write_data_check
from voc_seg.reporting.report_images import LONGER_SIDE
from voc_seg.voc.classes import voc_palette

PLAN = ClassPlan(("background", "cat", "dog"), (None, (9, 8, 7), None), {0: "background", 1: "cat", 255: "void"})


def save_pair(folder: Path, name: str, mask: np.ndarray, palette: list[int] | None = None) -> LabelledImage:
    shape = (mask.shape[0], mask.shape[1], 3)
    Image.fromarray(np.full(shape, 90, np.uint8)).save(folder / f"{name}.jpg")
    image = Image.fromarray(mask)
    if palette:
        image.putpalette(palette)
    image.save(folder / f"{name}.png")
    return LabelledImage(folder / f"{name}.jpg", folder / f"{name}.png")


def mask_of(value: int = 1, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[10:30, 10:30] = value
    mask[30:35] = 255
    return mask


def write(folder: Path, images: list[LabelledImage], plan: ClassPlan = PLAN, **found: Any) -> dict[str, Any]:
    """Write the page and return the data in it."""
    everything = Found(tuple(images), **found)
    facts = inspect_pairs(everything)
    splits = {one.image_id: "val" if index % 2 else "train" for index, one in enumerate(facts)}
    findings = check_data(facts, plan, splits, everything)
    write_data_check(folder / "out/data_check.html", "trees", facts, plan, splits, everything, findings)
    return content(folder / "out/data_check.html")


def content(page: Path) -> dict[str, Any]:
    html = page.read_text(encoding="utf-8")
    assert not re.search(r"__[A-Z]+__", html.partition('id="data"')[0])
    assert not re.search(r"https?://(?!www.w3.org/2000/svg)", html)
    return json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1])


def drawn(folder: Path, row: dict[str, Any]) -> np.ndarray:
    """Colours of the mask that belongs to a row; background is transparent."""
    return np.array(Image.open(folder / "out/data_check_images" / f"{row['file']}.mask.png").convert("RGBA"))


def test_rows_of_classes_and_images(tmp_path: Path) -> None:
    data = write(tmp_path, [save_pair(tmp_path, name, mask_of()) for name in ("a", "b", "c")])
    assert [(row["name"], row["stored"], row["images"], row["pixels"]) for row in data["class_table"]] == [
        ("background", "0", 3, 3 * 4000), ("cat", "1", 3, 3 * 400), ("dog", "", 0, 0), ("void", "255", 3, 3 * 400),
    ]  # fmt: skip
    assert data["class_table"][1]["colour"] == "#090807"
    assert data["splits"] == [["train", 2], ["val", 1]]
    assert [row["split"] for row in data["images"]] == ["train", "val", "train"]
    assert data["images"][0]["classes"] == [[0, 0.83333], [1, 0.08333], [3, 0.08333]]
    assert any(one["kind"] == "class-without-pixels" for one in data["findings"])
    pixels = drawn(tmp_path, data["images"][0])
    assert pixels[20, 20].tolist() == [9, 8, 7, 255]
    assert pixels[32, 70].tolist() == [224, 224, 192, 255]
    assert pixels[50, 50, 3] == 0


def test_findings_are_linked_to_their_images(tmp_path: Path) -> None:
    images = [save_pair(tmp_path, name, mask_of()) for name in ("a", "b", "c", "d")]
    Image.fromarray(mask_of()[:30, :40]).save(tmp_path / "c.png")
    data = write(tmp_path, images)
    (index,) = [number for number, one in enumerate(data["findings"]) if one["kind"] == "wrong-size"]
    assert [row["id"] for row in data["images"] if index in row["findings"]] == ["c"]
    assert "The mask is 40x30 and is stretched here" in data["images"][2]["note"]
    assert drawn(tmp_path, data["images"][2]).shape[:2] == (60, 80)


def test_files_that_cannot_be_read_are_shown_as_such(tmp_path: Path) -> None:
    images = [save_pair(tmp_path, name, mask_of()) for name in ("a", "b", "c")]
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    (tmp_path / "b.png").unlink()
    rows = write(tmp_path, images)["images"]
    assert "a.jpg" in rows[0]["unreadable"]
    assert rows[1]["maskless"] and "missing mask" in rows[1]["note"]
    assert not rows[2]["maskless"]
    names = sorted(path.name for path in (tmp_path / "out/data_check_images").glob("*.*") if path.name[0] != ".")
    assert names == ["0001.jpg", "0002.jpg", "0002.mask.png"]


def test_values_without_a_meaning_are_seen(tmp_path: Path) -> None:
    data = write(tmp_path, [save_pair(tmp_path, "a", mask_of(7)), save_pair(tmp_path, "b", mask_of())])
    assert drawn(tmp_path, data["images"][0])[20, 20].tolist() == [255, 0, 255, 255]
    assert data["class_table"][-1]["name"] == "without a meaning"


def test_255_classes_leave_no_colour_for_values_without_a_meaning(tmp_path: Path) -> None:
    names = tuple(f"c{value}" for value in range(255))
    plan = ClassPlan(names, (None,) * 255, dict(enumerate(names)) | {255: "void"})
    data = write(tmp_path, [save_pair(tmp_path, "a", mask_of(254)), save_pair(tmp_path, "b", mask_of(255))], plan)
    assert drawn(tmp_path, data["images"][0])[20, 20, :3].tolist() == voc_palette()[254].tolist()


def test_colours_of_rgb_masks_and_of_palettes(tmp_path: Path) -> None:
    red, black = (200, 0, 0), (0, 0, 0)
    plan = ClassPlan(("background", "cat"), (black, red), {black: "background", red: "cat", (224, 224, 192): "void"})
    colours = np.zeros((60, 80, 3), np.uint8)
    colours[10:30, 10:30] = red
    palette = [0, 0, 0] * 5 + list(red) + [0, 0, 0] * 250
    first = save_pair(tmp_path, "a", np.where(mask_of() == 1, 5, 0).astype(np.uint8), palette)
    second = save_pair(tmp_path, "b", mask_of())
    Image.fromarray(colours).save(tmp_path / "b.png")
    data = write(tmp_path, [first, second], plan)
    for row in data["images"]:
        assert drawn(tmp_path, row)[20, 20].tolist() == [*red, 255]
        assert drawn(tmp_path, row)[50, 50, 3] == 0
    assert data["class_table"][1]["stored"] == "#c80000"


def test_an_image_stored_on_its_side_is_shown_as_its_mask_was_drawn(tmp_path: Path) -> None:
    image = save_pair(tmp_path, "a", mask_of())
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(tmp_path / "a.jpg").transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.jpg", exif=exif)
    (row,) = write(tmp_path, [image])["images"]
    assert (row["width"], row["height"], row["note"]) == (80, 60, "")


def test_drawn_masks_and_large_images(tmp_path: Path) -> None:
    Image.fromarray(np.full((900, 1200, 3), 90, np.uint8)).save(tmp_path / "a.jpg")
    mask = np.zeros((900, 1200), np.uint8)
    mask[:450] = 1
    data = write(tmp_path, [LabelledImage(tmp_path / "a.jpg")], draw=lambda _: mask)
    pixels = drawn(tmp_path, data["images"][0])
    assert max(pixels.shape) == LONGER_SIDE
    assert pixels[10, 10].tolist() == [9, 8, 7, 255]


def test_odd_names_are_no_markup(tmp_path: Path) -> None:
    plan = ClassPlan(("background", "</script><b>"), (None, None), {0: "background", 1: "</script><b>", 255: "void"})
    data = write(tmp_path, [save_pair(tmp_path, "50% #1 </script>".replace("/", "_"), mask_of())], plan)
    assert data["class_table"][1]["name"] == "</script><b>"


def test_a_second_page_replaces_the_first(tmp_path: Path) -> None:
    images = [save_pair(tmp_path, name, mask_of()) for name in ("a", "b")]
    write(tmp_path, images)
    assert len(write(tmp_path, images[:1])["images"]) == 1
    assert len(list((tmp_path / "out/data_check_images").glob("*.jpg"))) == 1


@pytest.fixture
def many() -> list[PairFacts]:
    values = [{0: 9, 1: 1} if number == 777 else {0: 10} for number in range(1000)]
    return [
        PairFacts(f"p{number:03d}", LabelledImage(Path("x.jpg")), values=held) for number, held in enumerate(values)
    ]


def test_large_data_is_sampled_with_every_class_and_finding(many: list[PairFacts]) -> None:
    from voc_seg.importing.doctor.meaning import labelled_pairs

    pairs = {one.id: one for one in labelled_pairs(many, PLAN)}
    findings: list[Finding] = [
        of_images("error", "turned", "", "", ["p123", "p124"]),
        of_images("note", "grey-images", "", "", [f"p{number:03d}" for number in range(400, 900)]),
    ]
    chosen = [one.image_id for one in choose_images(many, pairs, PLAN, findings)]
    assert len(chosen) == 200 and chosen == sorted(chosen)
    assert {"p123", "p124", "p400", "p777", "p899", "p000", "p999"} <= set(chosen)
    assert choose_images(many[:200], pairs, PLAN, findings) == many[:200]
