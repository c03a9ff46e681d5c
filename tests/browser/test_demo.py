"""The demo page in a real browser, opened as a file: its masks are those of torch."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from playwright.sync_api import Page, expect

import voc_seg
from voc_seg.api.predictor import Predictor
from voc_seg.config import DataConfig, EvaluationConfig, InferenceConfig
from voc_seg.datasets import FilesDataset
from voc_seg.models import onnx_export
from voc_seg.models.exchange import take_model
from voc_seg.pipelines.export.nodes import build_demo, export_model
from voc_seg.reporting.overlays import tinted
from voc_seg.voc.classes import CLASS_NAMES, VOC_CLASSES

pytestmark = [
    pytest.mark.usefixtures("narrow_encoder"),
    pytest.mark.skipif(
        bool(onnx_export.missing_packages()), reason="the extra onnx is not installed: pip install 'voc_seg[onnx]'"
    ),
]
MOST_DIFFERENT = 0.0005
"""Share of the pixels that may have another class than torch gives them: ties decided by rounding."""


def save_photo(path: Path, height: int, width: int, **options: Any) -> Path:
    """Patches of all colours: an untrained network gives a scene the same classes in other colours."""
    colours = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC).save(path, **options)
    return path


@pytest.fixture(scope="module")
def folder(untrained_model: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and its page."""
    saved = untrained_model(EvaluationConfig(scale=0.5, flip=True, scales=(0.4, 0.6)))
    folder = tmp_path_factory.mktemp("50% #1")
    torch.save(saved, folder / "best_model.pth")
    taken, scales = take_model(saved), EvaluationConfig(scales=(0.4, 0.6))
    _, masks, *_, card = export_model(taken, {}, {}, DataConfig(), scales, InferenceConfig())
    FilesDataset(filepath=str(folder / "demo")).save(build_demo(taken, masks, card, DataConfig()))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Predictor:
    return voc_seg.load(folder / "best_model.pth", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def open_demo(open_page: Callable, folder: Path) -> Callable:
    return lambda screen: open_page(folder / "demo" / "index.html", screen)


@pytest.fixture(scope="module")
def opened(open_demo: Callable) -> Iterator[Page]:
    """A page for most tests, as starting the network takes seconds.

    A script error, or a request outside its folder, fails the last of them.
    """
    with open_demo("wide light") as page:
        yield page


@pytest.fixture
def fresh(open_demo: Callable) -> Iterator[Page]:
    """A page of its own for a test."""
    with open_demo("wide light") as page:
        yield page


def choose(page: Page, path: Path) -> None:
    page.evaluate("say('')")  # what it says of an earlier photograph
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a photo").click()
    chooser.value.set_files(path)


def wait_for_mask(page: Page, name: str) -> None:
    expect(page.locator("#status")).to_contain_text(f"{name}: ", timeout=60_000)
    expect(page.locator("#status")).to_contain_text("segmented in")


def saved_mask(page: Page, path: Path) -> Image.Image:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the mask as PNG").click()
    download.value.save_as(path)
    return Image.open(path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("64x64.png", {}),
        ("333x97.png", {}),
        ("375x500.png", {}),
        ("900x1200.webp", {"lossless": True}),
        pytest.param("1400x1400.png", {}, marks=[pytest.mark.slow, pytest.mark.long]),
    ],
)
def test_masks_are_those_of_torch(name: str, options: dict, opened: Page, model: Predictor, tmp_path: Path) -> None:
    height, width = map(int, name.partition(".")[0].split("x"))
    path = save_photo(tmp_path / name, height, width, **options)
    choose(opened, path)
    wait_for_mask(opened, name)
    mask = saved_mask(opened, tmp_path / "mask.png")
    assert (mask.mode, mask.size) == ("P", (width, height))
    assert mask.getpalette()[:63] == VOC_CLASSES.palette()[:21].flatten().tolist()
    expected = model.predict(path)
    assert len(expected.shares) > 1
    assert (np.asarray(mask) != expected.mask).mean() <= MOST_DIFFERENT
    largest = next(iter(expected.shares))
    expect(opened.locator("#shares li").first).to_contain_text(largest)


def test_photographs_of_cameras_are_turned_upright(opened: Page, model: Predictor, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = save_photo(tmp_path / "stored lying.jpg", 150, 200, exif=exif, quality=95)
    choose(opened, path)
    wait_for_mask(opened, "stored lying.jpg")
    mask = saved_mask(opened, tmp_path / "mask.png")
    assert mask.size == (150, 200)
    assert (np.asarray(mask) != model.predict(path).mask).mean() <= MOST_DIFFERENT


def test_transparent_pixels_are_white(opened: Page, model: Predictor, tmp_path: Path) -> None:
    image = np.zeros((60, 80, 4), np.uint8)
    image[:, :40] = (200, 30, 30, 255)
    Image.fromarray(image).save(tmp_path / "logo.png")
    choose(opened, tmp_path / "logo.png")
    wait_for_mask(opened, "logo.png")
    mask = saved_mask(opened, tmp_path / "mask.png")
    assert (np.asarray(mask) != model.predict(tmp_path / "logo.png").mask).mean() <= MOST_DIFFERENT


def test_large_photographs_are_reduced_with_a_note(opened: Page, tmp_path: Path) -> None:
    choose(opened, save_photo(tmp_path / "large.jpg", 2000, 3000))
    wait_for_mask(opened, "large.jpg")
    expect(opened.locator("#status")).to_contain_text("1,732 \u00d7 1,154 pixels, segmented in")
    expect(opened.locator("#status")).to_contain_text("has 3,000 \u00d7 2,000 pixels and was reduced for this page")
    expect(opened.locator("#save-note")).to_contain_text("the size of the reduced photograph")
    assert saved_mask(opened, tmp_path / "mask.png").size == (1732, 1154)


def test_the_overlay_is_that_of_inference(opened: Page, model: Predictor, tmp_path: Path) -> None:
    path = save_photo(tmp_path / "photo.png", 90, 120)
    choose(opened, path)
    wait_for_mask(opened, "photo.png")
    mask = np.asarray(saved_mask(opened, tmp_path / "mask.png"))
    expected = tinted(model.predict(path).image, mask, VOC_CLASSES).astype(int)
    shown = np.array(opened.evaluate("Array.from(layer.getContext('2d').getImageData(0, 0, 120, 90).data)")).reshape(
        90, 120, 4
    )
    assert ((shown[..., 3] == 255) == (mask != 0)).all()
    assert np.abs(shown[mask != 0][:, :3] - expected[mask != 0]).max() <= 1
    opened.get_by_label("Overlay").fill("40")
    expect(opened.locator("#overlay")).to_have_css("opacity", "0.4")
    expect(opened.locator("#opacity-value")).to_have_text("40 %")


def test_the_page_says_what_it_is(fresh: Page, folder: Path) -> None:
    expect(fresh).to_have_title("Demo: ResNet-18, trained on sample")
    expect(fresh.get_by_role("heading", level=1)).to_have_text("ResNet-18, trained on sample")
    assert fresh.locator("#shares .name").all_text_contents() == list(CLASS_NAMES)
    for link in fresh.locator("nav a").all():
        assert (folder / "demo" / str(link.get_attribute("href"))).is_file()
    digest = str(fresh.locator("#digest").text_content()).split()[-1]
    assert digest in (folder / "demo" / "MODEL_CARD.md").read_text(encoding="utf-8")
    expect(fresh.locator("#status")).to_have_text("The network is ready.", timeout=60_000)


def test_pointing_names_the_class(opened: Page, tmp_path: Path) -> None:
    choose(opened, save_photo(tmp_path / "photo.png", 90, 120))
    wait_for_mask(opened, "photo.png")
    mask = np.asarray(saved_mask(opened, tmp_path / "mask.png"))
    box = opened.locator("#picture").bounding_box()
    assert box
    for x, y in ((0.11, 0.2), (0.5, 0.51), (0.93, 0.97)):
        opened.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        near = mask[int(y * 90) - 1 : int(y * 90) + 2, int(x * 120) - 1 : int(x * 120) + 2]
        assert opened.locator("#pointed").text_content() in {CLASS_NAMES[value] for value in np.unique(near)}
    opened.mouse.move(2, 2)
    expect(opened.locator("#pointed")).to_be_hidden()


def test_it_works_with_the_keyboard(fresh: Page, tmp_path: Path) -> None:
    fresh.on("filechooser", lambda _: None)  # a browser that begins to watch for one may miss the first
    expect(fresh.locator("#status")).to_have_text("The network is ready.", timeout=60_000)
    fresh.keyboard.press("Tab")
    expect(fresh.get_by_text("Skip to the photograph")).to_be_focused()
    for _ in range(3):
        fresh.keyboard.press("Tab")
    expect(fresh.get_by_role("button", name="Choose a photo")).to_be_focused()
    with fresh.expect_file_chooser() as chooser:
        fresh.keyboard.press("Enter")
    chooser.value.set_files(save_photo(tmp_path / "photo.png", 90, 120))
    wait_for_mask(fresh, "photo.png")
    mask = np.asarray(saved_mask(fresh, tmp_path / "mask.png"))
    fresh.get_by_role("button", name="Use the camera").focus()
    fresh.keyboard.press("Tab")
    expect(fresh.locator("#picture")).to_be_focused()
    assert "photo.png with its mask" in str(fresh.locator("#picture").get_attribute("aria-label"))
    for _ in range(50):
        fresh.keyboard.press("ArrowLeft")
    fresh.keyboard.press("Shift+ArrowDown")
    expect(fresh.locator("#pointed")).to_have_text(CLASS_NAMES[mask[int(0.6 * 90 + 1e-9), 0]])
    fresh.keyboard.press("Escape")
    expect(fresh.locator("#pointed")).to_be_hidden()
    fresh.keyboard.press("Tab")
    fresh.keyboard.press("Home")
    expect(fresh.locator("#opacity-value")).to_have_text("0 %")
    fresh.keyboard.press("Tab")
    with fresh.expect_download():
        fresh.keyboard.press("Enter")


def test_a_file_that_is_no_image_shows_a_message(opened: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("not a photograph")
    choose(opened, tmp_path / "notes.jpg")
    expect(opened.get_by_role("alert")).to_contain_text("notes.jpg cannot be read as an image. Choose a JPEG")
    choose(opened, save_photo(tmp_path / "photo.png", 90, 120))
    wait_for_mask(opened, "photo.png")
    expect(opened.get_by_role("alert")).to_be_empty()


def test_a_file_that_is_no_image_does_not_stop_the_photograph_before(opened: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("not a photograph")
    opened.evaluate(
        "() => { const real = ask; ask = async (...all) => { ask = real; "
        "await new Promise((resolve) => setTimeout(resolve, 2000)); return real(...all); }; }"
    )
    choose(opened, save_photo(tmp_path / "photo.png", 60, 80))
    expect(opened.locator("#busy")).to_be_visible()
    choose(opened, tmp_path / "notes.jpg")
    expect(opened.get_by_role("alert")).to_contain_text("notes.jpg cannot be read")
    wait_for_mask(opened, "photo.png")
    expect(opened.locator("#busy")).to_be_hidden()


def test_a_dropped_file_is_segmented(opened: Page, tmp_path: Path) -> None:
    content = list(save_photo(tmp_path / "photo.png", 60, 80).read_bytes())
    files = opened.evaluate_handle(
        "content => { const moved = new DataTransfer(); moved.items.add(new File([new Uint8Array(content)], "
        "'dropped.png', { type: 'image/png' })); return moved; }",
        content,
    )
    opened.dispatch_event("#drop", "drop", {"dataTransfer": files})
    wait_for_mask(opened, "dropped.png")


def test_the_last_of_several_photographs_is_shown(opened: Page, tmp_path: Path) -> None:
    paths = [save_photo(tmp_path / f"{number}.png", 60 + 10 * number, 80) for number in range(3)]
    for path in paths:
        choose(opened, path)
    wait_for_mask(opened, "2.png")
    opened.wait_for_timeout(500)
    wait_for_mask(opened, "2.png")
    assert saved_mask(opened, tmp_path / "mask.png").size == (80, 80)


def test_the_camera(opened: Page, tmp_path: Path) -> None:
    opened.context.grant_permissions(["camera"])
    opened.get_by_role("button", name="Use the camera").click()
    expect(opened.get_by_role("dialog")).to_be_visible()
    opened.wait_for_timeout(500)  # the first frame
    opened.get_by_role("button", name="Take the photo").click()
    wait_for_mask(opened, "photograph")
    expect(opened.get_by_role("dialog")).to_be_hidden()
    assert opened.evaluate("find('video').srcObject === null")


def test_a_camera_that_is_not_allowed_shows_a_message(fresh: Page) -> None:
    fresh.context.clear_permissions()
    fresh.get_by_role("button", name="Use the camera").click()
    expect(fresh.get_by_role("alert")).to_contain_text("not allowed to use the camera")


def test_memory_that_runs_out_is_explained_and_the_next_photograph_works(fresh: Page, tmp_path: Path) -> None:
    path = save_photo(tmp_path / "photo.png", 60, 80)
    expect(fresh.locator("#status")).to_have_text("The network is ready.", timeout=60_000)
    fresh.evaluate("() => { const real = ask; ask = async () => { ask = real; throw new Error('std::bad_alloc'); }; }")
    choose(fresh, path)
    expect(fresh.get_by_role("alert")).to_contain_text("could not segment photo.png: memory ran out.")
    choose(fresh, path)
    wait_for_mask(fresh, "photo.png")


@pytest.mark.parametrize("name", ["model.js", "onnxruntime.js"])
def test_a_missing_file_is_named(name: str, browser: Any, folder: Path, tmp_path: Path) -> None:
    for path in (folder / "demo").glob("[!.]*"):
        if path.name != name:
            (tmp_path / path.name).symlink_to(path)
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri())
    expect(page.get_by_role("alert")).to_contain_text(
        f"The network could not be loaded: {name} is missing. Keep all files of this folder together."
    )
    page.close()


@pytest.mark.parametrize("screen", ["phone light", "phone dark"])
def test_a_phone(screen: str, open_demo: Callable, tmp_path: Path) -> None:
    def overflow(page: Page) -> int:
        return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    with open_demo(screen) as page:
        assert overflow(page) == 0
        path = save_photo(tmp_path / f"{'a long name ' * 8}.png", 200, 150)
        page.locator("#file").set_input_files(path)
        wait_for_mask(page, path.name)
        assert overflow(page) == 0
        page.locator("#picture").tap()
        expect(page.locator("#pointed")).to_be_visible()
        assert overflow(page) == 0
        for button in page.get_by_role("button").all():
            box = button.bounding_box()
            assert box and box["height"] >= 44
