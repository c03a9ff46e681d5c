"""Shared style of all figures: colours, sizes and plain axes.

Figures use matplotlib's object interface, not pyplot or ``rcParams``: they are freed with their last reference, and
the user's own settings in a notebook stay unchanged.
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
# These also differ in lightness, for colour-blind readers and for print.
BLUE = "#2364aa"
ORANGE = "#e07b1a"
GREY = "#8d99a6"

TITLE = 13
HEADING = 11
LABEL = 10
SMALL = 9
HEADROOM = 0.68
"""Height of a title with its subtitle, in inches."""
HEADROOM_ALONE = 0.42
"""Height of a title without a subtitle, in inches."""


class _Figure(Figure):
    """A figure that draws letters missing from the default font in other fonts of the system."""

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
    """A text escaped so that matplotlib does not read ``$...$`` as mathematics; letters in no font become ``?``."""
    return replace_unknown_letters(text).replace("$", r"\$")


def set_title(figure: Figure, title: str, subtitle: str = "") -> None:
    """Write a bold title and a muted subtitle at the top left; a constrained layout leaves space for them."""
    height = figure.get_figheight()
    left = 0.15 / figure.get_figwidth()
    figure.text(
        left, 1 - 0.12 / height, literal(title), ha="left", va="top", fontsize=TITLE, fontweight="bold", color=INK
    )
    if subtitle:
        figure.text(left, 1 - 0.40 / height, literal(subtitle), ha="left", va="top", fontsize=LABEL, color=MUTED)
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        title_height = (HEADROOM if subtitle else HEADROOM_ALONE) / height
        engine.set(rect=(0, 0, 1, 1 - title_height), w_pad=0.1, h_pad=0.08)


def tidy(axes: Axes, title: str = "", *, grid: Literal["x", "y", "both", "none"] = "both") -> None:
    """Apply the shared style: heading at the left, light grid behind the data, no top and right spine."""
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
    """Add a legend in one row to the right of the heading, where it cannot cover data."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, frameon=False, fontsize=SMALL,
        labelcolor=INK, handlelength=1.4, columnspacing=1.2, borderpad=0.2, borderaxespad=0.2,
    )  # fmt: skip
