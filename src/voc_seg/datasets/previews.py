"""Previews for Kedro-Viz: contact sheets and tables."""

import base64
import io
from collections.abc import Iterable
from typing import Any

import numpy as np
from kedro_datasets._typing import ImagePreview, TablePreview
from PIL import Image

_GAP = 6


def contact_sheet(images: Iterable[Image.Image], columns: int = 4, width: int = 180) -> ImagePreview:
    """Images in rows on a transparent background, which suits light and dark pages, as a PNG in base64.

    Args:
        images: Any sizes and modes; the sheet is blank if there are none.
        columns: Images in a row.
        width: Width of each image in pixels; its aspect ratio is kept.
    """
    cells = [_reduced(image, width) for image in images] or [Image.new("RGBA", (width, width // 2))]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell in row) for row in rows]
    across = min(columns, len(cells))
    size = (across * (width + _GAP) - _GAP, sum(heights) + _GAP * (len(rows) - 1))
    sheet = Image.new("RGBA", size)
    top = 0
    for row, height in zip(rows, heights):
        for column, cell in enumerate(row):
            sheet.paste(cell, (column * (width + _GAP), top))
        top += height + _GAP
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return ImagePreview(base64.b64encode(file.getvalue()).decode())


def table_preview(columns: list[str], rows: list[list[Any]]) -> TablePreview:
    """Rows of as many values as there are columns."""
    return TablePreview({"index": list(range(len(rows))), "columns": columns, "data": rows})


def _reduced(image: Image.Image, width: int) -> Image.Image:
    height = max(1, round(image.height * width / image.width))
    kernel = Image.Resampling.NEAREST if image.mode == "P" else Image.Resampling.LANCZOS  # masks keep their colours
    if image.mode.startswith("I;16"):  # Pillow's own conversion clips at 255
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    return image.convert("RGB").resize((width, height), kernel)
