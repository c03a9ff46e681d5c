"""The page that describes the server, in a real browser without a network."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import pytest
from playwright.sync_api import Page, expect

pytest.importorskip("fastapi", reason="the extra serve is not installed: pip install 'voc_seg[serve]'")

from voc_seg.api.predictor import Predictor
from voc_seg.serving.app import create_app
from voc_seg.serving.limits import Limits
from voc_seg.voc.classes import VOC_CLASSES
from voc_seg.voc.pixel_format import RGB


class Blank(Predictor):
    """Finds background everywhere."""

    classes = VOC_CLASSES
    pixels = RGB

    def __init__(self) -> None:
        pass

    def _segment(self, images: Sequence[np.ndarray], confidence: bool) -> list[tuple[np.ndarray, np.ndarray | None]]:
        return [(np.zeros(image.shape[:2], np.uint8), None) for image in images]


@pytest.fixture
def address(serve_in_thread: Callable[..., AbstractContextManager[str]]) -> Iterator[str]:
    with serve_in_thread(create_app(Blank(), Limits())) as address:
        yield address


def test_the_description_asks_no_other_host(page: Page, address: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/docs")
    expect(page.get_by_text("Masks of images, by a model of 21 classes.")).to_be_visible()
    page.get_by_role("button", name="POST /predict", exact=False).first.click()
    expect(page.get_by_text("Too many requests are in progress")).to_be_visible()
    page.get_by_role("button", name="Try it out").click()
    expect(page.locator("input[type=file]")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert len(asked) >= 4 and all(url.startswith((address, "data:")) for url in asked), asked
