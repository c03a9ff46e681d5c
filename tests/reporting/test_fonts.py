"""Names in any script: in a font that has their letters, and legible without one."""

import logging
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image, ImageFont

from voc_seg.reporting import fonts
from voc_seg.reporting.comparison import plot_runs
from voc_seg.reporting.confusion_figure import plot_confusion
from voc_seg.reporting.dataset import plot_samples
from voc_seg.reporting.figures import plot_class_distribution, plot_class_iou
from voc_seg.reporting.inference import labelled_overlay, plot_contact_sheet, thumbnail
from voc_seg.reporting.predictions import plot_gallery, plot_mask, plot_prediction, plot_sanity
from voc_seg.reporting.style import new_figure
from voc_seg.samples.store import Sample
from voc_seg.voc.classes import name_classes

NAMES = ["background", "\u732b cat", "\u0642\u0637\u0629", "\u092c\u093f\u0932\u094d\u0932\u0940", "\u043a\u043e\u0442"]
CLASSES = name_classes(NAMES)
IMAGE_ID = "\u56fe\u50cf (0)"
METRICS = {
    "split": "val", "images": 7, "miou": 0.4, "pixel_accuracy": 0.8, "mean_class_accuracy": 0.5,
    "frequency_weighted_iou": 0.7, "classes_present": 3, "all_background_miou": 0.25, "checkpoint_epoch": 12,
    "epochs": 3, "final_loss": 0.1, "passed": True,
}  # fmt: skip


@pytest.fixture
def no_fonts(monkeypatch):
    """A system without fonts other than matplotlib's own."""
    monkeypatch.setattr(fonts, "_found", {})
    monkeypatch.setattr(fonts, "_system_fonts", list)


@pytest.fixture
def sample() -> Sample:
    mask = np.arange(len(NAMES), dtype=np.uint8).repeat(9)[None].repeat(30, 0)
    return Sample(IMAGE_ID, np.zeros((*mask.shape, 3), np.uint8), mask)


def figures(sample: Sample) -> dict[str, Figure]:
    """Every figure that shows names of classes, images or runs."""
    image, mask = sample.image, sample.mask
    table = {"class_index": range(len(NAMES)), "class_name": NAMES, "train_images": 3, "train_pixel_share": 0.2}
    table = pd.DataFrame({**table, "iou": np.linspace(0, 1, len(NAMES)), "true_pixels": 5})
    counts = pd.DataFrame(np.eye(len(NAMES)), index=NAMES, columns=NAMES)
    losses = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0]})
    return {
        "class_distribution": plot_class_distribution(table),
        "class_iou": plot_class_iou(table, METRICS),
        "confusion": plot_confusion(counts),
        "prediction": plot_prediction(sample, mask, 0.5, CLASSES),
        "gallery": plot_gallery([(sample, mask, 0.5)], CLASSES),
        "mask": plot_mask(IMAGE_ID, image, mask, CLASSES),
        "sanity": plot_sanity(losses, image, mask, mask, METRICS, CLASSES),
        "samples": plot_samples([sample], CLASSES),
        "contact_sheet": plot_contact_sheet([thumbnail(IMAGE_ID, image, mask, CLASSES)], 1, 0, CLASSES),
        "runs": plot_runs(
            {IMAGE_ID: {"history": pd.DataFrame()}},
            pd.DataFrame({"run": [IMAGE_ID], "val_miou": 0.3, "miou_low": 0.2, "miou_high": None}),
        ),
    }


def test_without_a_font_nothing_warns_and_one_line_says_what_to_do(no_fonts, sample, tmp_path, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        for name, figure in figures(sample).items():
            figure.savefig(tmp_path / f"{name}.png")
        labelled_overlay(sample.image, sample.mask, CLASSES)
    (line,) = caplog.messages
    assert line.startswith(
        "No installed font has \u092c \u0932 \u093f \u0940 \u094d \u732b: figures show the class number (class 3)"
    )
    assert "apt install fonts-noto-cjk" in line


def test_without_a_font_classes_have_their_number(no_fonts, sample):
    made = figures(sample)
    shown = ["background", "class 1", NAMES[2], "class 3", NAMES[4]]
    ticks = [label.get_text() for label in made["confusion"].axes[0].get_yticklabels()]
    assert ticks == [label.get_text() for label in made["class_iou"].axes[0].get_yticklabels()][::-1] == shown
    for name in ("prediction", "gallery", "mask", "sanity", "samples"):
        assert {text.get_text() for text in made[name].legends[0].texts} == set(shown)
    assert made["prediction"].texts[0].get_text().startswith("?? (0)   mIoU")


def test_a_number_is_no_other_classs_name(no_fonts):
    assert fonts.shown_names(["class 1", "\u732b", "class 2", "\u72d7"]) == [
        "class 1",
        "class 1_",
        "class 2",
        "class 3",
    ]
    assert fonts.shown_names(["\u732b", "b"], [7, 2]) == ["class 7", "b"]


@pytest.fixture
def other_font(monkeypatch, tmp_path):
    """The file of a system font with letters that the default font is made to lack."""
    path = font_manager.findfont("DejaVu Serif")
    monkeypatch.setattr(fonts, "_found", {})
    monkeypatch.setattr(fonts, "_system_fonts", lambda: [str(tmp_path / "no_font.ttf"), path])
    monkeypatch.setattr(fonts, "_default_font_has", lambda letter: letter not in "\u0436\u0434")
    (tmp_path / "no_font.ttf").write_text("no font")
    return path


def test_the_font_that_has_the_letters_is_taken(other_font, tmp_path, caplog):
    figure = new_figure(3, 2)
    with_name, without = figure.text(0.1, 0.5, "a \u0436", fontweight="bold"), figure.text(0.1, 0.2, "a")
    for _ in range(2):
        figure.savefig(tmp_path / "figure.png")
    assert with_name.get_fontfamily() == [*without.get_fontfamily(), "DejaVu Serif"]
    assert list(fonts.split_by_font("a\u0436\u0434 b")) == [
        (fonts.default_font(), "a"), (other_font, "\u0436\u0434"), (fonts.default_font(), " b"),
    ]  # fmt: skip
    assert fonts.shown_names(["a", "\u0436"]) == ["a", "\u0436"]
    assert not caplog.messages


def test_overlays_have_the_letters_too(other_font, sample, monkeypatch):
    opened = []
    truetype = ImageFont.truetype
    monkeypatch.setattr(ImageFont, "truetype", lambda path, size: opened.append(path) or truetype(path, size))
    image = labelled_overlay(sample.image, sample.mask % 2, name_classes(["background", "\u0436"]))
    assert isinstance(image, Image.Image)
    assert other_font in opened


def test_a_font_that_matplotlib_has_not_listed_yet_is_found(monkeypatch):
    """matplotlib lists the fonts on its first use; fonts installed later are not in its list."""
    path = font_manager.findfont("DejaVu Serif")
    listed = [entry for entry in font_manager.fontManager.ttflist if entry.fname != path]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", listed)
    assert fonts._family.__wrapped__(path) == "DejaVu Serif"
    assert any(entry.fname == path for entry in font_manager.fontManager.ttflist)


def test_fonts_that_draw_boxes_or_nothing_are_not_taken(monkeypatch):
    found = [
        "/f/LastResort.otf",
        "/f/AdobeBlank.otf",
        "/f/A-Serif.ttf",
        "/f/B-SansBold.ttf",
        "/f/Z-Sans.ttf",
        "/f/A.ttf",
    ]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: found)
    assert fonts._system_fonts.__wrapped__() == ["/f/Z-Sans.ttf", "/f/A.ttf", "/f/B-SansBold.ttf", "/f/A-Serif.ttf"]
