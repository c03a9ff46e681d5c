"""HTML pages that work offline: a template of ``page`` in its frame, with style, scripts and data in one file.

The browser builds the sections from the data: cards of images by ``gallery.js``, the enlarged image by ``viewer.js``.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from voc_seg.system.plain_values import without_nan


def fill_template(
    template: str,
    title: str,
    scripts: Sequence[str],
    content: Mapping[str, Any],
    frame: str = "frame.html",
    styles: Sequence[str] = ("report.css",),
) -> str:
    """Return the page as HTML.

    Args:
        template: File in ``page`` with what the page shows.
        title: For the browser's tab, as HTML.
        scripts: Files in ``page``, joined into one script in this order; each ends with the calls that show its
            sections.
        content: Plain values for the scripts; NaN becomes null.
        frame: File in ``page`` around it; ``frame.html`` has what all reports share.
        styles: Files in ``page``, joined into one style sheet.
    """
    text = json.dumps(without_nan(content), allow_nan=False, separators=(",", ":"))
    page = files("voc_seg.reporting") / "page"
    parts = {
        "__TITLE__": title,
        "__BODY__": (page / template).read_text(encoding="utf-8"),
        "__STYLE__": "\n".join((page / name).read_text(encoding="utf-8") for name in styles),
        "__VIEWER__": (page / "viewer.html").read_text(encoding="utf-8"),
        "__SCRIPT__": "\n".join((page / name).read_text(encoding="utf-8") for name in scripts),
        # In a script element, only "<" can end the element or begin a comment.
        "__DATA__": text.replace("<", "\\u003c"),
    }
    html = (page / frame).read_text(encoding="utf-8")
    for mark, part in parts.items():  # the data last, so that marks within it are not replaced
        html = html.replace(mark, part, 1)
    return html


def hex_colour(colour: np.ndarray | tuple[int, ...]) -> str:
    """Return a colour as CSS writes it: ``#e69f00``."""
    return "#" + bytes(colour).hex()
