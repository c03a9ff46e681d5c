"""The report page of an evaluation: scores, settings, curves, confusions and every image.

`fill_page` only fills in the data. The browser builds the sections from it, by the scripts in ``page``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from voc_seg.config import flattened
from voc_seg.metrics import confusion as scores
from voc_seg.models.encoder import count_weights
from voc_seg.models.members import members_of
from voc_seg.models.saved import trained_on
from voc_seg.voc.classes import VOID, Classes

from .html_page import fill_template, hex_colour
from .overlays import VOID_COLOUR, WRONG_COLOUR
from .report_images import RIGHT_COLOUR

IMAGE_FOLDER = "report_images"
"""Folder of the page's images, beside the page."""

_SCRIPTS = (
    "helpers.js", "scores.js", "curves.js", "confusion.js", "confidence.js", "gallery.js", "report_images.js",
    "viewer.js",
)  # fmt: skip
_NO_HISTORY = "No training history of this model: training_history.csv is missing or belongs to another run."
_NO_HISTORY_OF_ENSEMBLE = "An ensemble is not trained itself: the reports of its members show their trainings."


def matching_history(best_model: Mapping[str, Any], history: pd.DataFrame) -> pd.DataFrame:
    """Return the history, one row an epoch, if its last ``is_best`` epoch is that of the model, else an empty table.

    ``epoch``, ``val_miou`` and, if present, ``val_loss`` are compared: runs that learn nothing have the same mIoU, but
    hardly the same loss. Models of earlier versions have no ``val_loss``.
    """
    if not {"epoch", "val_miou", "is_best"} <= set(history.columns):
        return pd.DataFrame()
    flagged = history[history["is_best"].eq(True)].tail(1)
    # Numbers read back from CSV may differ in the last digit.
    same = flagged["epoch"].eq(best_model["epoch"]) & np.isclose(
        flagged["val_miou"].astype(float), best_model["val_miou"]
    )
    loss = best_model.get("val_loss")
    if loss is not None and "val_loss" in history.columns:
        same &= np.isclose(flagged["val_loss"].astype(float), loss, rtol=1e-9, equal_nan=True)
    return history if same.any() else pd.DataFrame()


def describe_settings(
    best_model: Mapping[str, Any], metrics: Mapping[str, Any], source: str, scoring: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The settings that led to the scores, in titled groups; a model from elsewhere may lack ``config``.

    ``source`` is that of the evaluated samples, ``scoring`` the settings of the evaluation.
    """
    config, members = best_model.get("config", {}), members_of(best_model)
    data = config.get("data", {})
    return {
        "Scored": {
            "source": source or "not known",
            "split": metrics["split"],
            "images": metrics["images"],
            **scoring,
            **({"data.longer_side": metrics["longer_side"]} if metrics.get("longer_side") else {}),
            "images per second": float(f"{metrics['images_per_second']:.3g}"),
        },
        "Trained on": {
            "source": trained_on(best_model) or "not known",
            "training images": data.get("images", "not known"),
            **({} if members else {"validation images": data.get("val_images", "not known")}),
            **({"data.longer_side": data["longer_side"]} if data.get("longer_side") else {}),
            "seed": config.get("seed", "not known"),
        },
        "Model": {
            **best_model["model_config"],
            "weights": Path(best_model["model_config"]["weights"] or "none").name,  # no folder of this machine
            "parameters": f"{count_weights(best_model['model']) / 1e6:.1f} M",
            **({"members": [str(one.get("run")) for one in members]} if members else {"epoch": best_model["epoch"]}),
            f"{'mean ' if members else ''}validation mIoU": f"{best_model['val_miou']:.4f}",
        },
        "Augmentation": config.get("augmentation", {}),
        "Training": config.get("training", {}),
    }


def fill_page(
    title: str,
    images: list[dict[str, Any]],
    metrics: Mapping[str, Any],
    class_scores: pd.DataFrame,
    confusion: pd.DataFrame,
    history: pd.DataFrame,
    settings: Mapping[str, Mapping[str, Any]],
    classes: Classes,
    crops: Sequence[Mapping[str, Any]] = (),
    confidence: Mapping[str, Any] | None = None,
) -> str:
    """The page as HTML, which refers only to images in `IMAGE_FOLDER`.

    Args:
        title: Short description of the evaluated model and split.
        images: Rows of `describe_images`.
        metrics: The scores of ``metrics.json``.
        class_scores: One row a class, as in ``class_scores.csv``.
        confusion: Pixel counts, rows truth and columns prediction.
        history: One row an epoch, of this model; may be empty.
        settings: Values by name, in titled groups; nested blocks get dotted keys, empty groups are skipped.
        classes: Names and colours by mask value.
        crops: Training crops, see `voc_seg.reporting.augmented.crops_of_model`; may be empty.
        confidence: Points of the charts, see `voc_seg.reporting.confidence.confidence_charts`; None for no charts.
    """
    palette = classes.palette()
    palette[0] = RIGHT_COLOUR  # background is not tinted, so its swatch shows the pale image
    content = {
        "title": title,
        "folder": IMAGE_FOLDER,
        "metrics": metrics,
        "at_baseline": scores.is_baseline(metrics["miou"], metrics["all_background_miou"]),
        "baseline": scores.summarise(scores.all_background(confusion.to_numpy())),
        "classes": [{"name": name, "colour": hex_colour(palette[index])} for index, name in enumerate(classes.names)],
        "colours": {
            "right": hex_colour(RIGHT_COLOUR),
            "wrong": hex_colour(WRONG_COLOUR),
            "void": hex_colour(VOID_COLOUR),
            "unlabelled": hex_colour(palette[VOID]),
        },
        "class_scores": class_scores.to_dict("records"),
        "confusion": confusion.to_numpy().tolist(),
        "history": history.to_dict("records") or None,
        "history_note": _NO_HISTORY_OF_ENSEMBLE if "members" in settings["Model"] else _NO_HISTORY,
        "settings": [
            [name, [[key, _text(value)] for key, value in flattened(group)]]
            for name, group in settings.items()
            if group
        ],
        "images": images,
        "crops": list(crops),
        "confidence": confidence,
    }
    return fill_template("report.html", "Segmentation report", _SCRIPTS, content)


def _text(value: Any) -> str:
    """A setting as readable text."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(_text, value)) if isinstance(value, (list, tuple)) else str(value)
