"""The one look of all figures: colours, sizes, and axes without clutter.

Figures are made through matplotlib's object interface, so nothing here touches pyplot or ``rcParams``: a
figure is freed when its last reference goes, and a user's own settings in a notebook stay as they are.
"""

from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text

from .fonts import families, quiet_fonts, replace_unknown_letters

DPI = 110
INK = "#1f2933"
MUTED = "#5f6b76"
GRID = "#e4e8ec"
ABSENT = "#dfe3e7"
# Blue, orange and grey differ in lightness too, so they stay apart for colour-blind readers and in print.
BLUE = "#2364aa"
ORANGE = "#e07b1a"
GREY = "#8d99a6"

TITLE = 13
HEADING = 11
LABEL = 10
SMALL = 9
HEADROOM = 0.68
"""Inches that a title with its subtitle takes at the top of a figure."""
HEADROOM_ALONE = 0.42
"""Inches that a title alone takes."""


class _Figure(Figure):
    """A figure that takes letters which the default font lacks from other fonts of the system."""

    def draw(self, renderer: RendererBase) -> None:
        for text in self.findobj(Text):
            more = families(text.get_text())
            if more:
                text.set_fontfamily([*(family for family in text.get_fontfamily() if family not in more), *more])
        with quiet_fonts():
            super().draw(renderer)


def new_figure(
    width: float, height: float, *, layout: Literal["constrained", "compressed"] | None = "constrained"
) -> Figure:
    """An empty white figure of ``width`` by ``height`` inches."""
    return _Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)


def literal(text: str) -> str:
    """A text as matplotlib shows it letter by letter: between two dollar signs it would read mathematics.

    Letters that no font has become question marks.
    """
    return replace_unknown_letters(text).replace("$", r"\$")


def set_title(figure: Figure, title: str, subtitle: str = "") -> None:
    """Put a bold title and a quiet line below it at the top left; an automatic layout keeps clear of them."""
    height = figure.get_figheight()
    left = 0.15 / figure.get_figwidth()
    figure.text(
        left, 1 - 0.12 / height, literal(title), ha="left", va="top", fontsize=TITLE, fontweight="bold", color=INK
    )
    if subtitle:
        figure.text(left, 1 - 0.40 / height, literal(subtitle), ha="left", va="top", fontsize=LABEL, color=MUTED)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        room = (HEADROOM if subtitle else HEADROOM_ALONE) / height
        engine.set(rect=(0, 0, 1, 1 - room), w_pad=0.1, h_pad=0.08)


def tidy(axes: Axes, title: str = "", *, grid: Literal["x", "y", "both", "none"] = "both") -> None:
    """Give axes the house look: heading at the left, light grid behind the data, no top and right spine.

    Args:
        axes: The axes to change.
        title: Heading, none when empty.
        grid: ``x``, ``y``, ``both`` or ``none``.
    """
    axes.set_title(title, loc="left", fontsize=HEADING, fontweight="bold", color=INK)
    axes.tick_params(labelsize=SMALL, colors=INK, length=0)
    axes.xaxis.label.set(fontsize=LABEL, color=MUTED)
    axes.yaxis.label.set(fontsize=LABEL, color=MUTED)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.set_axisbelow(True)
    if grid != "none":
        axes.grid(True, axis=grid, color=GRID, linewidth=0.8)


def legend_beside_title(axes: Axes, columns: int = 4) -> None:
    """A legend in one row at the right of the heading, where it cannot cover data."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, frameon=False, fontsize=SMALL,
        labelcolor=INK, handlelength=1.4, columnspacing=1.2, borderpad=0.2, borderaxespad=0.2,
    )  # fmt: skip
