"""The report in a real browser, opened as a file: every part works, and nothing else is requested."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from voc_seg.config import DataConfig, EvaluationConfig, Parameters
from voc_seg.datasets import ReportDataset
from voc_seg.metrics import boundaries
from voc_seg.metrics import confusion as scores
from voc_seg.metrics.boundaries import count_boundaries, from_columns, to_columns
from voc_seg.metrics.calibration import BINS, FINE, Calibration, summarise, to_rows
from voc_seg.metrics.counts import Counts
from voc_seg.metrics.intervals import class_intervals, score_intervals
from voc_seg.pipelines.evaluation.nodes import write_report
from voc_seg.samples.store import Origin, Sample, SampleStore, write_store

ODD = "50% #1 <i>"
"""An id that would be markup, or another address, if it were not escaped."""


def scenes() -> Iterator[tuple[Sample, np.ndarray]]:
    """Twelve images of one animal, each predicted better than the one before; the last has an odd id and no label."""
    for number in range(12):
        shape = (60, 40) if number % 3 == 0 else (40, 60)
        truth = np.zeros(shape, np.uint8)
        truth[10:30, 10:30] = 8 if number % 2 else 12  # cat, dog
        truth[30:32, 10:30] = 255
        prediction = np.where(truth == 255, 0, truth)
        prediction[10 + number : 30] = 0
        if number == 11:
            truth[:] = 255
        image = np.full((*shape, 3), 20 * number, np.uint8)
        yield Sample(ODD if number == 11 else f"scene_{number:02d}", image, truth), prediction


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a report")
    pairs = list(scenes())
    write_store(folder / "val.arrow", [sample for sample, _ in pairs], Origin(source="sample"))
    predictions = {sample.id: mask for sample, mask in pairs}
    confusions = [
        scores.confusion_matrix(torch.tensor(sample.mask), torch.tensor(mask), 21).numpy() for sample, mask in pairs
    ]
    rows = [
        {"image_id": sample.id, "miou": scores.mean_iou(confusion), "pixel_accuracy": scores.pixel_accuracy(confusion),
         "void_fraction": 1 - confusion.sum() / sample.mask.size}
        for (sample, _), confusion in zip(pairs, confusions)
    ]  # fmt: skip
    names = list(DataConfig().class_table.names)
    total = sum(confusions)
    counts = Counts.of(np.stack(confusions))
    near = from_columns(to_columns(count_boundaries(sample.mask, mask, 21) for sample, mask in pairs), 21)
    metrics = {"split": "val", "images": 12, "checkpoint_epoch": 2, "images_per_second": 9.5, **scores.summarise(total)}
    top = np.zeros((2, FINE, 3))
    top[0, 1400], top[1, 700] = [900, 840, 800], [100, 47, 60]
    calibration = Calibration(top, np.zeros((21, BINS, 3)))
    bins = to_rows(calibration, names)
    metrics |= score_intervals(counts) | boundaries.summarise(near) | summarise(calibration)
    columns = {"train_loss": [2.0, 1, 0.5], "val_loss": [None, 1, 0.7], "val_miou": [None, 0.4, 0.3]}
    columns |= {"val_pixel_accuracy": [None, 0.8, 0.8], "is_best": [False, True, False]}
    history = pd.DataFrame({"epoch": [1, 2, 3], "learning_rate": 0.01, "images_per_second": 9.0, **columns})
    settings = Parameters().model_dump(mode="json")
    best = {"model": {}, "model_config": settings["model"], "config": settings, "epoch": 2, "val_miou": 0.4}
    made = write_report(
        SampleStore(folder / "val.arrow"), predictions, pd.DataFrame(rows),
        scores.class_scores(total, names).join(class_intervals(counts)),
        pd.DataFrame(total, index=names, columns=names), metrics, best, history, DataConfig(), EvaluationConfig(), bins,
    )  # fmt: skip
    ReportDataset(filepath=str(folder / "report.html")).save(made)
    return folder / "report.html"


@pytest.fixture(params=["wide light", "wide dark", "phone light", "phone dark"])
def anywhere(open_page: Callable, report: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The report open on each kind of screen; a script error or a request outside the folder fails the test."""
    with open_page(report, request.param) as page:
        yield page


@pytest.fixture
def opened(page: Page, report: Path) -> Page:
    page.goto(report.as_uri())
    return page


def shown(page: Page) -> list[str]:
    """Ids of the visible cards, in order."""
    return page.locator(".card:visible").evaluate_all("cards => cards.map(card => card.dataset.id)")


def field(page: Page, label: str) -> Locator:
    return page.get_by_label(label, exact=True)


def loaded(page: Page, selector: str) -> bool:
    """Whether all images of a selector are loaded; playwright's own wait uses eval, which the page forbids."""
    return page.evaluate(
        """async selector => {
          const images = [...document.querySelectorAll(selector)];
          for (let tries = 0; tries < 200; tries++) {
            if (images.every(image => image.complete && image.naturalWidth > 0)) return images.length > 0;
            await new Promise(resolve => setTimeout(resolve, 50));
          }
          return false;
        }""",
        selector,
    )


def test_scores_at_a_stored_size_say_so(browser: Browser, report: Path) -> None:
    page = browser.new_page()
    reduced = report.with_name("reduced.html")
    text = report.read_text(encoding="utf-8")
    assert '"classes_present"' in text
    sizes = '"longer_side": 512, "trained_longer_side": null, "classes_present"'
    reduced.write_text(text.replace('"classes_present"', sizes), encoding="utf-8")
    for path, size in (
        (report, "val, each at its own size."),
        (reduced, "val, reduced to a longer side of 512 pixels."),
        (reduced, "The model was trained at data.longer_side=null: "),
    ):
        page.goto(path.as_uri())
        expect(page.locator("#lead")).to_contain_text(size)
    page.goto(report.as_uri())
    expect(page.locator("#lead")).not_to_contain_text("The model was trained")
    page.close()


def test_everything_is_there_on_every_screen(anywhere: Page) -> None:
    expect(anywhere.locator("#score-miou .value")).to_have_text("0.456")
    expect(anywhere.locator("#score-miou .baseline")).to_have_text("all background 0.277")
    expect(anywhere.locator("#score-pixel_accuracy .value")).to_have_text("0.873")
    expect(anywhere.locator("#lead")).to_contain_text("resnet18 on sample. Scored on 12 images of val")
    expect(anywhere.locator("#lead")).to_contain_text("The mIoU is the mean over 3 of 21 classes.")
    expect(anywhere.locator("#curves svg")).to_have_count(4)
    expect(anywhere.locator("#training-note")).to_have_text(
        "Best validation mIoU 0.400 in epoch 2 of 3; this is the model scored here."
    )
    expect(anywhere.locator("#class-table tbody tr")).to_have_count(21)
    expect(anywhere.locator("#class-table .absent")).to_have_count(18)
    expect(anywhere.locator("#matrix tbody tr")).to_have_count(21)
    expect(anywhere.locator(".card")).to_have_count(12)
    overflow = anywhere.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow == 0
    anywhere.locator("#gallery").scroll_into_view_if_needed()
    assert loaded(anywhere, ".card:first-child img")


def test_an_item_opens_on_every_screen(anywhere: Page) -> None:
    anywhere.locator(".card").first.click()
    viewer = anywhere.locator("#viewer")
    expect(viewer.get_by_role("heading")).to_have_text("scene_00")
    assert loaded(anywhere, "#viewer img")
    box, size = viewer.bounding_box(), anywhere.viewport_size
    assert box["x"] >= 0 and box["x"] + box["width"] <= size["width"]
    for name in ("image", "truth", "prediction", "errors"):
        viewer.get_by_role("button", name=name, exact=True).click()
        expect(anywhere.locator("#viewer-picture .view")).to_have_attribute("data-mode", name)
        expect(viewer.get_by_role("img", name=f"{name} of scene_00")).to_be_visible()
    assert loaded(anywhere, "#viewer img")
    viewer.get_by_role("button", name="Close").click()
    expect(viewer).to_be_hidden()


def test_ground_and_ink_follow_the_scheme(anywhere: Page) -> None:
    ground, ink = anywhere.evaluate(
        "(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))"
        ".map(c => c.match(/\\d+/g).reduce((sum, part) => sum + Number(part), 0) / 3)"
    )
    dark = anywhere.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (ground < 40 and ink > 200) if dark else (ground > 240 and ink < 60)


def test_the_colours_seen_are_those_of_the_figures(opened: Page) -> None:
    """Right pixels are faint, wrong ones red, void ones grey; below a truth mask the image has the same faint grey."""
    opened.locator(".card[data-id=scene_05]").click()
    picture = opened.locator("#viewer-picture .view")

    def pixel(x: float, y: float) -> np.ndarray:
        # The image has 60 x 40 pixels; the cat is at 10..30 in both directions, and its upper 5 rows are right.
        assert loaded(opened, "#viewer img")
        box = picture.bounding_box()
        width, height = min(box["width"], box["height"] * 1.5), min(box["height"], box["width"] / 1.5)
        left = box["x"] + (box["width"] - width) / 2 + width * x / 60
        top = box["y"] + (box["height"] - height) / 2 + height * y / 40
        shot = opened.screenshot(clip={"x": left, "y": top, "width": 1, "height": 1})
        return np.array(Image.open(io.BytesIO(shot)).convert("RGB"))[0, 0]

    faint = 190 + 100 * 65 / 255  # of grey 100
    opened.keyboard.press("4")
    assert np.allclose(pixel(20, 25), (214, 39, 20), atol=3)
    assert np.allclose(pixel(20, 12), faint, atol=3)
    assert np.allclose(pixel(20, 31), 140, atol=3)
    opened.keyboard.press("2")
    assert np.allclose(pixel(50, 5), faint, atol=3)
    assert np.allclose(pixel(20, 25), 0.25 * faint + 0.75 * np.array([64, 0, 0]), atol=3)  # cat
    opened.locator("#fade").fill("0")
    assert np.allclose(pixel(20, 25), 100, atol=3)  # the image itself


def test_images_are_sorted(opened: Page) -> None:
    ids = [f"scene_{number:02d}" for number in range(11)]
    assert shown(opened) == [*ids, ODD]  # the image without a score comes last
    field(opened, "Order").select_option("mIoU, highest first")
    assert shown(opened) == [*ids[::-1], ODD]
    field(opened, "Order").select_option("void, most first")
    assert shown(opened)[0] == ODD
    field(opened, "Order").select_option("id")
    assert shown(opened) == sorted([*ids, ODD])


def test_images_are_filtered(opened: Page) -> None:
    field(opened, "Class").select_option("cat (5)")
    assert shown(opened) == [f"scene_{number:02d}" for number in (1, 3, 5, 7, 9)]
    expect(opened.locator("#count")).to_have_text("5 of 12 images")
    # The upper 5 of 20 rows of the cat in scene_05 are right, and no other pixel is predicted as cat.
    expect(opened.locator(".card[data-id=scene_05] .numbers")).to_contain_text("cat 0.250")
    field(opened, "Order").select_option("IoU of the class, highest first")
    assert shown(opened)[0] == "scene_09"
    field(opened, "Id").fill("_03")
    assert shown(opened) == ["scene_03"]
    field(opened, "Id").fill("nothing of the kind")
    assert shown(opened) == []
    field(opened, "Id").fill("")
    field(opened, "Class").select_option("all")
    assert len(shown(opened)) == 12
    expect(field(opened, "Order")).to_have_value("miou")


def test_a_class_leads_to_its_images(opened: Page) -> None:
    opened.locator("#class-table").get_by_text("dog").click()
    assert shown(opened) == [f"scene_{number:02d}" for number in (0, 2, 4, 6, 8, 10)]


def test_cards_show_what_is_asked_for(opened: Page) -> None:
    opened.get_by_role("group", name="Images show").get_by_role("button", name="errors").click()
    opened.locator("#cards").scroll_into_view_if_needed()
    assert loaded(opened, ".card:first-child img")
    assert opened.locator(".card .mask").first.get_attribute("src") == "report_images/scene_00.errors.png"


def test_the_colours_of_the_cards_are_explained(opened: Page) -> None:
    legend, modes = opened.locator("#gallery-legend li"), opened.get_by_role("group", name="Images show")
    expect(legend).to_have_text(["background", "cat", "dog", "void"])
    field(opened, "Class").select_option(label="cat (5)")
    expect(legend).to_have_text(["background", "cat", "void"])
    modes.get_by_role("button", name="errors").click()
    expect(legend).to_have_text(["right", "wrong", "void"])
    modes.get_by_role("button", name="image").click()
    expect(legend).to_have_count(0)


def test_the_keyboard_goes_everywhere(opened: Page) -> None:
    focused = "document.activeElement.dataset.id"
    opened.get_by_role("group", name="Images show").get_by_role("button", name="errors").focus()
    opened.keyboard.press("Tab")
    assert opened.evaluate(focused) == "scene_00"
    opened.keyboard.press("Tab")  # one stop for the whole gallery
    assert opened.evaluate(focused) != "scene_01"
    opened.keyboard.press("Shift+Tab")
    tops = opened.locator(".card").evaluate_all("cards => cards.map(card => card.offsetTop)")
    columns = tops.count(tops[0])
    places = {"ArrowRight": 1, "ArrowDown": 1 + columns, "ArrowUp": 1, "End": 11, "Home": 0, "ArrowLeft": 0}
    for key, expected in places.items():
        opened.keyboard.press(key)
        assert opened.evaluate(focused) == (ODD if expected == 11 else f"scene_{expected:02d}"), key
    outline = opened.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"

    opened.keyboard.press("Enter")
    title, picture = opened.locator("#viewer-title"), opened.locator("#viewer-picture .view")
    expect(title).to_have_text("scene_00")
    opened.keyboard.press("ArrowLeft")
    expect(title).to_have_text("scene_00")
    opened.keyboard.press("ArrowRight")
    expect(title).to_have_text("scene_01")
    for key, mode in [("1", "image"), ("2", "truth"), ("3", "prediction"), ("4", "errors")]:
        opened.keyboard.press(key)
        expect(picture).to_have_attribute("data-mode", mode)
    opened.locator("#fade").focus()
    opened.keyboard.press("ArrowLeft")  # here it moves the slider
    expect(title).to_have_text("scene_01")
    assert picture.evaluate("element => element.style.getPropertyValue('--fade')") == "0.99"
    opened.keyboard.press("Escape")
    expect(opened.locator("#viewer")).to_be_hidden()
    expect(opened.locator(".card[data-id=scene_01]")).to_be_focused()


def test_an_odd_id_is_a_name_and_nothing_else(opened: Page) -> None:
    field(opened, "Id").fill("50%")
    opened.locator(".card:visible").click()
    expect(opened.locator("#viewer-title")).to_have_text(ODD)
    expect(opened.locator("#viewer-note")).to_contain_text("mIoU absent")
    assert loaded(opened, "#viewer img")


def test_the_matrix_tells_its_numbers(opened: Page) -> None:
    opened.locator("#matrix td[data-row='8'][data-column='0']").hover()
    # 5 cats of 400 pixels; 1, 3, 5, 7 and 9 of their 20 rows are right.
    expect(opened.locator("#cell")).to_have_text("cat predicted as background: 75.0 % of its 2,000 pixels (1,500)")
    expect(opened.locator("#matrix").get_by_role("row", name="bus never true")).to_be_visible()
    expect(opened.locator("#confusions li").first).to_contain_text("cat → background")


def test_controls_have_names(opened: Page) -> None:
    opened.locator(".card").first.click()
    unnamed = opened.evaluate(
        "[...document.querySelectorAll('button, select, input')].filter(e =>"
        " !e.ariaLabel && !e.textContent.trim() && !e.labels?.length).length"
    )
    assert unnamed == 0


def test_pictures_out_of_sight_are_not_loaded(browser: Browser, report: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    # Chromium loads images a little below the screen; the gallery is moved farther down than that.
    page.add_init_script("addEventListener('DOMContentLoaded', () => { cards.style.marginTop = '20000px'; })")
    page.goto(report.as_uri(), wait_until="networkidle")
    assert not [url for url in asked if "report_images" in url]
    page.locator(".card").first.scroll_into_view_if_needed()
    assert loaded(page, ".card:first-child img")
    assert not [url for url in asked if url.endswith(".truth.png")]
    context.close()


def test_scores_and_classes_show_their_intervals(anywhere: Page) -> None:
    expect(anywhere.locator("#score-miou .interval")).to_have_text(re.compile(r"95 %: 0\.\d{3} to \d\.\d{3}"))
    expect(anywhere.locator("#score-boundary_iou .value")).to_have_text(re.compile(r"0\.\d{3}"))
    expect(anywhere.locator("#score-boundary_iou .baseline")).to_have_count(0)
    row = anywhere.locator("#class-table tbody tr", has_text="cat")
    assert row.locator(".track > s").count() == 1
    expect(row.locator("td.interval")).to_have_text(re.compile(r"\d+\.\d to \d+\.\d"))
    wide = anywhere.viewport_size["width"] > 600
    assert row.locator("td.interval").is_visible() == wide
    assert anywhere.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_confidence_has_its_charts(anywhere: Page) -> None:
    section = anywhere.locator("#confidence")
    expect(section.locator("#confidence-note")).to_contain_text("Expected calibration error 0.0")
    expect(section.locator("svg")).to_have_count(2)
    assert section.locator("rect.right").count() == 2
    assert section.locator("polyline").get_attribute("points").count(",") == 101


def test_scores_of_an_earlier_version_have_no_confidence(browser: Browser, report: Path) -> None:
    earlier = report.with_name("earlier.html")
    text = report.read_text(encoding="utf-8")
    earlier.write_text(re.sub(r'"confidence":\{.*?\]\]\}', '"confidence":null', text), encoding="utf-8")
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(earlier.as_uri())
    expect(page.locator("#confidence")).to_have_count(0)
    expect(page.locator("nav a[href='#confidence']")).to_have_count(0)
    page.close()
    assert not errors
