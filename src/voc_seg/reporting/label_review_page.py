"""The page of label errors: crops of images with the outlines of the mask and of what the model predicts."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from voc_seg.metrics.boundaries import near_other_label
from voc_seg.metrics.label_regions import Region
from voc_seg.system.parallel import parallel_map
from voc_seg.voc.classes import VOID, Classes

from .html_page import fill_template, hex_colour
from .label_review import Issue, Review, class_rows, quality_table
from .report_images import RIGHT_COLOUR, encoded

IMAGE_FOLDER = "label_review_images"
"""Folder of the page's images, beside the page."""
_SCRIPTS = ("helpers.js", "gallery.js", "label_review.js", "viewer.js")
_SIDE = 400
"""Longer side of a crop in pixels; with its two outlines it takes about 30 KB."""
_CONTEXT, _LEAST_SHARE = 2.0, 0.3
"""A crop is twice as large as the region, and at least 30 % of the image."""
_MAX_ENLARGED = 4.0
_MAX_IMAGES = 50
_TINT, _HALO = 90, 170  # alpha, 0 to 255
_QUALITY = 80


def fill_page(review: Review, shown: Sequence[Issue]) -> str:
    """The page as HTML, which refers only to images in `IMAGE_FOLDER`; ``shown`` are the first issues."""
    classes = review.classes
    palette = classes.palette()
    palette[0] = RIGHT_COLOUR  # the first class has no outline
    images = quality_table(review)
    content = {
        "folder": IMAGE_FOLDER,
        "gallery_of": "region",
        "data": ", ".join(dict.fromkeys(split.samples.origin.name for split in review.splits)),
        "where": review.where,
        "total_images": len(images),
        "total_regions": len(review.issues),
        "suspicious_images": int((images["regions"] > 0).sum()),
        "seen_in_training": review.seen_in_training,
        "classes": [{"name": name, "colour": hex_colour(palette[index])} for index, name in enumerate(classes.names)],
        "class_rows": class_rows(review),
        "images": [_row(rank, issue) for rank, issue in enumerate(shown, start=1)],
        "image_rows": images.head(_MAX_IMAGES).to_dict("records"),
    }
    return fill_template("label_review.html", "Label review", _SCRIPTS, content)


def _row(rank: int, issue: Issue) -> dict[str, Any]:
    region, image = issue.region, issue.image
    rows, columns = crop_around(region, image.differences.shape)
    return {
        "id": f"{rank}. {image.id}",
        "file": f"{rank:04d}",
        "split": issue.split.name,
        "mask_file": issue.split.mask_files.get(image.id, ""),
        "width": columns.stop - columns.start,
        "height": rows.stop - rows.start,
        "box": [region.columns.start, region.rows.start, region.columns.stop, region.rows.stop],
        "pixels": region.pixels,
        "given": region.given,
        "suggested": region.suggested,
        "confidence": round(region.confidence, 3),
    }


def crop_around(region: Region, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of an image ``(H, W)`` that show a region with its surroundings, 4 to 3 where possible."""
    height, width = shape
    box = region.rows.stop - region.rows.start, region.columns.stop - region.columns.start
    wide = max(_CONTEXT * box[1], _CONTEXT * box[0] * 4 / 3, _LEAST_SHARE * max(shape))
    return _centred(region.rows, round(wide * 3 / 4), height), _centred(region.columns, round(wide), width)


def _centred(part: slice, length: int, limit: int) -> slice:
    """A slice of this length around the middle of another, moved or shortened to fit into ``range(limit)``."""
    length = min(length, limit)
    start = min(max(0, (part.start + part.stop - length) // 2), limit - length)
    return slice(start, start + length)


def draw_issues(shown: Sequence[Issue], classes: Classes) -> Iterator[dict[str, bytes]]:
    """The files of each issue by name, generated lazily: the crop as JPEG, outlines as PNGs."""

    def draw(numbered: tuple[int, Issue]) -> dict[str, bytes]:
        rank, issue = numbered
        return {f"{rank:04d}{ending}": content for ending, content in draw_issue(issue, classes).items()}

    return parallel_map(draw, enumerate(shown, start=1))


def draw_issue(issue: Issue, classes: Classes) -> dict[str, bytes]:
    """The files of an issue by ending: ``.jpg``, ``.given.png`` and ``.suggested.png``."""
    sample, region = issue.split.samples[issue.position], issue.region
    rows, columns = crop_around(region, sample.mask.shape)
    inside = np.zeros(sample.mask.shape, dtype=bool)
    inside[region.rows, region.columns] = region.inside
    factor = min(_SIDE / max(rows.stop - rows.start, columns.stop - columns.start), _MAX_ENLARGED)
    width, height = (max(1, round((side.stop - side.start) * factor)) for side in (columns, rows))

    def enlarged(values: np.ndarray) -> np.ndarray:
        part = np.ascontiguousarray(values[rows, columns])
        return np.array(Image.fromarray(part).resize((width, height), Image.Resampling.NEAREST))

    image = Image.fromarray(np.ascontiguousarray(sample.displayed[rows, columns]))
    marked = enlarged(inside.astype(np.uint8)).astype(bool)
    masks = {"given": sample.mask, "suggested": issue.image.differences.prediction(sample.mask)}
    layers = {
        f".{name}.png": encoded(Image.fromarray(outline_layer(enlarged(mask), marked, classes)), format="PNG")
        for name, mask in masks.items()
    }
    resized = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return {".jpg": encoded(resized, format="JPEG", quality=_QUALITY, optimize=True), **layers}


def outline_layer(mask: np.ndarray, marked: np.ndarray, classes: Classes) -> np.ndarray:
    """Outlines of the classes in their colours, and a dashed one around the region, ``uint8 (H, W, 4)`` RGBA.

    Args:
        mask: ``uint8 (H, W)``, class index or void. The first class, mostly the background, has no outline.
        marked: The region, ``bool (H, W)``; it is also tinted.
        classes: Names and colours.
    """
    layer = np.zeros((*mask.shape, 4), dtype=np.uint8)
    drawn = (mask != 0) & (mask != VOID)
    layer[..., :3] = classes.palette()[mask]
    layer[..., 3] = np.where(drawn & marked, _TINT, 0)
    outline = near_other_label(mask, 2, edge=False)
    layer[outline & ~drawn & near_other_label(drawn.view(np.uint8), 1, edge=False)] = (255, 255, 255, _HALO)
    layer[outline & drawn, 3] = 255
    ring = near_other_label(marked.view(np.uint8), 2, edge=False) & ~marked
    down, across = np.ogrid[: mask.shape[0], : mask.shape[1]]
    dashes = (down + across) // 6 % 2 == 0
    layer[ring & dashes] = (255, 255, 255, 255)
    layer[ring & ~dashes] = (0, 0, 0, 255)
    return layer
