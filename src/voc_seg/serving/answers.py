"""Answers of the server: the mask as PNG, the overlay as JPEG, shares and polygons as JSON."""

import io
import json
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
    wanted: list[tuple[float, int, str]] = []
    for order, part in enumerate(accept.split(",") if accept.strip() else ["*/*"]):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        try:
            wanted.append((-float(quality), order, media_type))
        except ValueError:
            continue
    for rank, _, media_type in sorted(wanted):
        for name, offered in MEDIA_TYPES.items():
            if rank < 0 and media_type in (offered, f"{offered.partition('/')[0]}/*", "*/*"):
                return name
    return None


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
