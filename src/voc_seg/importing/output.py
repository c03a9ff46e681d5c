"""What ``kedro import-data`` prints: for people, and as JSON."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from voc_seg.system.names import printable

from .classes import ClassRow
from .command import Imported
from .findings import findings_json, findings_text
from .layout import VOID_NAME

_RANDOM_WEIGHTS = (
    "ImageNet weights could not be downloaded, so training will start from random weights. With few photographs the "
    "result is much worse. Once you are online, delete conf/{name}/parameters.yml and import again; or fetch the "
    "weights from {address} and set model.weights to their path."
)
_MAX_STORED = 24
"""Letters of a list of stored values that are shown."""


def summary(imported: Imported) -> RenderableType:
    """Return what was found and decided, for the terminal."""
    found = imported.found
    without = f", {len(found.unlabelled):,} without labels" if found.unlabelled else ""
    parts: list[RenderableType] = [
        Text(f"{imported.title[:1].upper()}{imported.title[1:]}: {len(imported.facts):,} labelled images{without}"),
        Text(),
        class_table(imported.rows),
        *(Text(f"  {printable(note)}", "dim") for note in imported.plan.notes),
        *(Text(printable(note)) for note in imported.split_notes),
        Text(),
        findings_text(imported.findings),
    ]
    return Group(*parts)


def class_table(rows: Sequence[ClassRow]) -> Table:
    """Return a line for each class: what the masks store, name, images, pixels, share and an example."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("value in mask", overflow="fold")
    table.add_column("class", overflow="fold", min_width=8)
    for name in ("images", "pixels", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("example", overflow="fold")
    for row in rows:
        stored = row.stored if len(row.stored) <= _MAX_STORED else f"{row.stored[:_MAX_STORED]}..."
        one_colour = row.stored.startswith("#") and "," not in row.stored
        shown = Text.assemble(("■ ", row.stored), stored) if one_colour else Text(stored)
        label = Text(printable(row.name), "dim" if row.name == VOID_NAME else "")
        numbers = f"{row.images:,}", _short(row.pixels), f"{100 * row.share:.2f} %"
        table.add_row(shown, label, *numbers, printable(row.example))
    return table


def closing(imported: Imported, name: str, page: Path | None, project: Path, weights: str = "") -> RenderableType:
    """Return the files written and the next command; ``weights`` is the address of the ImageNet weights."""
    lines = [Text()]
    for path in imported.written:
        lines.append(Text(f"Wrote {_shown(path, project)}"))
    for path in imported.kept:
        lines.append(Text(f"Kept {_shown(path, project)}, which existed; delete it to have it written again"))
    if page:
        lines.append(Text(f"Look at the images and masks: {_shown(page, project)}"))
    if not imported.pretrained:
        lines += [Text(), Text.assemble(("warning  ", "yellow"), _RANDOM_WEIGHTS.format(name=name, address=weights))]
    if name:
        lines += [Text(), Text.assemble("Next: ", (f"kedro run --env {name}", "bold"))]
    return Group(*lines)


def summary_json(imported: Imported) -> dict[str, Any]:
    """Return the same as plain values for JSON.

    Keys of `findings_json`, and ``layout``, ``images``, ``unlabelled``, ``splits`` (number of images by split),
    ``classes`` (a list with ``name``, ``stored``, ``images``, ``pixels``, ``share``), ``notes`` and ``written``.
    """
    return {
        **findings_json(imported.findings),
        "layout": imported.layout,
        "images": len(imported.facts),
        "unlabelled": len(imported.found.unlabelled),
        "splits": {name: count for name, count in Counter(imported.splits.values()).items() if name},
        "classes": [
            {"name": row.name, "stored": row.stored, "images": row.images, "pixels": row.pixels, "share": row.share}
            for row in imported.rows
        ],
        "notes": [*imported.found.notes, *imported.plan.notes, *imported.split_notes],
        "written": [str(path) for path in imported.written],
    }


def _short(pixels: int) -> str:
    """Return 1,234,567 as ``1.23 M``."""
    for size, sign in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if pixels >= size:
            return f"{pixels / size:.3g} {sign}"
    return str(pixels)


def _shown(path: Path, project: Path) -> str:
    return str(path.relative_to(project) if path.is_relative_to(project) else path)
