"""Image panels at positions in inches: an automatic layout would leave gaps, as panels keep the shape of images."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from voc_seg.voc.classes import VOID, Classes

from .overlays import overlay, pale_grey, reduced
from .style import GREY, INK, SMALL, literal

MARGIN = 0.15
GAP = 0.08
_LONGER_SIDE = 1000
"""Pixels of an image in a panel, which shows fewer; drawing one of 100 megapixels would take several gigabytes."""
_LEGEND_ROW = 0.25
_LEGEND_ENTRY = 1.25


def at_panel_size(image: np.ndarray, *masks: np.ndarray) -> tuple[np.ndarray, ...]:
    """Image and masks, reduced if a panel cannot show all their pixels."""
    return reduced(_LONGER_SIDE, image, *masks)


def mask_over_grey(image: np.ndarray, mask: np.ndarray, classes: Classes) -> np.ndarray:
    """The mask in its colours over a pale grey version of the image, ``uint8 (H, W, 3)``."""
    # Over the image itself, tint and colours would mix: a blue bus would look like another class.
    return overlay(pale_grey(image), mask, 0.75, classes)


def add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a position in inches from the figure's top left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def show_image(axes: Axes, image: np.ndarray) -> None:
    """Show an image in a thin frame, without ticks, below the left end of its heading."""
    axes.imshow(image)
    axes.set_anchor("W")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=GREY, linewidth=0.6)


def legend_entries(masks: Sequence[np.ndarray], classes: Classes) -> dict[str, np.ndarray]:
    """Name and colour (RGB, 0..1) of every class that occurs in the masks, void last."""
    palette = classes.palette() / 255
    values = sorted(set().union(*(np.unique(mask).tolist() for mask in masks)))
    entries = {classes.names[value]: palette[value] for value in values if value != VOID}
    if VOID in values:
        entries["void"] = palette[VOID]
    if 0 in values:
        entries[classes.names[0]] = np.array([0.9, 0.9, 0.9])  # background is not tinted: pale grey, not VOC's black
    return entries


def legend_height(entries: Mapping[str, np.ndarray], figure_width: float) -> float:
    """Height of the legend at the foot of a figure, in inches."""
    rows = -(-len(entries) // int(figure_width / _LEGEND_ENTRY))
    return 0.2 + _LEGEND_ROW * rows


def draw_legend(figure: Figure, entries: Mapping[str, np.ndarray], below: float | None = None) -> None:
    """Draw a legend in rows, at the foot of the figure or ``below`` inches from its top."""
    if not entries:
        return
    width, height = figure.get_size_inches()
    columns = int(width / _LEGEND_ENTRY)
    patches = [Patch(facecolor=to_rgb(tuple(colour)), edgecolor=GREY, linewidth=0.6) for colour in entries.values()]
    # matplotlib fills a legend column by column; this order makes it read row by row.
    order = [index for column in range(columns) for index in range(column, len(patches), columns)]
    names = [literal(name) for name in entries]
    figure.legend(
        handles=[patches[index] for index in order], labels=[names[index] for index in order],
        ncols=min(columns, len(patches)), frameon=False, fontsize=SMALL, labelcolor=INK,
        loc="lower left" if below is None else "upper left",
        bbox_to_anchor=(0.0, 0.0 if below is None else 1 - below / height),
        handlelength=1.2, handleheight=1.0, columnspacing=1.5, borderaxespad=0.6,
    )  # fmt: skip
