"""Results for images without ground truth: overlays with a legend, and a contact sheet of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import east_asian_width

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from voc_seg.voc.classes import VOC_CLASSES, VOID, Classes

from .fonts import default_font, replace_unknown_letters, shown_classes
from .image_panels import add_axes, draw_legend, legend_entries, legend_height
from .overlays import NOT_SURE, reduced, tinted
from .pillow_text import draw_text, pillow_font, text_length
from .style import GREY, HEADROOM, INK, MUTED, SMALL, new_figure, set_title

OVERLAY_SIDE = 1600
"""Longer side of an overlay in pixels; larger images are reduced."""
SHEET_IMAGES = 12
"""Images on a contact sheet."""

_UNTINTED = (230, 230, 230)  # legend colour of background, which is not tinted
_LEGEND_MIN_WIDTH = 240  # pixels; a narrower legend is illegible
_COLUMNS = 4
_THUMBNAIL_SIDE = 480  # longer side of an image on the contact sheet, in pixels


@dataclass(frozen=True)
class Thumbnail:
    """One cell of a contact sheet: reduced image ``uint8 (h, w, 3)`` and mask ``uint8 (h, w)``, and a caption."""

    name: str
    caption: str
    image: np.ndarray
    mask: np.ndarray


def class_shares(mask: np.ndarray, classes: Classes = VOC_CLASSES) -> dict[str, float]:
    """The share of the pixels of each class in a mask ``uint8 (H, W)``, 0..1, by name in the order of the classes."""
    counts = Image.fromarray(mask).histogram()  # NumPy's bincount needs 8 bytes a pixel
    return {name: counts[value] / mask.size for value, name in enumerate(classes.names)}


def void_share(mask: np.ndarray) -> float:
    """The share of the pixels of a mask ``uint8 (H, W)`` that are void: less sure than ``inference.min_confidence``."""
    return Image.fromarray(mask).histogram()[VOID] / mask.size


def labelled_overlay(image: np.ndarray, mask: np.ndarray, classes: Classes = VOC_CLASSES) -> Image.Image:
    """The image tinted by class, above a legend of its classes from the largest to the smallest; mode RGB.

    Args:
        image: ``uint8 (H, W, 3)`` RGB.
        mask: ``uint8 (H, W)``, class index, or void where the network is not sure.
        classes: Names and colours by mask value.
    """
    classes = shown_classes(classes)
    small_image, small_mask = reduced(OVERLAY_SIDE, image, mask)
    picture = Image.fromarray(tinted(small_image, small_mask, classes))
    strip = _legend_strip(
        class_shares(mask, classes) | {NOT_SURE: void_share(mask)}, classes, max(picture.width, _LEGEND_MIN_WIDTH)
    )
    sheet = Image.new("RGB", (strip.width, picture.height + strip.height), "white")
    sheet.paste(picture, (0, 0))
    sheet.paste(strip, (0, picture.height))
    return sheet


def _legend_strip(shares: Mapping[str, float], classes: Classes, width: int) -> Image.Image:
    """Swatch, name and share of every class that occurs, in as many rows as needed; background last."""
    size = int(np.clip(width / 42, 13, 26))  # of the letters, in pixels
    bold = pillow_font(default_font(bold=True), size)
    space = bold.getlength(" ")
    swatch, gap, line = size, size // 2, round(size * 1.9)
    entries = _sorted_by_share(shares, classes)
    positions: list[tuple[int, int]] = []
    left, top = size, size * 3 // 4
    for name, share, _ in entries:
        needed = swatch + gap + round(text_length(name, size) + space + bold.getlength(_percent(share)))
        if positions and left + needed + size > width:
            left, top = size, top + line
        positions.append((left, top))
        left += needed + 2 * size
    strip = Image.new("RGB", (width, top + line + size // 4), "white")
    draw = ImageDraw.Draw(strip)
    for (name, share, colour), (x, y) in zip(entries, positions):
        draw.rounded_rectangle((x, y, x + swatch, y + swatch), size // 5, colour, GREY)
        text = (x + swatch + gap, y + swatch // 2)
        draw_text(draw, text, name, size)
        draw.text((text[0] + text_length(name, size) + space, text[1]), _percent(share), MUTED, bold, anchor="lm")
    return strip


def _sorted_by_share(shares: Mapping[str, float], classes: Classes) -> list[tuple[str, float, tuple[int, int, int]]]:
    """Name, share and colour of the classes that occur, largest first, background last."""
    objects = zip(classes.names[1:], classes.colours[1:])
    found = [(name, shares[name], colour) for name, colour in objects if shares[name] > 0]
    found.sort(key=lambda entry: -entry[1])
    if shares.get(NOT_SURE):
        found.append((NOT_SURE, shares[NOT_SURE], tuple(classes.palette()[VOID].tolist())))
    background = classes.names[0]
    return [*found, (background, shares[background], _UNTINTED)] if shares[background] > 0 else found


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"


def caption_of(shares: Mapping[str, float], classes: Classes = VOC_CLASSES) -> str:
    """The two largest classes of an image other than background, as a short text."""
    found = [(name, share) for name, share, _ in _sorted_by_share(shares, classes) if name != classes.names[0]]
    return ", ".join(f"{name} {_percent(share)}" for name, share in found[:2]) or f"{classes.names[0]} only"


def thumbnail(name: str, image: np.ndarray, mask: np.ndarray, classes: Classes = VOC_CLASSES) -> Thumbnail:
    """An image reduced for the contact sheet, with its caption."""
    classes = shown_classes(classes)
    small_image, small_mask = reduced(_THUMBNAIL_SIDE, image, mask)
    return Thumbnail(name, caption_of(class_shares(mask, classes), classes), small_image, small_mask)


def plot_contact_sheet(
    images: Sequence[Thumbnail], total: int, rejected: int = 0, classes: Classes = VOC_CLASSES, videos: int = 0
) -> Figure:
    """Overlays in rows of four above one legend, each with its name and its largest classes.

    Args:
        images: At most a dozen are shown.
        total: Number of images in all.
        rejected: Number of files that could not be read.
        classes: Names and colours by mask value.
        videos: Number of videos, which are not shown.
    """
    images, classes = list(images)[:SHEET_IMAGES], shown_classes(classes)
    margin, gap, caption, panel, tallest = 0.15, 0.14, 0.46, 2.45, 2.45  # inches
    columns = max(2, min(_COLUMNS, len(images)))
    rows = [images[start : start + columns] for start in range(0, len(images), columns)]
    heights = [min(tallest, max(panel * item.mask.shape[0] / item.mask.shape[1] for item in row)) for row in rows]
    legend = _legend(images, classes)
    width = 2 * margin + columns * panel + (columns - 1) * gap
    height = HEADROOM + sum(heights) + caption * len(rows) + legend_height(legend, width)
    figure = new_figure(width, height, layout=None)
    top = HEADROOM
    for row, row_height in zip(rows, heights):
        for column, item in enumerate(row):
            left = margin + column * (panel + gap)
            _caption(figure, item, left, top, panel)
            axes = add_axes(figure, left, top + caption, panel, row_height)
            axes.imshow(tinted(item.image, item.mask, classes), aspect="equal")
            axes.set_anchor("NW")
            axes.set_axis_off()
        top += caption + row_height
    draw_legend(figure, legend)
    set_title(figure, "Own images", _count_text(len(images), total, rejected, videos))
    return figure


def _caption(figure: Figure, item: Thumbnail, left: float, top: float, panel: float) -> None:
    """Write name and largest classes above a panel; a text longer than the panel is truncated."""
    width, height = figure.get_size_inches()
    for text, down, colour, per_inch in ((item.name, 0.2, INK, 13), (item.caption, 0.38, MUTED, 14)):
        letters = round(panel * per_inch)
        text = replace_unknown_letters(text)
        shown = text if _width(text) <= letters else _cut(text, letters - 1) + "…"
        x, y = left / width, 1 - (top + down) / height
        figure.text(x, y, shown, fontsize=SMALL, color=colour, va="baseline", parse_math=False)


def _width(text: str) -> int:
    """Width in letters; Chinese, Japanese and Korean letters count twice."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _cut(text: str, letters: int) -> str:
    while _width(text) > letters:
        text = text[:-1]
    return text


def _legend(images: Sequence[Thumbnail], classes: Classes) -> dict[str, np.ndarray]:
    """Name and colour of the classes in the images; background, which is not tinted, is always last."""
    entries = legend_entries([item.mask for item in images], classes)
    entries.pop(classes.names[0], None)
    if "void" in entries:
        entries[NOT_SURE] = entries.pop("void")
    return entries | {f"{classes.names[0]} (not tinted)": np.array(_UNTINTED) / 255}


def _count_text(shown: int, total: int, rejected: int, videos: int) -> str:
    images = "1 image" if total == 1 else f"{total} images"
    first = f"The first {shown} of {images}" if shown < total else images
    first += f"; videos: {videos} (in the folder inference_videos)" if videos else ""
    return first + (f"; files that could not be read: {rejected} (inference_rejected.csv)" if rejected else "")
