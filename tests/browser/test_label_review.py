"""The label review in a real browser, opened as a file: cards, filters and the viewer work on every screen."""

from collections.abc import Callable, Iterator
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from voc_seg.datasets import Report, ReportDataset
from voc_seg.metrics.label_errors import LabelSums
from voc_seg.metrics.label_regions import Disagreements, Region, ReviewedImage
from voc_seg.reporting.label_review import Issue, Review, ReviewedSplit
from voc_seg.reporting.label_review_page import IMAGE_FOLDER, draw_issues, fill_page
from voc_seg.samples.store import Sample, SampleStore, write_store
from voc_seg.voc.classes import Classes

CLASSES = Classes(("background", "cat <b>", "dog"), ((0, 0, 0), (200, 0, 0), (0, 0, 200)))
ODD = "50% #1 <i>"


@pytest.fixture(scope="module")
def review_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a review")
    rng = np.random.default_rng(0)
    samples = [Sample(name, rng.integers(0, 256, (60, 80, 3), np.uint8), np.zeros((60, 80), np.uint8))
               for name in ("photo", ODD)]  # fmt: skip
    write_store(folder / "samples.arrow", samples)
    sums = LabelSums(np.array([4800, 10, 0]), np.array([4000, 0, 0]), np.array([4000.0, 1.0, 0.0]))
    where = np.flatnonzero(np.pad(np.ones((20, 20), bool), ((10, 30), (30, 30)))).astype(np.uint32)
    ones = np.ones(400, np.uint8)
    differences = Disagreements(
        (60, 80), where, 0 * ones, 2 * ones, ones.astype(np.float16), 0 * ones.astype(np.float16)
    )
    images = [ReviewedImage(sample.id, 0.5, sums, differences) for sample in samples]
    split = ReviewedSplit("train", SampleStore(folder / "samples.arrow"), images)
    box, inside = (slice(10, 30), slice(30, 50)), np.ones((20, 20), bool)
    issues = tuple(Issue(split, number % 2, Region(*box, inside, 0, 1 + number % 2, 0.9, 400.0)) for number in range(3))
    review = Review((split,), reduce(add, (image.sums for image in images)), issues, CLASSES, True)
    page = Report(fill_page(review, issues), IMAGE_FOLDER, draw_issues(issues, CLASSES), len(issues))
    ReportDataset(filepath=str(folder / "label_review.html"), pipeline="label_review").save(page)
    return folder / "label_review.html"


@pytest.fixture(params=["wide light", "phone light"])
def opened(open_page: Callable, review_page: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page on each kind of screen; a script error or a request outside the folder fails the test."""
    with open_page(review_page, request.param) as page:
        yield page


def test_a_card_shows_mask_and_model_side_by_side(opened: Page) -> None:
    cards = opened.locator(".card:visible")
    expect(cards).to_have_count(3)
    expect(cards.first).to_contain_text("background")
    expect(cards.first).to_contain_text("cat <b>")
    expect(cards.nth(1)).to_contain_text(ODD)
    assert cards.first.locator(".view").count() == 2
    boxes = [cards.first.locator(".view").nth(number).bounding_box() for number in range(2)]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    loaded = "[...document.querySelectorAll('.pair img')].every((image) => image.complete && image.naturalWidth)"
    opened.wait_for_function(loaded)


def test_filters_and_viewer(opened: Page) -> None:
    opened.select_option("#suggested-filter", label="dog (1)")
    expect(opened.locator(".card:visible")).to_have_count(1)
    expect(opened.locator("#count")).to_have_text("1 of 3 regions")
    opened.locator(".card:visible").click()
    expect(opened.locator("#viewer-title")).to_have_text(f"2. {ODD}")
    expect(opened.locator("#viewer-note")).to_contain_text("Labelled background; the model predicts dog.")
    opened.locator("#viewer-mode button", has_text="suggested").click()
    expect(opened.locator("#legend")).to_contain_text("dog")
    opened.keyboard.press("Escape")
    opened.fill("#search", "nothing")
    expect(opened.locator(".card:visible")).to_have_count(0)


def test_tables(opened: Page) -> None:
    expect(opened.locator("#image-table tbody tr")).to_have_count(2)
    expect(opened.locator("#class-rows")).to_contain_text("not judged")
