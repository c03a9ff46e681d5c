"""One page about a scored split: scores, settings, curves, confusions, and every image."""

import io
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from voc_seg import metrics as scores
from voc_seg.config import flattened
from voc_seg.models.encoder import count_learnt
from voc_seg.reporting.belonging import require_same_size
from voc_seg.reporting.overlays import VOID_COLOUR, WRONG_COLOUR
from voc_seg.samples.store import Sample, SampleStore
from voc_seg.voc.classes import VOID, Classes
from voc_seg.voc.parallel import in_parallel
from voc_seg.voc.progress import progress_bar

PICTURES = "report_images"
"""Folder beside the page that holds its pictures."""

LONGER_SIDE = 400
"""Of these pictures, in pixels: about 30 KB an image of VOC, its three masks included."""
_QUALITY = 75

_RIGHT_COLOUR = (230, 230, 230)  # stands for the faint picture in legends, as in voc_seg.reporting.pictures
_NO_HISTORY = (
    "No training history of this model is at hand: training_history.csv is not there, or tells of another run."
)


def history_of(best_model: Mapping[str, Any], history: pd.DataFrame) -> pd.DataFrame:
    """The history, if it is that of the model; an empty table otherwise.

    Args:
        best_model: ``epoch`` and ``val_miou`` are looked at, and ``val_loss``, which models of earlier versions lack:
            runs that learn nothing have the same mIoU, but hardly the same loss.
        history: One row an epoch, as in ``training_history.csv``; empty where there is none.

    Returns:
        The rows as they are when the last epoch flagged ``is_best`` is the model's.
    """
    if not {"epoch", "val_miou", "is_best"} <= set(history.columns):
        return pd.DataFrame()
    flagged = history[history["is_best"].eq(True)].tail(1)
    # Written as text and read again, a number may differ in its last digit.
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
    """What is behind the scores, in titled groups: the data, the network, how it was trained and how it was scored.

    Args:
        best_model: As saved by training; one from elsewhere may lack ``config``.
        metrics: The scores of ``metrics.json``.
        source: Where the scored samples come from.
        scoring: Settings of this evaluation.
    """
    config = best_model.get("config", {})
    trained_on = config.get("data", {})
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
            "source": trained_on.get("name") or trained_on.get("source") or best_model.get("source") or "not known",
            "training images": trained_on.get("images", "not known"),
            "validation images": trained_on.get("val_images", "not known"),
            **({"data.longer_side": trained_on["longer_side"]} if trained_on.get("longer_side") else {}),
            "seed": config.get("seed", "not known"),
        },
        "Model": {
            **best_model["model_config"],
            "weights": Path(best_model["model_config"]["weights"] or "none").name,  # no folder of this machine
            "parameters": f"{count_learnt(best_model['model']) / 1e6:.1f} M",
            "epoch": best_model["epoch"],
            "validation mIoU": f"{best_model['val_miou']:.4f}",
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
) -> str:
    """The page as HTML, with everything in it but the pictures.

    Args:
        title: What was scored, in a few words.
        images: Rows of `describe_images`.
        metrics: The scores of ``metrics.json``.
        class_scores: One row a class, as in ``class_scores.csv``.
        confusion: Pixel counts, rows truth and columns prediction.
        history: One row an epoch, of this model; empty where it is not known.
        settings: Values by name, in titled groups; nested blocks are written with dots, empty groups left out.
        classes: Names and colours by mask value.

    Returns:
        HTML that refers to pictures in `PICTURES` and to nothing else.
    """
    palette = classes.palette()
    palette[0] = _RIGHT_COLOUR  # background is not tinted: its swatch shows what is seen there
    content = {
        "title": title,
        "folder": PICTURES,
        "metrics": metrics,
        "at_baseline": scores.is_baseline(metrics["miou"], metrics["all_background_miou"]),
        "floor": scores.summarise(scores.all_background(confusion.to_numpy())),
        "classes": [{"name": name, "colour": _hex(palette[index])} for index, name in enumerate(classes.names)],
        "colours": {
            "right": _hex(_RIGHT_COLOUR),
            "wrong": _hex(WRONG_COLOUR),
            "void": _hex(VOID_COLOUR),
            "unlabelled": _hex(palette[VOID]),
        },
        "class_scores": class_scores.to_dict("records"),
        "confusion": confusion.to_numpy().tolist(),
        "history": history.to_dict("records") or None,
        "history_note": _NO_HISTORY,
        "settings": [
            [name, [[key, _text(value)] for key, value in flattened(group)]]
            for name, group in settings.items()
            if group
        ],
        "images": images,
    }
    text = json.dumps(_without_nan(content), allow_nan=False, separators=(",", ":"))
    page = files("voc_seg.reporting") / "page"
    parts = {
        "__STYLE__": (page / "report.css").read_text(encoding="utf-8"),
        "__SCRIPT__": (page / "report.js").read_text(encoding="utf-8"),
        # Inside a script element only "<" can end it, or begin a comment.
        "__DATA__": text.replace("<", "\\u003c"),
    }
    html = (page / "report.html").read_text(encoding="utf-8")
    for mark, part in parts.items():  # the data last: whatever stands in it is not looked at again
        html = html.replace(mark, part, 1)
    return html


def describe_images(
    samples: SampleStore, predictions: Mapping[str, np.ndarray], image_scores: pd.DataFrame, classes: Classes
) -> list[dict[str, Any]]:
    """What the page says of each image, in the order of the samples.

    Returns:
        For each image id, width, height, miou, accuracy, void (0..1, None where absent) and classes: index and IoU of
        every class that is true or predicted in it.
    """
    rows = image_scores.set_index("image_id")

    def describe(sample: Sample) -> dict[str, Any]:
        height, width = sample.mask.shape
        row = rows.loc[sample.id]
        return {
            "id": sample.id,
            "width": width,
            "height": height,
            "miou": _rounded(row["miou"]),
            "accuracy": _rounded(row["pixel_accuracy"]),
            "void": _rounded(row["void_fraction"]),
            "classes": class_ious(sample.id, sample.mask, predictions[sample.id], len(classes)),
        }

    described = []
    with progress_bar("describing images", len(samples)) as advance:
        for image in in_parallel(describe, samples):
            described.append(image)
            advance(1)
    return described


def class_ious(image_id: str, truth: np.ndarray, prediction: np.ndarray, classes: int) -> list[list[float]]:
    """Index and IoU, to four decimals, of the classes that occur among the labelled pixels.

    Raises:
        VocSegError: The masks have different sizes: they are not of the same image.
    """
    require_same_size(image_id, truth, prediction)
    labelled = truth != VOID
    true = np.bincount(truth[labelled], minlength=classes)
    predicted = np.bincount(prediction[labelled], minlength=classes)
    both = np.bincount(truth[labelled & (truth == prediction)], minlength=classes)
    union = true + predicted - both
    return [[int(index), _rounded(both[index] / union[index])] for index in np.flatnonzero(union)]


def draw_images(
    samples: SampleStore, predictions: Mapping[str, np.ndarray], classes: Classes
) -> Iterator[dict[str, bytes]]:
    """The pictures of each image by file name, drawn a few at a time as they are asked for."""
    return in_parallel(lambda sample: draw_image(sample, predictions[sample.id], classes), samples)


def draw_image(sample: Sample, prediction: np.ndarray, classes: Classes) -> dict[str, bytes]:
    """The pictures of one image, no longer than `LONGER_SIDE`.

    Args:
        sample: Image and truth.
        prediction: ``uint8 (H, W)``, class index.
        classes: Names and colours by mask value.

    Returns:
        By file name: the image as JPEG; truth, prediction and errors as palette PNGs to lay over it, transparent where
        there is background, or nothing wrong. Their colours are those of `voc_seg.reporting.overlays`.
    """
    height, width = sample.mask.shape
    factor = min(1.0, LONGER_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    palette = classes.palette()[[*range(len(classes)), VOID]]  # no longer than needed: files are small
    void = np.uint8(len(classes))
    errors = np.where(sample.mask == VOID, 2, sample.mask != prediction).astype(np.uint8)
    image = Image.fromarray(sample.image).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return {
        f"{sample.id}.jpg": _encoded(image, format="JPEG", quality=_QUALITY, optimize=True),
        f"{sample.id}.truth.png": _mask(np.minimum(sample.mask, void), palette, size),
        f"{sample.id}.prediction.png": _mask(np.minimum(prediction, void), palette, size),
        f"{sample.id}.errors.png": _mask(errors, np.array([_RIGHT_COLOUR, WRONG_COLOUR, VOID_COLOUR], np.uint8), size),
    }


def _mask(values: np.ndarray, palette: np.ndarray, size: tuple[int, int]) -> bytes:
    picture = Image.fromarray(values).resize(size, Image.Resampling.NEAREST)
    picture.putpalette(palette.tobytes())
    return _encoded(picture, format="PNG", transparency=0)


def _encoded(picture: Image.Image, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, **options)
    return content.getvalue()


def _text(value: Any) -> str:
    """A setting as people read it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(_text, value)) if isinstance(value, (list, tuple)) else str(value)


def _hex(colour: np.ndarray | tuple[int, ...]) -> str:
    return "#" + bytes(colour).hex()


def _rounded(value: float) -> float | None:
    return None if pd.isna(value) else round(float(value), 4)


def _without_nan(value: Any) -> Any:
    """Plain values with None for NaN, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value
