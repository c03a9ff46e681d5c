"""The page of the images to label next: each with its mask, and with where the network is uncertain."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from PIL import Image

from voc_seg.voc.classes import VOID, Classes

from .html_page import fill_template, hex_colour
from .inference import class_shares, void_share
from .report_images import RIGHT_COLOUR, encoded, palette_png, shown_size

IMAGE_FOLDER = "label_next_images"
"""Folder of the page's images, beside the page."""

_SCRIPTS = ("helpers.js", "gallery.js", "label_next.js", "viewer.js")
_LEVELS = 16
"""Colours of the uncertainty; the lowest is transparent."""
_SHOWN_LEVELS = (0.25, 0.5, 0.75, 1.0)
_QUALITY = 75


def uncertainty_map(uncertainty: np.ndarray) -> Image.Image:
    """A map ``uint8 (H, W)`` at the size in which the page shows it, mode L."""
    return Image.fromarray(uncertainty).resize(shown_size(*uncertainty.shape), Image.Resampling.BOX)


def fill_page(table: pd.DataFrame, masks: Mapping[str, np.ndarray], total: int, classes: Classes) -> str:
    """The page as HTML, which refers only to images in `IMAGE_FOLDER`.

    Args:
        table: One row an image, as in ``label_next.csv``.
        masks: ``uint8 (H, W)`` by name.
        total: Number of images that these were chosen from.
        classes: Names and colours by mask value.
    """
    palette = classes.palette()
    palette[0] = RIGHT_COLOUR  # background is not tinted, so its swatch shows the pale image
    content = {
        "folder": IMAGE_FOLDER,
        "total": total,
        "classes": [{"name": name, "colour": hex_colour(palette[index])} for index, name in enumerate(classes.names)],
        "void": hex_colour(palette[VOID]),
        "levels": [[f"{level:g}", hex_colour(_heat()[round(level * (_LEVELS - 1))])] for level in _SHOWN_LEVELS],
        "images": [_facts(row._asdict(), masks[row.image], classes) for row in table.itertuples(index=False)],
    }
    return fill_template("label_next.html", "Images to label next", _SCRIPTS, content)


def _facts(row: dict[str, Any], mask: np.ndarray, classes: Classes) -> dict[str, Any]:
    shares = [(index, share) for index, share in enumerate(class_shares(mask, classes).values()) if share]
    return {
        "id": row["image"],
        "path": row["file"],
        "file": _file(row["rank"]),
        "rank": row["rank"],
        "uncertainty": round(row["uncertainty"], 4),
        "distance": row["distance"],
        "height": mask.shape[0],
        "width": mask.shape[1],
        "void": round(void_share(mask), 4),
        "classes": [[index, round(share, 4)] for index, share in sorted(shares, key=lambda one: -one[1])],
    }


def _file(rank: int) -> str:
    return f"{rank:04d}"


def draw_suggestion(
    rank: int, image: np.ndarray | None, mask: np.ndarray, uncertainty: np.ndarray, classes: Classes
) -> dict[str, bytes]:
    """The files of one image by name: the image as JPEG, mask and uncertainty as transparent palette PNGs.

    Args:
        rank: Its place in the table, from 1.
        image: ``uint8 (H, W, 3)``; None if it cannot be read any more, which leaves it white.
        mask: ``uint8 (H, W)``.
        uncertainty: From `uncertainty_map`, ``uint8 (h, w)``.
        classes: Names and colours by mask value.
    """
    size = shown_size(*mask.shape)
    shown = Image.new("RGB", size, "white") if image is None else Image.fromarray(image)
    palette = classes.palette()[[*range(len(classes)), VOID]]  # a short palette keeps the files small
    values = Image.fromarray(np.minimum(mask, np.uint8(len(classes)))).resize(size, Image.Resampling.NEAREST)
    levels = np.rint(uncertainty / 255 * (_LEVELS - 1)).astype(np.uint8)
    shown = shown.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return {
        f"{_file(rank)}.jpg": encoded(shown, format="JPEG", quality=_QUALITY, optimize=True),
        f"{_file(rank)}.prediction.png": palette_png(values, palette),
        f"{_file(rank)}.uncertainty.png": palette_png(Image.fromarray(levels), _heat()),
    }


def _heat() -> np.ndarray:
    """The colours of the uncertainty, from pale yellow to dark red: ``uint8 (levels, 3)``."""
    return np.rint(colormaps["YlOrRd"](np.linspace(0.05, 1, _LEVELS))[:, :3] * 255).astype(np.uint8)
