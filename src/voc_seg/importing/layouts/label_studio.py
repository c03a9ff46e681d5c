"""Label Studio's JSON and JSON-MIN exports, and its brush labels as PNG with a JSON export beside them.

The names of the PNG files are those of ``save_brush_images_from_annotation`` in label_studio_sdk/converter/brush.py.
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from voc_seg.system.errors import VocSegError
from voc_seg.voc.file_checks import read_image_file, short_name

from ..files import Files
from ..formats.class_values import clean_label, number_classes, value_names
from ..formats.drawing import Unusable, draw_by_area, mask_size
from ..formats.label_studio_brush import half_covered
from ..formats.label_studio_files import Task, image_names, read_tasks
from ..formats.text_files import read_head
from ..layout import Found, LabelledImage
from ..notes import Counted, count_notes, note_of
from ..pairing.folder_names import split_of_file, split_of_folders
from ..pairing.image_search import ImageSearch

TITLE = "Label Studio's JSON, or its brush labels as PNG with a JSON export beside them"
SPECIFIC = True

_HEAD = re.compile(r'"(annotations|completions|annotation_id|original_width|data)"\s*:')
_PNG = re.compile(r"task-(?P<task>\d+)-annotation-(?P<annotation>\d+)-by-[^-]*-[^-]*-(?P<label>.+)-\d+\.png", re.I)
_Pngs = list[tuple[str, PurePosixPath]]
"""Label and file of each region."""


def find(files: Files) -> Found | None:
    """Return the images of all tasks. Regions come from the JSON files, or from PNG files named by task."""
    counts: Counter[Counted] = Counter()
    tasks: list[tuple[PurePosixPath, Task]] = []
    for path in files.with_endings((".json",)):
        head = read_head(files.absolute(path))
        if head.startswith("[") and _HEAD.search(head):
            tasks += [(path, task) for task in read_tasks(files.absolute(path), counts) or []]
    tasks = [(path, task) for path, task in tasks if task.images]  # others are of text or sound
    brushes = _brushes(files)
    if not tasks and brushes:
        raise VocSegError(
            f"{files.root} has Label Studio's PNG files, which are named by task, but nothing that says which image a "
            "task is. Export the project as JSON too, and put that file and the images into this folder."
        )
    if not brushes and not any(task.labelled for _, task in tasks):
        return None
    if len({task.number for _, task in tasks}) < len(tasks) and brushes:
        raise VocSegError(f"{files.root} has several JSON files with the same tasks. Keep one of them.")
    search = ImageSearch(files)
    images: dict[PurePosixPath, tuple[PurePosixPath, Task]] = {}
    missing = []
    for path, task in tasks:
        image = _image_of(search, path, task)
        if image is None:
            missing.append(task.images[0])
        elif not (task.labelled or task.number in brushes):
            continue
        elif image in images:
            raise VocSegError(
                f"{image} is the image of the tasks {images[image][1].number} and {task.number} in {path}. Delete one "
                "of them, or export the project again."
            )
        else:
            images[image] = (path, task)
    notes = note_of(missing, "task", "ignored, image not in the folder")
    if not images and missing:
        raise VocSegError(f"{files.root}: {notes[0]} Put the images that were labelled into this folder.")
    pngs = {one.number: brushes.pop(one.number) for _, one in images.values() if one.number in brushes}
    pngs = {number: several for number, several in pngs.items() if not _by_number(images, number).regions}
    labels = {region.label for _, task in images.values() for region in task.regions}
    values = number_classes(sorted(labels | {label for several in pngs.values() for label, _ in several}))
    unlabelled = [path for path in search.unused(images) if not _PNG.fullmatch(path.name)]
    return Found(
        tuple(_labelled(files, image, *one, pngs, values) for image, one in sorted(images.items())),
        values=value_names(values),
        draw=_draw,
        upright=True,
        unlabelled=tuple(map(files.absolute, unlabelled)),
        notes=("Order of the classes: background, then the labels by name.", *notes, *_notes(counts, pngs, brushes)),
    )


def _brushes(files: Files) -> dict[str, _Pngs]:
    """Return the PNG files by task; of several annotations of a task, those of the last."""
    found: dict[str, dict[int, _Pngs]] = {}
    for path in files.with_endings((".png",)):
        if match := _PNG.fullmatch(path.name):
            several = found.setdefault(match["task"], {})
            several.setdefault(int(match["annotation"]), []).append((clean_label(match["label"]), path))
    return {task: several[max(several)] for task, several in found.items()}


def _by_number(images: Mapping[PurePosixPath, tuple[PurePosixPath, Task]], number: str) -> Task:
    return next(task for _, task in images.values() if task.number == number)


def _image_of(search: ImageSearch, path: PurePosixPath, task: Task) -> PurePosixPath | None:
    for text in task.images:
        for name in image_names(text):
            if (found := search.find(name, path.parent, split_of_file(path))) is not None:
                return found
    return None


def _labelled(
    files: Files,
    image: PurePosixPath,
    path: PurePosixPath,
    task: Task,
    pngs: Mapping[str, _Pngs],
    values: Mapping[str, int],
) -> LabelledImage:
    annotation: object = (path.name, task, values)
    if task.problem:
        annotation = Unusable(f"task {task.number} of {path.name}: {task.problem}")
    elif task.number in pngs:
        annotation = [(values[label], files.absolute(one)) for label, one in pngs[task.number]]
    return LabelledImage(files.absolute(image), split=split_of_folders(image), annotation=annotation)


def _draw(source: LabelledImage) -> np.ndarray:
    """Draw the regions of a task, later ones over earlier ones; of PNG files, whose order is lost, small over large."""
    if isinstance(source.annotation, Unusable):
        raise VocSegError(source.annotation.reason)
    if isinstance(source.annotation, list):
        size = mask_size(source.image, None, "")
        regions = ((value, _read_png(path, size)) for value, path in source.annotation)
        return draw_by_area(regions, np.zeros(size, np.uint8))
    name, task, values = source.annotation
    declared = next((region.size for region in task.regions if region.size), None)
    size = mask_size(source.image, declared, f"task {task.number} of {name}")
    mask = np.zeros(size, np.uint8)
    try:
        for region in task.regions:
            mask[region.pixels(size)] = values[region.label]
    except VocSegError as error:
        raise VocSegError(f"task {task.number} of {name}, {short_name(source.image)}: {error}") from error
    return mask


def _read_png(path: Path, size: tuple[int, int]) -> np.ndarray:
    pixels = read_image_file(path, "mask", lambda image: np.array(image.convert("L")))
    if pixels.shape != size:
        raise VocSegError(
            f"size: {short_name(path)} has {pixels.shape[1]} x {pixels.shape[0]} pixels, its image {size[1]} x "
            f"{size[0]}; import the images that were annotated"
        )
    return half_covered(pixels)


def _notes(counts: Counter[Counted], pngs: Mapping[str, _Pngs], others: Mapping[str, _Pngs]) -> list[str]:
    notes = [*count_notes(counts)]
    if pngs:
        notes.append("Where brush labels of PNG files overlap, the smaller one is on top.")
    files = [path.name for several in others.values() for _, path in several]
    return [*notes, *note_of(files, "PNG file", "ignored, the image of the task is not in the folder")]
