"""The page of the data check: findings, classes, and images with their masks.

`write_data_check` writes the page and, in a folder beside it, its images. Both work offline.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from voc_seg.importing.class_plan import ClassPlan
from voc_seg.importing.doctor.files import exif_setting
from voc_seg.importing.doctor.meaning import LabelledPair, labelled_pairs, stored_key
from voc_seg.importing.findings import Finding, by_severity, summary_line
from voc_seg.importing.inspect import PairFacts, StoredMask, read_stored_mask
from voc_seg.importing.layout import VOID_NAME, Found, Stored
from voc_seg.importing.stored import texts_of
from voc_seg.system.atomic import atomic_write
from voc_seg.system.atomic_folder import atomic_write_folder
from voc_seg.system.names import printable
from voc_seg.system.parallel import parallel_map
from voc_seg.system.progress import progress_bar
from voc_seg.voc.classes import VOID, voc_palette
from voc_seg.voc.decode_memory import allow_large_images, hold_decode_memory
from voc_seg.voc.images import UPRIGHT, decode_dataset_image
from voc_seg.voc.mask_colours import pack_rgb, unpack_rgb
from voc_seg.voc.pixel_format import RGB, PixelFormat, displayed

from .html_page import fill_template, hex_colour
from .report_images import LONGER_SIDE, RIGHT_COLOUR

_SCRIPTS = ("helpers.js", "gallery.js", "check_images.js", "viewer.js", "findings.js")
_MAX_IMAGES = 200
_EXAMPLES = 6
"""Images shown of each class and each finding, if not all images are shown."""
_QUALITY = 75
_UNKNOWN = "without a meaning"
_UNKNOWN_COLOUR = (255, 0, 255)


@dataclass(frozen=True)
class _Legend:
    """Rows of the class table: the classes, void, and values without a meaning."""

    plan: ClassPlan
    names: tuple[str, ...]
    palette: np.ndarray  # ``uint8 (rows, 3)``

    def row(self, mask: StoredMask, key: Stored) -> int:
        """Return the row of a value or colour of a mask."""
        name = self.plan.values.get(stored_key(mask, key, self.plan), _UNKNOWN)
        return min(self.names.index(name), len(self.palette) - 1)  # with 255 classes, such values are drawn as void


def write_data_check(
    page: Path,
    title: str,
    facts: Sequence[PairFacts],
    plan: ClassPlan,
    splits: Mapping[str, str],
    found: Found,
    findings: Sequence[Finding],
    pixels: PixelFormat = RGB,
) -> None:
    """Write the page and the images it shows, and replace those of an earlier call.

    Args:
        page: The HTML file; the images go to a folder beside it, named after it.
        title: Name of the data.
        facts: All pairs, also unreadable ones.
        plan: The classes.
        splits: train, val or test by image id; images may lack one.
        found: What the layout found; it draws masks that are no files.
        findings: Of `voc_seg.importing.checks.check_data`.
        pixels: How the images are read; of more bands, the first three are shown.
    """
    findings = by_severity(findings)
    legend = _legend(plan)
    pairs = {one.id: one for one in labelled_pairs(facts, plan)}
    chosen = choose_images(facts, pairs, plan, findings)
    folder = page.with_name(f"{page.stem}_images")
    draw = partial(_draw, legend, found, exif_setting(facts, found)[0], pixels)
    rows = []
    with atomic_write(page) as file:
        with (
            atomic_write_folder(folder) as images,
            allow_large_images(),
            progress_bar("drawing images", len(chosen)) as advance,
        ):
            for number, (one, (shown, contents)) in enumerate(zip(chosen, parallel_map(draw, chosen))):
                for ending, data in contents.items():
                    (images / f"{number:04d}{ending}").write_bytes(data)
                about = [index for index, finding in enumerate(findings) if one.image_id in finding.images]
                known = {"id": one.image_id, "file": f"{number:04d}", "split": splits.get(one.image_id, "")}
                shares = _shares(pairs.get(one.image_id), legend)
                rows.append(known | {"findings": about, "classes": shares} | shown)
                advance(1)
        content = {
            "title": title,
            "folder": folder.name,
            "summary": summary_line(findings).capitalize(),
            "total": len(facts),
            "splits": [(name, count) for name in ("train", "val", "test")
                       if (count := sum(splits.get(one.image_id) == name for one in facts))],
            "classes": plan.names,
            "by_colour": plan.by_colour,
            "class_table": _class_table(list(pairs.values()), legend),
            "findings": [{"severity": one.severity, "kind": one.kind, "message": printable(one.message),
                          "remedy": printable(one.remedy)} for one in findings],
            "images": rows,
        }  # fmt: skip
        file.write_text(fill_template("data_check.html", "Data check", _SCRIPTS, content), encoding="utf-8")


def choose_images(
    facts: Sequence[PairFacts], pairs: Mapping[str, LabelledPair], plan: ClassPlan, findings: Sequence[Finding]
) -> list[PairFacts]:
    """Return the images to show, in the order of the data: all of up to 200, otherwise examples of every finding and
    class, and others evenly spaced."""
    if len(facts) <= _MAX_IMAGES:
        return list(facts)
    wanted: dict[str, None] = {}
    for finding in findings:
        wanted |= dict.fromkeys(_spaced(finding.images, _EXAMPLES))
    for name in plan.names:
        wanted |= dict.fromkeys(_spaced([key for key, one in pairs.items() if one.pixels.get(name)], _EXAMPLES))
    others = [one.image_id for one in facts if one.image_id not in wanted]
    wanted |= dict.fromkeys(_spaced(others, max(0, _MAX_IMAGES - len(wanted))))
    return [one for one in facts if one.image_id in wanted]


def _spaced(ids: Sequence[str], count: int) -> list[str]:
    if not ids or not count:
        return []
    return [ids[index] for index in np.unique(np.linspace(0, len(ids) - 1, min(count, len(ids)), dtype=int))]


def _legend(plan: ClassPlan) -> _Legend:
    names = (*plan.names, VOID_NAME, _UNKNOWN)
    palette = voc_palette()[[*range(len(plan.names)), VOID, VOID][: VOID + 1]]
    for index, colour in enumerate(plan.colours[: len(plan.names)]):
        palette[index] = palette[index] if colour is None else colour
    if len(palette) == len(names):
        palette[-1] = _UNKNOWN_COLOUR
    return _Legend(plan, names, palette)


def _shares(pair: LabelledPair | None, legend: _Legend) -> list[tuple[int, float]]:
    """Return the row of the class table and the fraction of the pixels, for all that occurs in an image."""
    if pair is None:
        return []
    pixels = {**pair.pixels, _UNKNOWN: sum(pair.unknown.values())}
    total = max(sum(pixels.values()), 1)
    return [(index, round(pixels[name] / total, 5)) for index, name in enumerate(legend.names) if pixels.get(name)]


def _class_table(pairs: Sequence[LabelledPair], legend: _Legend) -> list[dict[str, Any]]:
    plan = legend.plan
    palette = legend.palette.copy()
    palette[0] = RIGHT_COLOUR  # the first class is not tinted
    table = []
    for index, name in enumerate(legend.names):
        areas = [one.pixels.get(name, 0) if name != _UNKNOWN else sum(one.unknown.values()) for one in pairs]
        if index >= len(plan.names) and not any(areas):
            continue
        values = texts_of([key for key, meaning in plan.values.items() if meaning == name])
        table.append({"index": index, "name": name, "colour": hex_colour(palette[index]), "stored": values,
                      "images": sum(area > 0 for area in areas), "pixels": sum(areas),
                      "void": index >= len(plan.names)})  # fmt: skip
    return table


@hold_decode_memory()
def _draw(
    legend: _Legend, found: Found, exif: str, pixels: PixelFormat, one: PairFacts
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Facts and files, by ending, of one image; also of a pair with an unreadable file."""
    try:
        image = Image.fromarray(displayed(decode_dataset_image(one.source.image, pixels)))
    except Exception as error:
        height, width = one.size
        return {"width": width, "height": height, "note": "", "unreadable": printable(one.problem or str(error))}, {}
    mask = _mask(found, one)
    turn = UPRIGHT.get(one.orientation)
    upright = mask is not None and mask.size == one.upright_size and (mask.size != one.size or exif == "apply")
    if turn is not None and upright:
        image = image.transpose(turn)
    factor = min(1.0, LONGER_SIDE / max(image.size))
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    note = ""
    if mask is not None and mask.size != image.size[::-1]:
        note = f"The mask is {mask.size[1]}x{mask.size[0]} and is stretched here. "
    shown = {"width": image.width, "height": image.height, "note": note, "maskless": mask is None}
    if mask is None and one.problem:
        shown["note"] = f"{printable(one.problem)}. "
    small = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    contents = {".jpg": _encoded(small, format="JPEG", quality=_QUALITY, optimize=True)}
    if mask is not None:
        contents[".mask.png"] = _drawn_mask(legend, mask, size)
    return shown, contents


def _mask(found: Found, one: PairFacts) -> StoredMask | None:
    try:
        if one.source.mask is not None and one.source.mask.is_file():
            return read_stored_mask(one.source.mask)
        return StoredMask("drawn", found.draw(one.source)) if found.draw is not None else None
    except Exception:  # a finding of its own
        return None


def _drawn_mask(legend: _Legend, mask: StoredMask, size: tuple[int, int]) -> bytes:
    reduced = np.array(Image.fromarray(mask.pixels).resize(size, Image.Resampling.NEAREST))
    if reduced.ndim == 2:
        rows = np.array([legend.row(mask, key) for key in range(256)])
        values = rows.astype(np.uint8)[reduced]
    else:
        codes, inverse = np.unique(pack_rgb(reduced), return_inverse=True)
        rows = np.array([legend.row(mask, unpack_rgb(code)) for code in codes])
        values = rows.astype(np.uint8)[inverse].reshape(reduced.shape[:2])
    image = Image.fromarray(values)
    image.putpalette(legend.palette.tobytes())
    return _encoded(image, format="PNG", transparency=0)


def _encoded(image: Image.Image, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, **options)
    return content.getvalue()
