"""The page of the images to label next in a real browser, opened as a file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from voc_seg.datasets import Report, ReportDataset
from voc_seg.reporting.label_next import IMAGE_FOLDER, draw_suggestion, fill_page
from voc_seg.voc.classes import name_classes

CLASSES = name_classes(["background", "cat", "dog"])
NAMES = ["b", "50% #1 <i>", "a"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("a page") / "label_next.html"
    rng, masks = np.random.default_rng(0), {}
    for number, name in enumerate(NAMES):
        mask = np.zeros((60, 40) if number == 1 else (40, 60), np.uint8)
        mask[8:30, 8:30], mask[:5] = 1 + number % 2, 255 * (number == 0)
        masks[name] = mask
    table = pd.DataFrame(
        {
            "rank": [1, 2, 3],
            "image": NAMES,
            "file": [f"photos/{name}.jpg" for name in NAMES],
            "uncertainty": [0.3, 0.2, 0.1],
            "distance": [np.nan, 0.4, 0.2],
        }
    )
    pictures = (
        draw_suggestion(
            rank,
            rng.integers(0, 255, (*masks[name].shape, 3), dtype=np.uint8),
            masks[name],
            rng.integers(0, 255, masks[name].shape, dtype=np.uint8),
            CLASSES,
        )
        for rank, name in enumerate(NAMES, 1)
    )
    ReportDataset(filepath=str(path)).save(Report(fill_page(table, masks, 12, CLASSES), IMAGE_FOLDER, pictures, 3))
    return path


@pytest.fixture(params=["wide light", "wide dark", "phone light"])
def opened(open_page: Callable, path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page on each kind of screen; a script error or a request outside the folder fails the test."""
    with open_page(path, request.param) as page:
        yield page


def test_the_order_is_that_of_the_table(opened: Page) -> None:
    expect(opened.locator("#lead")).to_contain_text("3 of 12 images without masks")
    assert [card.get_attribute("data-id") for card in opened.locator(".card").all()] == NAMES
    expect(opened.locator(".card .numbers").first).to_have_text("1 · uncertainty 0.30")
    expect(opened.locator("#gallery-legend li")).to_have_count(4)
    assert opened.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def test_filters_and_colours(opened: Page) -> None:
    opened.get_by_role("button", name="prediction").click()
    expect(opened.locator("#gallery-legend")).to_have_text("backgroundcatdognot sure")
    opened.get_by_label("Class", exact=True).select_option(label="dog (1)")
    expect(opened.locator("#count")).to_have_text("1 of 3 images")
    opened.get_by_label("Class", exact=True).select_option(label="all")
    opened.get_by_label("Name", exact=True).fill("50%")
    expect(opened.locator("#count")).to_have_text("1 of 3 images")


def test_the_viewer(opened: Page) -> None:
    opened.locator(".card").nth(1).click()
    expect(opened.locator("#viewer-note")).to_have_text(
        "photos/50% #1 <i>.jpg, 40 \u00d7 60 pixels. Uncertainty 0.20, distance 0.40. Image 2 of 3."
    )
    expect(opened.locator("#legend")).to_contain_text("uncertainty 0.75")
    opened.keyboard.press("2")
    expect(opened.locator("#legend")).to_contain_text("dog")
    opened.keyboard.press("ArrowLeft")
    expect(opened.locator("#legend")).to_contain_text("not sure12.5 %")
    opened.wait_for_function("[...document.querySelectorAll('#viewer img')].every((one) => one.naturalWidth > 0)")
