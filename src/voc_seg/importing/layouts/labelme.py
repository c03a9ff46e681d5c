"""JSON files of labelme, beside their images or in a folder of their own.

What ``__ignore__``, ``_background_`` and labels.txt mean is described by examples/semantic_segmentation of
https://github.com/wkentaro/labelme.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import listed
from voc_seg.system.parallel import parallel_map
from voc_seg.system.progress import progress_bar
from voc_seg.voc.file_checks import short_name
from voc_seg.voc.file_names import IMAGE_ENDINGS

from ..files import Files
from ..formats.class_values import clean_label, number_classes, value_names
from ..formats.drawing import Unusable, mask_size
from ..formats.labelme_files import LabelmeFile, read_labelme
from ..formats.labelme_shapes import draw_labelme, shape_type
from ..formats.text_files import read_lines
from ..layout import Found, LabelledImage
from ..notes import note_of
from ..pairing.folder_names import split_of_folders
from ..pairing.image_search import ImageSearch

TITLE = "labelme JSON files, beside the images or in a folder of their own"
SPECIFIC = True

_TRIED = 50
"""JSON files that are read to recognise the layout, evenly spread, since other JSON files may be among them."""


def find(files: Files) -> Found | None:
    """Return the images that labelme files name; images without one are unlabelled."""
    paths = files.with_endings((".json",))
    tried = (read_labelme(files, path) for path in paths[:: max(1, len(paths) // _TRIED)])
    if not any(one and not one.damaged for one in tried):
        return None
    with progress_bar("reading labelme files", len(paths)) as advance:
        read: list[LabelmeFile] = []
        others: list[PurePosixPath] = []
        for path, one in zip(paths, parallel_map(partial(read_labelme, files), paths)):
            advance(1)
            others.append(path) if one is None else read.append(one)
    notes = note_of(others, "JSON file", "ignored, not of labelme")
    pairs, more = _match(files, read)
    labels = Counter(clean_label(shape.get("label")) for one in pairs.values() for shape in one.shapes)
    labels.pop("", None)
    values, listed_in = _values(files, labels, [one.path for one in pairs.values()])
    return Found(
        tuple(_labelled(files, image, one, values) for image, one in sorted(pairs.items())),
        values=value_names(values),
        draw=_draw,
        upright=True,
        unlabelled=_unlabelled(files, pairs),
        notes=(*listed_in, *more, *notes, *_shape_notes(list(pairs.values()))),
    )


def _match(files: Files, read: Sequence[LabelmeFile]) -> tuple[dict[Path, LabelmeFile], tuple[str, ...]]:
    """Return the labelme file of every image, and notes on those without image."""
    search = ImageSearch(files)
    pairs: dict[Path, LabelmeFile] = {}
    twins: list[PurePosixPath] = []
    embedded: list[PurePosixPath] = []
    missing: list[PurePosixPath] = []
    for one in read:
        image = _image_of(files, search, one)
        if image is None:
            (embedded if one.embedded else missing).append(one.path)
        elif (other := pairs.get(image)) is None:
            pairs[image] = one
        elif one.path.stem == image.stem and other.path.stem != image.stem:
            pairs[image] = one
            twins.append(other.path)
        elif other.path.stem == image.stem and one.path.stem != image.stem:
            twins.append(one.path)
        else:
            raise VocSegError(
                f"{files.absolute(other.path)} and {files.absolute(one.path)} both label {image}. Delete one of them."
            )
    inside = (
        "ignored, as the image is only inside (imageData): write it beside the JSON file under the name in imagePath, "
        "for example the img.png of labelme_export_json, which labelme 5 has"
    )
    notes = (
        *note_of(missing, "labelme file", "ignored, image not found"),
        *note_of(embedded, "labelme file", inside),
        *note_of(twins, "labelme file", "ignored, as the file with the name of the image labels it too"),
    )
    if not any(not one.problem for one in pairs.values()):
        raise VocSegError(
            f"{files.root} holds labelme files, but the images of none of them can be used. "
            + " ".join(notes or [next(iter(pairs.values())).problem + "."])
        )
    return pairs, notes


def _unlabelled(files: Files, pairs: Mapping[Path, LabelmeFile]) -> tuple[Path, ...]:
    """Return the other images beside labelled ones and beside labelme files."""
    folders = {image.parent for image in pairs} | {files.absolute(one.path).parent for one in pairs.values()}
    others = (files.absolute(path) for path in files.images)
    return tuple(path for path in others if path not in pairs and path.parent in folders)


def _image_of(files: Files, search: ImageSearch, one: LabelmeFile) -> Path | None:
    """Return the image of a labelme file: by the path in it, else the image with the name of the file."""
    folder = one.path.parent
    named = search.existing(one.image, folder)  # outside, if FOLDER holds the JSON files only
    if named is not None and named.suffix.lower() in IMAGE_ENDINGS:
        return named
    same = search.with_stem(one.path.stem)
    beside = [path for path in same if path.parent == folder]
    if len(beside) == 1:
        return files.absolute(beside[0])
    if one.image and (found := search.find(one.image, folder, split_of_folders(one.path))) is not None:
        return files.absolute(found)
    return files.absolute(same[0]) if len(same) == 1 else None


def _values(
    files: Files, labels: Counter[str], paths: Sequence[PurePosixPath]
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the value of every label, in the order of labels.txt or sorted, and a note on the order."""
    folders = {folder for path in paths for folder in path.parents}
    names = sorted(labels)
    note = "Order of the classes: background, then the labels by name."
    for path in files.named("labels.txt"):
        found = [name for line in read_lines(files.absolute(path)) if (name := clean_label(line))]
        if path.parent in folders and set(found) & set(labels):
            more = [name for name in names if name not in found]
            names = found + more
            note = f"Classes are in the order of {path.as_posix()}."
            if more:
                note += f" It does not list {listed([f'{name} ({labels[name]} shapes)' for name in more])}."
            break
    return number_classes(names), (note,)


def _labelled(files: Files, image: Path, one: LabelmeFile, values: Mapping[str, int]) -> LabelledImage:
    if one.problem:
        annotation: Any = Unusable(one.problem)
    else:
        annotation = (one, [values[clean_label(shape["label"])] for shape in one.shapes])
    inside = image.is_relative_to(files.root)
    split = split_of_folders(PurePosixPath(image.relative_to(files.root).as_posix())) if inside else ""
    return LabelledImage(image, split=split or split_of_folders(one.path), annotation=annotation)


def _draw(source: LabelledImage) -> np.ndarray:
    if isinstance(source.annotation, Unusable):
        raise VocSegError(source.annotation.reason)
    one, values = source.annotation
    size = mask_size(source.image, one.size, one.path.name)
    try:
        return draw_labelme(one.shapes, values, size)
    except VocSegError as error:
        raise VocSegError(f"{short_name(Path(one.path))}: {error}") from error


def _shape_notes(read: Sequence[LabelmeFile]) -> tuple[str, ...]:
    kinds = Counter(shape_type(shape) for one in read for shape in one.shapes)
    thin = [f"{kinds[kind]} of the type {kind}" for kind in ("line", "linestrip", "point") if kinds[kind]]
    flags = Counter(flag for one in read for flag in one.flags)
    lines = "Shapes without area are drawn as labelme draws them, lines 10 pixels wide, points with a radius of 5: "
    few = [one.path for one in read if one.ignored]
    return (
        *((lines + ", ".join(thin) + ".",) if thin else ()),
        *note_of(few, "labelme file", "with shapes of too few points, which are ignored"),
        *note_of([f"{name} ({n})" for name, n in flags.items()], "image flag", "ignored"),
    )
