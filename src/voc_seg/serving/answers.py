"""Answers of the server: the mask as PNG, the overlay as JPEG, shares and polygons as JSON."""

import io
import json
from contextlib import suppress
from pathlib import PurePath
from typing import Any

from PIL import Image

from voc_seg.api.predictor import Result
from voc_seg.importing.formats.annotations import exported_classes, labelme_document
from voc_seg.voc.masks import palette_image

MEDIA_TYPES = {"mask": "image/png", "overlay": "image/jpeg", "json": "application/json"}
"""By the value of ``?format=``. The first is the default."""


def choose_format(accept: str) -> str | None:
    """Return the format that an ``Accept`` header prefers (RFC 9110, section 12.5.1); None if it accepts none."""
    ranges: dict[str, tuple[float, int]] = {}
    for order, part in enumerate(accept.split(",") if accept.strip() else ["*/*"]):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        with suppress(ValueError):
            ranges[media_type] = -float(quality), order
    found = []
    for name, offered in MEDIA_TYPES.items():
        # The most specific range decides: image/png;q=0, */* is everything else.
        covering = [ranges[one] for one in (offered, f"{offered.partition('/')[0]}/*", "*/*") if one in ranges]
        if covering and covering[0][0] < 0:
            found.append((covering[0], name))
    return min(found, key=lambda one: one[0])[1] if found else None


def encode(result: Result, kind: str) -> bytes:
    """Return a result in a format of `MEDIA_TYPES`."""
    if kind == "json":
        return json.dumps(as_json(result), ensure_ascii=False, separators=(",", ":")).encode()
    if kind == "overlay":
        return _file(result.overlay(), "JPEG", quality=90, subsampling=0)
    return _file(palette_image(result.mask, result.classes), "PNG")


def as_json(result: Result) -> dict[str, Any]:
    """Size, classes by mask value, shares, and polygons, the later ones over the earlier, as labelme has them."""
    height, width = result.mask.shape
    shapes = labelme_document(result.mask, exported_classes(result.classes.names), PurePath())["shapes"]
    return {
        "width": width,
        "height": height,
        "classes": list(result.classes.names),
        "shares": result.shares,
        "polygons": [{"label": shape["label"], "points": shape["points"]} for shape in shapes],
    }


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
