"""Figures of the data show the right samples and crops, and no text covers them."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from voc_seg.config import AugmentationConfig
from voc_seg.reporting.dataset import plot_crops, plot_samples
from voc_seg.reporting.overlays import overlay
from voc_seg.samples.augment import augment
from voc_seg.samples.store import Sample

SMALL = AugmentationConfig(crop_size=64, scale=(0.8, 1.2))
LARGE = AugmentationConfig(image_size=(60, 80), crop_size=96, scale=(0.5, 0.5), flip=0, colour_jitter=0.2)


def shown_images(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def test_samples_stand_above_their_masks(scene_samples: list[Sample]) -> None:
    figure = plot_samples(scene_samples[-3:])
    shown = shown_images(figure)
    assert all((image == sample.image).all() for image, sample in zip(shown[::2], scene_samples[-3:]))
    for above, below in zip(figure.axes[::2], figure.axes[1::2]):
        assert above.get_position().y0 > below.get_position().y1
        assert above.get_position().x0 == below.get_position().x0


def test_crops_are_what_training_would_cut(scene_samples: list[Sample]) -> None:
    figure = plot_crops(scene_samples[0], {"in use": SMALL, "mine": LARGE}, count=3)
    shown = shown_images(figure)
    assert [image.shape[0] for image in shown] == [64] * 3 + [96] * 3
    image, mask = augment(scene_samples[0], LARGE, np.random.default_rng(2))
    assert (shown[-1] == overlay(image.permute(1, 2, 0).numpy(), mask.numpy())).all()
    texts = [text.get_text() for text in figure.texts]
    assert "in use:  crop_size 64, scale 0.8 to 1.2, flip 0.5, colour_jitter 0" in texts
    assert "mine:  resized to 60 x 80, crop_size 96, scale 0.5 to 0.5, flip 0, colour_jitter 0.2" in texts


@pytest.mark.parametrize("kind", ["samples", "crops"])
def test_texts_and_legend_stay_inside_the_figure_and_clear_of_the_panels(
    kind: str, scene_samples: list[Sample]
) -> None:
    crowd = Sample("2007_000032", scene_samples[0].image, np.resize(np.arange(21, dtype=np.uint8), (64, 96)))
    crowd = Sample(crowd.id, crowd.image[:64, :96], crowd.mask)
    figure = plot_samples([crowd] * 4) if kind == "samples" else plot_crops(crowd, {"in use": SMALL, "mine": LARGE})
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box, page = figure.get_tightbbox(canvas.get_renderer()), figure.bbox_inches
    assert box.x0 >= 0 and box.y0 >= 0
    assert box.x1 <= page.width and box.y1 <= page.height
    panels = [axes.get_tightbbox() for axes in figure.axes]
    entries = figure.legends[0].get_window_extent()
    assert not any(entries.overlaps(panel) for panel in panels)
    texts = [text.get_window_extent() for text in figure.texts]
    assert not any(text.overlaps(panel) for text in texts for panel in panels)
