"""The data check in a real browser, opened as a file: filters, links and the viewer work on every screen."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from voc_seg.importing.checks import check_data
from voc_seg.importing.class_plan import ClassPlan
from voc_seg.importing.inspect import inspect_pairs
from voc_seg.importing.layout import Found, LabelledImage
from voc_seg.reporting.data_check import write_data_check

ODD = "50% #1 <i>"
NAMES = [*(f"photo_{number}" for number in range(8)), ODD]
PLAN = ClassPlan(("background", "cat", "dog"), (None,) * 3, {0: "background", 1: "cat", 2: "dog", 255: "void"})


@pytest.fixture(scope="module")
def check_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a check")
    rng, images = np.random.default_rng(0), []
    for number, name in enumerate(NAMES):
        shape = (60, 40) if number % 3 == 0 else (40, 60)
        mask = np.zeros(shape, np.uint8)
        mask[8 + number : 30, 8:30] = 1 + number % 2
        Image.fromarray(rng.integers(0, 255, (*shape, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        Image.fromarray(mask[:20, :20] if number == 2 else mask).save(folder / f"{number}_mask.png")
        images.append(LabelledImage(folder / f"{number}.png", folder / f"{number}_mask.png", name=name))
    (folder / "0.png").write_bytes(b"not an image")
    (folder / "1_mask.png").unlink()
    found = Found(tuple(images))
    facts = inspect_pairs(found)
    splits = {one.image_id: "val" if index % 3 == 2 else "train" for index, one in enumerate(facts)}
    findings = check_data(facts, PLAN, splits, found)
    write_data_check(folder / "data_check.html", "pets", facts, PLAN, splits, found, findings)
    return folder / "data_check.html"


@pytest.fixture(params=["wide light", "wide dark", "phone light"])
def opened(open_page: Callable, check_page: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page on each kind of screen; a script error or a request outside the folder fails the test."""
    with open_page(check_page, request.param) as page:
        yield page


def shown(page: Page) -> int:
    return page.locator(".card:visible").count()


def test_everything_is_there(opened: Page) -> None:
    expect(opened.locator("#lead")).to_have_text("pets: 9 images (6 train, 3 val), 3 classes.")
    assert opened.locator("#finding-list h3").first.text_content().startswith("Errors")
    expect(opened.locator("#class-table tbody tr")).to_have_count(3)
    expect(opened.locator(".card")).to_have_count(9)
    expect(opened.locator(".view.unreadable")).to_have_count(1)
    expect(opened.locator("#gallery-note")).to_contain_text("All images of the data set.")
    assert opened.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def test_findings_and_classes_lead_to_their_images(opened: Page) -> None:
    opened.locator(".findings li", has_text="another size").get_by_role("link").click()
    expect(opened.locator("#count")).to_have_text("1 of 9 images")
    assert opened.locator(".card:visible").get_attribute("data-id") == "photo_2"
    opened.locator("#class-table").get_by_text("dog").click()
    expect(opened.locator("#count")).to_have_text("3 of 9 images")  # photo_1 has no mask any more


def test_filters_combine(opened: Page) -> None:
    opened.get_by_label("Split", exact=True).select_option("val")
    assert shown(opened) == 3
    opened.get_by_label("Class", exact=True).select_option(label="cat (4)")
    assert shown(opened) == 2
    opened.get_by_label("Id", exact=True).fill("50%")
    assert shown(opened) == 1
    opened.get_by_label("Finding", exact=True).select_option("0")
    assert shown(opened) == 0


def test_the_viewer_names_findings_and_colours(opened: Page) -> None:
    opened.locator(".card[data-id=photo_2]").click()
    expect(opened.locator("#viewer-note")).to_contain_text("wrong size")
    expect(opened.locator("#viewer-note")).to_contain_text("The mask is 20x20 and is stretched here.")
    expect(opened.locator("#legend")).to_contain_text("cat")
    opened.keyboard.press("1")
    expect(opened.locator("#viewer-picture .view")).to_have_attribute("data-mode", "image")
    opened.keyboard.press("ArrowLeft")  # without a mask
    expect(opened.locator("#viewer-note")).to_contain_text("missing mask")
    opened.keyboard.press("2")
    opened.keyboard.press("ArrowLeft")  # unreadable
    expect(opened.locator("#viewer-picture .unreadable")).to_be_visible()
    opened.keyboard.press("Escape")
    opened.locator(".card").last.click()
    expect(opened.locator("#viewer-title")).to_have_text("50% #1 _i_")
