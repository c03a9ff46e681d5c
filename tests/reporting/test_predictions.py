"""Figures of predictions show the right images and name exactly the classes in them."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from voc_seg.reporting.dataset import plot_samples
from voc_seg.reporting.overlays import error_map
from voc_seg.reporting.predictions import gallery_items, plot_gallery, plot_mask, plot_prediction, plot_sanity
from voc_seg.samples.store import Sample, SampleStore


def scene(height: int, width: int, name: str = "scene") -> Sample:
    """A cow (10) in a void frame on background; the image is noise."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[5:20, 5:20] = 255
    mask[7:18, 7:18] = 10
    return Sample(name, image, mask)


def legend(figure: Figure) -> dict[str, tuple[float, ...]]:
    (box,) = figure.legends
    names = [text.get_text() for text in box.get_texts()]
    return dict(zip(names, [to_rgb(patch.get_facecolor()) for patch in box.get_patches()], strict=True))


def title(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts)


def shown_images(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (30, 300), (300, 30)])
def test_prediction_shows_image_and_errors_in_their_own_shape(shape):
    sample = scene(*shape, name="2007_000032")
    prediction = np.where(sample.mask == 10, 13, 0).astype(np.uint8)
    figure = plot_prediction(sample, prediction, 0.1234)
    image, truth, predicted, errors = shown_images(figure)
    assert (image == sample.image).all()
    assert (errors == error_map(sample.image, sample.mask, prediction)).all()
    # Cow is (64, 128, 0) and horse (192, 0, 128) in VOC: red and green distinguish the two panels.
    assert (truth[sample.mask == 10].argmax(-1) == 1).all()
    assert (predicted[sample.mask == 10].argmax(-1) == 0).all()
    assert "2007_000032" in title(figure) and "mIoU 0.123" in title(figure)
    width, height = figure.get_size_inches() * figure.dpi
    assert 850 <= width <= 1250 and height <= 700


def test_figures_of_large_images_draw_no_more_pixels_than_they_show():
    sample = scene(40, 1500)
    found = np.minimum(sample.mask, 10)
    history, metrics = pd.DataFrame({"epoch": [1], "loss": [1.0]}), {
        "miou": 1.0, "passed": True, "epochs": 1, "final_loss": 1.0, "pixel_accuracy": 1.0,
    }  # fmt: skip
    for figure in (
        plot_prediction(sample, found, 1.0),
        plot_gallery([(sample, found, 1.0)]),
        plot_mask("a", sample.image, found),
        plot_sanity(history, sample.image, sample.mask, found, metrics),
        plot_samples([sample]),
    ):
        assert {image.shape for image in shown_images(figure)} == {(27, 1000, 3)}


def test_legend_names_exactly_the_classes_that_occur_in_voc_colours():
    sample = scene(30, 50)
    prediction = np.where(sample.mask == 10, 13, 0).astype(np.uint8)
    entries = legend(plot_prediction(sample, prediction, 0.1))
    assert list(entries) == ["background", "cow", "horse", "void"]
    assert entries["cow"] == pytest.approx(np.array([64, 128, 0]) / 255)
    assert entries["horse"] == pytest.approx(np.array([192, 0, 128]) / 255)
    no_background = Sample("cow", sample.image, np.full_like(sample.mask, 10))
    assert list(legend(plot_prediction(no_background, no_background.mask, 1.0))) == ["cow"]


def test_prediction_of_an_all_void_image_has_no_score():
    sample = scene(30, 50)
    void = Sample("void", sample.image, np.full_like(sample.mask, 255))
    assert "mIoU absent" in title(plot_prediction(void, np.zeros_like(void.mask), float("nan")))


def test_gallery_has_a_row_an_image_and_one_legend_for_all():
    items = [(scene(30, 50, "wide"), np.full((30, 50), 3, np.uint8), 0.25)]
    items += [(scene(50, 30, "tall"), np.full((50, 30), 20, np.uint8), float("nan"))]
    figure = plot_gallery(items)
    assert [image.shape[:2] for image in shown_images(figure)] == [(30, 50)] * 4 + [(50, 30)] * 4
    assert (shown_images(figure)[4] == items[1][0].image).all()
    assert list(legend(figure)) == ["background", "bird", "cow", "tvmonitor", "void"]
    assert "wide   mIoU 0.250" in title(figure) and "tall   mIoU absent" in title(figure)


def test_gallery_items_are_found_by_id_in_the_order_of_the_table(val_store: SampleStore):
    masks = {image_id: np.full((2, 2), number, np.uint8) for number, image_id in enumerate(val_store.ids)}
    table = pd.DataFrame({"image_id": val_store.ids[::-1], "miou": [0.1, 0.2], "pixel_accuracy": 1.0})
    items = gallery_items(val_store, masks, table)
    assert [(sample.id, mask[0, 0], miou) for sample, mask, miou in items] == [
        (val_store.ids[1], 1, 0.1),
        (val_store.ids[0], 0, 0.2),
    ]


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (30, 300), (300, 30)])
def test_mask_beside_its_picture_with_shares(shape):
    sample = scene(*shape)
    mask = np.where(sample.mask == 10, 13, 0).astype(np.uint8)
    mask[0, :9], mask[1, :2] = 12, 15  # two pixels are below the smallest share that is listed
    figure = plot_mask("mine.jpg", sample.image, mask)
    image, predicted = shown_images(figure)
    assert (image == sample.image).all()
    assert (predicted[mask == 13].argmax(-1) == 0).all()  # horse is (192, 0, 128)
    assert list(legend(figure)) == ["background", "dog", "horse", "person"]
    shares = {name: 100 * (mask == value).mean() for name, value in (("horse", 13), ("dog", 12), ("person", 15))}
    said = ", ".join(f"{name} {share:.1f} %" for name, share in shares.items() if share >= 0.05)
    assert title(figure) == f"mine.jpg {said}"
    width, height = figure.get_size_inches() * figure.dpi
    assert width <= 1150 and height <= 850
    assert title(plot_mask("mine.jpg", sample.image, mask * 0)) == "mine.jpg nothing but background"


def test_gallery_rows_do_not_overlap():
    figure = plot_gallery([(scene(30 + 10 * n, 60), np.zeros((30 + 10 * n, 60), np.uint8), 0.5) for n in range(8)])
    boxes = [axes.get_position() for axes in figure.axes[::4]]
    assert all(upper.y0 > lower.y1 for upper, lower in itertools.pairwise(boxes))
    assert boxes[-1].y0 > 0


def test_texts_and_legend_stay_inside_the_figure_and_clear_of_the_panels():
    sample = scene(60, 45, name="2007_000032")
    crowd = np.resize(np.arange(21, dtype=np.uint8), sample.mask.shape)  # every class: the tallest legend
    history = pd.DataFrame({"epoch": [1], "loss": [1.0], "learning_rate": 0.01})
    metrics = {"epochs": 1, "final_loss": 1.0, "miou": 0.5, "pixel_accuracy": 0.5, "passed": False}
    for figure in (
        plot_prediction(sample, crowd, 0.5),
        plot_gallery([(sample, crowd, 0.5)]),
        plot_mask("2007_000032", sample.image, crowd),
        plot_sanity(history, sample.image, sample.mask, crowd, metrics),
    ):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        box, page = figure.get_tightbbox(canvas.get_renderer()), figure.bbox_inches
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= page.width and box.y1 <= page.height
        entries = figure.legends[0].get_window_extent()
        assert not any(entries.overlaps(axes.get_tightbbox()) for axes in figure.axes)


def test_gallery_shows_eight_rows_at_most_and_says_when_there_are_none():
    sample = scene(30, 50)
    assert len(plot_gallery([(sample, sample.mask * 0, 0.5)] * 9).axes) == 8 * 4
    assert "No images to show" in title(plot_gallery([]))


@pytest.mark.parametrize(
    ("passed", "words"),
    [(True, "Sanity check passed: mIoU 0.981"), (False, "Sanity check FAILED: mIoU 0.981")],
)
def test_sanity_says_the_verdict_and_holds_the_loss(passed, words):
    sample = scene(30, 50)
    history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 0.5, 0.01], "learning_rate": 0.01})
    metrics = {"epochs": 3, "final_loss": 0.01, "miou": 0.981, "pixel_accuracy": 0.99, "passed": passed}
    figure = plot_sanity(history, sample.image, sample.mask, np.zeros_like(sample.mask), metrics)
    assert words in title(figure)
    (loss,) = [axes for axes in figure.axes if axes.lines]
    assert loss.lines[0].get_ydata().tolist() == [3.0, 0.5, 0.01]
    assert loss.get_yscale() == "log"
    image, truth, prediction = shown_images(figure)
    assert (image == sample.image).all()
    assert (truth[sample.mask == 10] != prediction[sample.mask == 10]).any()
    assert list(legend(figure)) == ["background", "cow", "void"]


@pytest.mark.parametrize("losses", [[0.7], [1.0, 0.9], [1.0, 0.0]])
def test_sanity_keeps_a_linear_axis_where_a_logarithm_would_not_help(losses):
    sample = scene(50, 30)
    history = pd.DataFrame({"epoch": range(1, len(losses) + 1), "loss": losses, "learning_rate": 0.01})
    metrics = {
        "epochs": len(losses),
        "final_loss": losses[-1],
        "miou": None,
        "pixel_accuracy": 0.1,
        "passed": False,
    }
    figure = plot_sanity(history, sample.image, sample.mask, sample.mask * 0, metrics)
    assert "mIoU absent" in title(figure)
    (loss,) = [axes for axes in figure.axes if axes.lines]
    assert (loss.get_yscale(), loss.get_ylim()[0]) == ("linear", 0)
