"""The contract of a layout, and how the layout of a folder is recognised."""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed
from voc_seg.voc.missing import is_broken_link

from . import layouts
from .files import Files

VOID_NAME = "void"
"""The name of void wherever a layout gives names."""

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255 each."""
Stored = int | Colour
"""A value of a mask, or a colour."""


@dataclass(frozen=True)
class LabelledImage:
    """An image, and where its mask comes from."""

    image: Path  # absolute
    mask: Path | None = None  # absolute; None if the mask is drawn from `annotation`
    split: str = ""  # train, val or test; empty if the layout does not say
    annotation: Any = None  # what the layout's `draw` needs: a JSON file, a list of polygons
    name: str = ""  # preferred image id; empty for the file name
    group: str = ""  # images with the same group belong in one split; empty for none


@dataclass(frozen=True)
class Found:
    """What a layout found in a folder.

    How the masks are read depends on what the layout names:

    - `values`: the masks hold these values. Drawn masks need a name for each value.
    - `colours`: the masks hold these colours; beside `values`, these are the colours of the classes in figures.
    - neither: `voc_seg.importing.classes` names what the masks hold.

    RGB masks are read by colour in any case.
    """

    images: tuple[LabelledImage, ...]
    values: Mapping[int, str] = field(default_factory=dict)  # stored mask value to class name or "void"
    colours: Mapping[Colour, str] = field(default_factory=dict)  # colour in masks to class name or "void"
    names: tuple[str, ...] = ()  # the classes in their order, if it is not that of the stored values
    draw: Callable[[LabelledImage], np.ndarray] | None = None  # the mask, ``uint8 (H, W)`` of keys of `values`
    unlabelled: tuple[Path, ...] = ()  # images without a mask or annotation
    notes: tuple[str, ...] = ()  # what was ignored or assumed, one sentence each
    upright: bool = False  # drawn masks are for images with their EXIF orientation applied, as the tool shows them


class Layout(Protocol):
    """A module of `voc_seg.importing.layouts`; its name is the value of ``--layout``."""

    TITLE: str
    """The layout in a few words: "labelme JSON files beside the images"."""
    SPECIFIC: bool
    """Whether the layout has a mark of its own (a file name, JSON keys), not only usual names of folders and files.

    Layouts that are not specific are tried only if no specific one fits.
    """

    def find(self, files: Files) -> Found | None:
        """Return the images of a folder in this layout, None if it is in another one.

        Masks are not opened. Raises VocSegError for a folder that is in this layout but cannot be used.
        """


def layout_names() -> tuple[str, ...]:
    """Return the names of all layouts, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(layouts.__path__)))


def layout_named(name: str) -> Layout:
    """Return a layout; raises VocSegError if there is none of this name."""
    if name not in layout_names():
        raise VocSegError(f"There is no layout {name!r}. The layouts are: {', '.join(layout_names())}.")
    return cast(Layout, import_module(f"{layouts.__name__}.{name}"))


def find_layout(files: Files, name: str = "") -> tuple[str, Found]:
    """Return the layout of a folder and what it found.

    Args:
        files: The folder.
        name: The layout to use; empty tries all of them.

    Raises:
        VocSegError: No layout fits, or several do; the message lists them.
    """
    if name:
        if (found := layout_named(name).find(files)) is None or not found.images:
            raise VocSegError(f"{files.root} is not in the layout {name} ({layout_named(name).TITLE}). {_seen(files)}")
        return name, found
    known = {name: layout_named(name) for name in layout_names()}
    for specific in (True, False):
        tried = {name: layout.find(files) for name, layout in known.items() if layout.SPECIFIC is specific}
        fitting = {name: found for name, found in tried.items() if found and found.images}
        if len(fitting) == 1:
            return next(iter(fitting.items()))
        if fitting:
            raise VocSegError(
                f"{files.root} can be read in several ways. Choose one with --layout:\n"
                + "\n".join(f"  --layout {name}: {known[name].TITLE}, {_sizes(one)}" for name, one in fitting.items())
            )
    raise VocSegError(
        f"No layout was recognised in {files.root}. {_seen(files)}{_only_images(files)} Known layouts:\n"
        + "\n".join(f"  {name}: {layout.TITLE}" for name, layout in known.items())
    )


def _sizes(found: Found) -> str:
    return f"{len(found.images)} labelled images, {len(found.unlabelled)} without labels"


def _only_images(files: Files) -> str:
    """Return what to do with images that have no labels; empty if there are other files."""
    if len(files.images) < len(files.paths):
        return ""
    return (
        " There are images, but no masks or annotations. To segment them with a model: kedro run --pipelines inference "
        "--params inference.images=PATH."
    )


def _seen(files: Files) -> str:
    """Describe the files of a folder by folder and ending, for messages."""
    counts: dict[str, int] = {}
    for path in files:
        key = f"{path.parent.as_posix()}/*{path.suffix}".removeprefix("./")
        counts[key] = counts.get(key, 0) + 1
    shown = sorted(counts.items(), key=lambda pair: -pair[1])[:6]
    more = f" and {len(counts) - len(shown)} other kinds" if len(counts) > len(shown) else ""
    lost = [path for path in files if is_broken_link(files.absolute(path))]
    links = f" Broken links: {listed([path.as_posix() for path in lost], 3)}." if lost else ""
    return f"It holds {', '.join(f'{name} ({count})' for name, count in shown)}{more}.{links}"
