"""Charts show the numbers they were given."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from voc_seg.reporting.confusion_figure import plot_confusion
from voc_seg.reporting.figures import plot_class_distribution, plot_class_iou, plot_history

CLASSES = ["background", "aeroplane", "bicycle", "bird"]
METRICS = {
    "split": "val",
    "images": 7,
    "miou": 0.4,
    "pixel_accuracy": 0.8,
    "mean_class_accuracy": 0.5,
    "frequency_weighted_iou": 0.7,
    "classes_present": 3,
    "all_background_miou": 0.25,
    "checkpoint_epoch": 12,
    "images_per_second": 9.5,
}


def texts(figure: Figure) -> list[str]:
    """Every text of the figure except those of an axis."""
    axes_texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    return [text.get_text() for text in figure.texts] + axes_texts


def curve(axes, label: str):
    return next(line for line in axes.lines if line.get_label() == label)


def history(epochs: int, **columns) -> pd.DataFrame:
    table = {
        "epoch": np.arange(1, epochs + 1),
        "train_loss": np.linspace(2, 1, epochs),
        "val_loss": np.linspace(2.2, 1.4, epochs),
        "val_miou": np.linspace(0.1, 0.3, epochs),
        "val_pixel_accuracy": np.linspace(0.7, 0.8, epochs),
        "learning_rate": 0.006,
        "images_per_second": 10.0,
        "is_best": True,
    }
    return pd.DataFrame({**table, **columns})


class TestClassDistribution:
    @pytest.fixture
    def statistics(self) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "class_index": range(4),
                "class_name": CLASSES,
                "train_images": [10, 2, 6, 4],
                "train_pixels": [7300, 500, 1200, 1000],
                "train_pixel_share": [0.73, 0.05, 0.12, 0.10],
                "val_images": [5, 0, 3, 1],
                "val_pixels": [400, 0, 50, 50],
                "val_pixel_share": [0.8, 0.0, 0.1, 0.1],
                "test_images": 0,
                "test_pixels": 0,
                "test_pixel_share": 0.0,
            }
        )

    def test_bars_are_the_counts_and_shares_without_background(self, statistics):
        images, pixels = plot_class_distribution(statistics).axes
        assert [label.get_text() for label in images.get_yticklabels()] == ["bicycle", "bird", "aeroplane"]
        train, val = images.containers
        assert [bar.get_width() for bar in train] == [6, 4, 2]
        assert [bar.get_width() for bar in val] == [3, 1, 0]
        train, val = pixels.containers
        assert [bar.get_width() for bar in train] == pytest.approx([12, 10, 5])

    def test_background_stands_in_the_text(self, statistics):
        assert "73.0 % in train, 80.0 % in val" in " ".join(texts(plot_class_distribution(statistics)))

    @pytest.mark.parametrize("without", ["zero", "missing"])
    def test_an_empty_test_split_is_left_out(self, statistics, without):
        if without == "missing":
            statistics = statistics.drop(columns=["test_images", "test_pixels", "test_pixel_share"])
        _images, pixels = plot_class_distribution(statistics).axes
        assert [text.get_text() for text in pixels.get_legend().get_texts()] == ["train", "val"]

    def test_no_images_at_all_still_gives_a_figure(self, statistics):
        statistics[["train_images", "val_images"]] = 0
        assert "No images in any split" in texts(plot_class_distribution(statistics))


class TestHistory:
    def test_curves_hold_the_columns(self):
        table = history(3)
        loss, scores, rate, speed = plot_history(table).axes
        for axes, label, column in [
            (loss, "train", "train_loss"),
            (loss, "val", "val_loss"),
            (scores, "mIoU", "val_miou"),
            (scores, "pixel accuracy", "val_pixel_accuracy"),
        ]:
            assert curve(axes, label).get_xdata().tolist() == [1, 2, 3]
            assert curve(axes, label).get_ydata().tolist() == table[column].tolist()
        assert rate.lines[0].get_ydata().tolist() == [0.006] * 3
        assert speed.lines[0].get_ydata().tolist() == [10.0] * 3

    def test_the_last_epoch_flagged_best_is_marked(self):
        # is_best means "best so far", so several rows carry it; the later ones replace the earlier.
        table = history(4, val_miou=[0.1, 0.35, 0.3, 0.2], is_best=[True, True, False, False])
        figure = plot_history(table)
        marker = figure.axes[1].lines[-1]
        assert (list(marker.get_xdata()), list(marker.get_ydata())) == ([2], [0.35])
        assert "best 0.350, epoch 2" in texts(figure)

    def test_epochs_without_validation_leave_no_hole_in_the_curve(self):
        table = history(4, val_miou=[None, 0.2, None, 0.3], is_best=[False, True, False, True])
        line = curve(plot_history(table).axes[1], "mIoU")
        assert line.get_xdata().tolist() == [2, 4]
        assert line.get_ydata().tolist() == [0.2, 0.3]

    def test_one_epoch(self):
        figure = plot_history(history(1))
        assert "best 0.100, epoch 1" in texts(figure)
        epochs = figure.axes[2]
        first, last = epochs.get_xlim()
        assert [tick for tick in epochs.get_xticks() if first <= tick <= last] == [1]

    def test_no_validation_yet(self):
        empty = {"val_loss": None, "val_miou": None, "val_pixel_accuracy": None, "is_best": False}
        figure = plot_history(history(2, **empty))
        assert "no validation yet" in texts(figure)
        assert not figure.axes[1].lines


class TestClassIou:
    @pytest.fixture
    def scores(self) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "class_index": range(4),
                "class_name": CLASSES,
                "iou": [0.8, np.nan, 0.0, 0.9],
                "precision": [0.9, np.nan, 0.0, 0.9],
                "recall": [0.9, np.nan, np.nan, 0.9],
                "true_pixels": [100, 0, 0, 50],
                "predicted_pixels": [100, 0, 5, 50],
            }
        )

    def test_bars_are_the_ious_from_best_to_worst(self, scores):
        axes = plot_class_iou(scores, METRICS).axes[0]
        assert [label.get_text() for label in axes.get_yticklabels()] == [
            "bird", "background", "bicycle", "aeroplane"
        ]  # fmt: skip
        assert [bar.get_width() for bar in axes.patches] == [0.9, 0.8, 0.0, 0.0]

    def test_absent_and_never_true_are_told_apart(self, scores):
        notes = texts(plot_class_iou(scores, METRICS))
        assert notes.count("absent") == 1
        assert notes.count("0.000  predicted, never true") == 1

    def test_lines_stand_at_the_score_and_at_the_floor(self, scores):
        figure = plot_class_iou(scores, METRICS)
        places = {line.get_label(): line.get_xdata()[0] for line in figure.axes[0].lines}
        assert places == {"mIoU": 0.4, "all background": 0.25}
        assert {"mIoU 0.400", "all background 0.250"} <= set(texts(figure))

    def test_whiskers_are_the_intervals_where_there_are_any(self, scores):
        figure = plot_class_iou(
            scores.assign(iou_low=[0.7, None, None, 0.8], iou_high=[0.85, None, None, 0.95]), METRICS
        )
        (whiskers,) = figure.axes[0].collections
        ends = sorted(tuple(segment[:, 0]) for segment in whiskers.get_segments())
        assert ends == [(0.7, 0.85), (0.8, 0.95)]
        assert any("thin lines: 95 % intervals" in text for text in texts(figure))
        assert not any("intervals" in text for text in texts(plot_class_iou(scores, METRICS)))

    def test_a_split_without_labelled_pixels(self, scores):
        nothing = {key: None if "miou" in key or "acc" in key else value for key, value in METRICS.items()}
        figure = plot_class_iou(scores.assign(iou=None, true_pixels=0), nothing)
        assert texts(figure).count("absent") == 4
        assert not figure.axes[0].lines


class TestConfusion:
    @pytest.fixture
    def confusion(self) -> pd.DataFrame:
        counts = [[90, 9, 1, 0], [50, 50, 0, 0], [0, 0, 0, 0], [1, 0, 0, 999]]
        return pd.DataFrame(counts, index=CLASSES, columns=CLASSES)

    def test_cells_are_row_percentages_and_never_true_rows_are_masked(self, confusion):
        cells = plot_confusion(confusion).axes[0].images[0].get_array()  # (classes, classes)
        assert cells[0].tolist() == pytest.approx([90, 9, 1, 0])
        assert cells[1].tolist() == pytest.approx([50, 50, 0, 0])
        assert cells[3].tolist() == pytest.approx([0.1, 0, 0, 99.9])
        assert np.ma.getmaskarray(cells).all(axis=1).tolist() == [False, False, True, False]

    def test_numbers_stand_in_the_cells_of_one_per_cent_and_more(self, confusion):
        figure = plot_confusion(confusion)
        numbers = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
        assert numbers == {
            (0, 0): "90", (1, 0): "9", (2, 0): "1", (0, 1): "50", (1, 1): "50", (3, 3): "100",
            (1.5, 2): "never true",
        }  # fmt: skip

    def test_truth_runs_down_and_prediction_across(self, confusion):
        axes = plot_confusion(confusion.rename(columns=str.upper)).axes[0]
        assert [label.get_text() for label in axes.get_yticklabels()] == CLASSES
        assert [label.get_text() for label in axes.get_xticklabels()] == [name.upper() for name in CLASSES]


def test_text_stays_inside_the_figure_at_twenty_one_classes():
    """Labels at the edges were once cut off, because the saved image is exactly the figure's own rectangle."""
    names = [f"pottedplant {number}" for number in range(21)]
    scores = pd.DataFrame({"class_index": range(21), "class_name": names, "iou": 1.0, "true_pixels": 0})
    confusion = pd.DataFrame(np.eye(21), index=names, columns=names)
    for figure in (plot_class_iou(scores, METRICS), plot_confusion(confusion), plot_history(history(50))):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        box, page = figure.get_tightbbox(canvas.get_renderer()), figure.bbox_inches
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= page.width and box.y1 <= page.height
