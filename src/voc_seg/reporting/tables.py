"""Scores as plain text, for the console and the log file."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from voc_seg.metrics.confusion import is_baseline
from voc_seg.system.names import counted, listed, shortened

_WIDTH = 62  # 80 console columns without time and level
_NAME = 13
OTHER_STORED_SIZE = "trained_longer_side"
"""Key in the facts and scores of an evaluation: ``data.longer_side`` of the training, only if it differs."""
_NOT_LEARNT = 0.02
"""IoU below which a class counts as not learnt."""


def baseline_name(first_class: str) -> str:
    """What the baseline predicts, in at most 14 letters: "all background", or another first class."""
    return f"all {first_class}" if len(first_class) <= len("background") else "all class 0"


def score_table(class_scores: pd.DataFrame, metrics: Mapping[str, Any]) -> str:
    """The scores of a split by class and overall, with the all-background baseline; lines of at most 62 characters.

    Args:
        class_scores: One row a class: class_name, iou, precision, recall (0..1, empty if undefined), true_pixels, and
            iou_low and iou_high if there are intervals.
        metrics: The scores of ``metrics.json``.
    """
    true_pixels = class_scores["true_pixels"].to_numpy(dtype=float)
    shares = true_pixels / max(true_pixels.sum(), 1.0)
    header = f"{'class':<{_NAME}}{'IoU %':>7}{'95 % interval':>15}{'prec %':>8}{'recall %':>10}{'true %':>8}"
    rule = "─" * _WIDTH
    lines = [f"{metrics['split']}: {counted(metrics['images'], 'image')}", rule, header, rule]
    rows = class_scores.itertuples(index=False)
    lines += [_row(row, share) for row, share in zip(rows, shares, strict=True)]
    baseline_accuracy = shares[0] if true_pixels.any() else None
    baseline = baseline_name(class_scores["class_name"].iloc[0])
    lines += [
        rule,
        f"mIoU {score(metrics['miou'])} ({baseline}: {score(metrics['all_background_miou'])})"
        f", mean over {metrics['classes_present']} of {len(class_scores)} classes",
        f"pixel accuracy {score(metrics['pixel_accuracy'])} ({baseline}: {score(baseline_accuracy)})",
        f"mean class accuracy {score(metrics['mean_class_accuracy'])}",
        f"frequency-weighted IoU {score(metrics['frequency_weighted_iou'])}",
        *_interval_line(metrics),
        *_boundary_line(metrics),
        f"images {metrics['images']}, checkpoint epoch {metrics['checkpoint_epoch']}"
        f", {metrics['images_per_second']:.1f} images/s",
    ]
    if metrics.get("scales"):
        lines.append(f"scales {' '.join(f'{scale:g}' for scale in metrics['scales'])}")
    if metrics.get("longer_side"):
        lines.append(f"at the stored size: longer side {metrics['longer_side']} (data.longer_side)")
    return "\n".join(lines)


def score_warnings(class_scores: pd.DataFrame, metrics: Mapping[str, Any]) -> list[str]:
    """Warnings about a misleading mIoU: no better than the baseline, without some of the declared classes, or of images
    stored at another size than in training. The arguments are those of `score_table`."""
    warnings = []
    if is_baseline(metrics["miou"], metrics["all_background_miou"]):
        warnings.append(
            f"mIoU {score(metrics['miou'])} on {metrics['split']} is no better than the baseline, "
            f"{class_scores['class_name'].iloc[0]} everywhere ({score(metrics['all_background_miou'])})."
        )
    true_pixels = class_scores["true_pixels"].to_numpy(dtype=float)
    baseline_accuracy = true_pixels[0] / max(true_pixels.sum(), 1.0)
    if metrics["pixel_accuracy"] is not None and metrics["pixel_accuracy"] < baseline_accuracy:
        warnings.append(
            f"Pixel accuracy {score(metrics['pixel_accuracy'])} on {metrics['split']} is below the baseline, "
            f"{class_scores['class_name'].iloc[0]} everywhere ({score(baseline_accuracy)})."
        )
    missed = class_scores.loc[(true_pixels > 0) & (class_scores["iou"] < _NOT_LEARNT), "class_name"].tolist()
    if missed:
        warnings.append(
            f"IoU below {100 * _NOT_LEARNT:.0f} % on {metrics['split']}, practically not learnt: {listed(missed)}."
        )
    absent = class_scores.loc[class_scores["iou"].isna(), "class_name"].tolist()
    if absent:
        warnings.append(
            f"mIoU on {metrics['split']} is the mean over {metrics['classes_present']} of {len(class_scores)} declared "
            f"classes; these neither occur nor are predicted there: {listed(absent)}."
        )
    if reason := metrics.get("intervals_unreliable"):
        warnings.append(f"The 95 % intervals on {metrics['split']} are unreliable: {reason}.")
    if OTHER_STORED_SIZE in metrics:
        warnings.append(
            f"The model was trained {_at(metrics[OTHER_STORED_SIZE])}, but these images were stored "
            f"{_at(metrics.get('longer_side'))}: they reach the network at another scale, so the score is not "
            "comparable with that of the training. Run data_processing and evaluation with the data.longer_side of the "
            "training."
        )
    return warnings


def _at(longer_side: int | None) -> str:
    return f"at data.longer_side={longer_side or 'null'}"


def score(value: float | None) -> str:
    """A score of 0..1 with three decimals; ``absent`` for None and NaN, which mean that nothing was scored."""
    return "absent" if value is None or pd.isna(value) else f"{value:.3f}"


def interval(metrics: Mapping[str, Any], name: str) -> str:
    """The 95 % interval of a score in ``metrics.json``, as in "0.575 to 0.658"; empty if it has none."""
    low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _interval_line(metrics: Mapping[str, Any]) -> list[str]:
    found = {"mIoU": interval(metrics, "miou"), "accuracy": interval(metrics, "pixel_accuracy")}
    shown = [f"{name} {ends}" for name, ends in found.items() if ends]
    return [f"95 % intervals{over(metrics)}: {', '.join(shown)}"] if shown else []


def over(metrics: Mapping[str, Any]) -> str:
    """Of what the intervals are if not of images: as in " over 12 groups of images"."""
    groups = metrics.get("image_groups")
    return f" over {counted(groups, 'group')} of images" if groups else ""


def _boundary_line(metrics: Mapping[str, Any]) -> list[str]:
    if "boundary_iou" not in metrics:
        return []
    return [f"boundary IoU {score(metrics['boundary_iou'])}, trimap mIoU {score(metrics['trimap_miou'])}"]


def _row(row: Any, share: float) -> str:
    low, high = getattr(row, "iou_low", None), getattr(row, "iou_high", None)
    ends = "-" if pd.isna(low) or pd.isna(high) else f"{_percent(low)} to {_percent(high)}"
    scores = f"{_percent(row.iou, 'absent'):>7}{ends:>15}{_percent(row.precision):>8}{_percent(row.recall):>10}"
    return f"{shortened(row.class_name, _NAME):<{_NAME}}{scores}{_percent(share):>8}"


def _percent(value: float | None, missing: str = "-") -> str:
    return missing if value is None or pd.isna(value) else f"{100 * value:.1f}"
