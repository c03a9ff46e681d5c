"""The images of the report: their files, and facts about each image."""

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from voc_seg.samples.store import Sample, SampleStore
from voc_seg.system.parallel import parallel_map
from voc_seg.system.progress import progress_bar
from voc_seg.voc.classes import VOID, Classes

from .overlays import VOID_COLOUR, WRONG_COLOUR
from .same_evaluation import require_same_size

LONGER_SIDE = 400
"""Longer side of these images in pixels; a VOC image with its three masks takes about 30 KB."""
_QUALITY = 75

RIGHT_COLOUR = (230, 230, 230)  # represents the pale image in legends, as in voc_seg.reporting.image_panels


def describe_images(
    samples: SampleStore, predictions: Mapping[str, np.ndarray], image_scores: pd.DataFrame, classes: Classes
) -> list[dict[str, Any]]:
    """Facts about each image, in the order of the samples: id, width, height, miou, accuracy and void (0..1, None if
    undefined), and classes: index and IoU of every class in its truth or prediction."""
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
        for image in parallel_map(describe, samples):
            described.append(image)
            advance(1)
    return described


def class_ious(image_id: str, truth: np.ndarray, prediction: np.ndarray, classes: int) -> list[list[float]]:
    """Index and IoU, to four decimals, of the classes that occur among the labelled pixels.

    Raises VocSegError if the masks have different sizes, and so are not of the same image.
    """
    require_same_size(image_id, truth, prediction)
    labelled = truth != VOID
    true = np.bincount(truth[labelled], minlength=classes)
    predicted = np.bincount(prediction[labelled], minlength=classes)
    both = np.bincount(truth[labelled & (truth == prediction)], minlength=classes)
    union = true + predicted - both
    return [[int(index), round(float(both[index] / union[index]), 4)] for index in np.flatnonzero(union)]


def draw_images(
    samples: SampleStore, predictions: Mapping[str, np.ndarray], classes: Classes
) -> Iterator[dict[str, bytes]]:
    """The files of each image by name, generated lazily, a few at a time."""
    return parallel_map(lambda sample: draw_image(sample, predictions[sample.id], classes), samples)


def draw_image(sample: Sample, prediction: np.ndarray, classes: Classes) -> dict[str, bytes]:
    """The files of one image by name, at most `LONGER_SIDE` pixels long; ``prediction`` is ``uint8 (H, W)``.

    The image is a JPEG; truth, prediction and errors are palette PNGs, transparent for background and correct pixels.
    """
    size = shown_size(*sample.mask.shape)
    palette = classes.palette()[[*range(len(classes)), VOID]]  # a short palette keeps the files small
    void = np.uint8(len(classes))
    errors = np.where(sample.mask == VOID, 2, sample.mask != prediction).astype(np.uint8)
    image = Image.fromarray(sample.displayed).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return {
        f"{sample.id}.jpg": encoded(image, format="JPEG", quality=_QUALITY, optimize=True),
        f"{sample.id}.truth.png": _mask(np.minimum(sample.mask, void), palette, size),
        f"{sample.id}.prediction.png": _mask(np.minimum(prediction, void), palette, size),
        f"{sample.id}.errors.png": _mask(errors, np.array([RIGHT_COLOUR, WRONG_COLOUR, VOID_COLOUR], np.uint8), size),
    }


def _mask(values: np.ndarray, palette: np.ndarray, size: tuple[int, int]) -> bytes:
    return palette_png(Image.fromarray(values).resize(size, Image.Resampling.NEAREST), palette)


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Width and height at which a page shows an image: at most `LONGER_SIDE`."""
    factor = min(1.0, LONGER_SIDE / max(height, width))
    return max(1, round(width * factor)), max(1, round(height * factor))


def palette_png(values: Image.Image, palette: np.ndarray) -> bytes:
    """Palette indices (mode L) as a PNG that is transparent where they are 0; ``palette`` is ``uint8 (n, 3)``."""
    values.putpalette(palette.tobytes())
    return encoded(values, format="PNG", transparency=0)


def encoded(image: Image.Image, **options: Any) -> bytes:
    """The content of an image file; ``options`` are those of Pillow's ``save``."""
    content = io.BytesIO()
    image.save(content, **options)
    return content.getvalue()


def _rounded(value: float) -> float | None:
    return None if pd.isna(value) else round(float(value), 4)
