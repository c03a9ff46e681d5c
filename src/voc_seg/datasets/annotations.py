"""Masks as JSON files of annotation tools, as a catalog entry."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import IO, Any, NamedTuple

import numpy as np
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview

from voc_seg.importing.formats.annotations import (
    coco_annotations,
    coco_categories,
    exported_classes,
    labelme_document,
    labelme_labels,
)
from voc_seg.system.atomic import resolve_links, unused_path
from voc_seg.system.atomic_folder import atomic_write_folder, delete_written_files, edited_files, recover_folder
from voc_seg.system.progress import progress_bar

from .previews import table_preview

logger = logging.getLogger(__name__)

_COCO = "coco.json"


class Annotations(NamedTuple):
    """Masks to write."""

    formats: tuple[str, ...]  # labelme, coco; none deletes those of an earlier run
    images: Mapping[str, Path]  # file of each image, by name
    masks: Mapping[str, np.ndarray]  # ``uint8 (H, W)``, each read on access; names without a mask are skipped
    classes: tuple[str, ...]  # names by mask value


class AnnotationsDataset(AbstractDataset[Annotations, list[Path]]):
    """Masks for annotation tools: ``labelme/<name>.json`` and ``coco.json``; loads the paths of the files.

    Saving replaces the files of an earlier run; without a format or an image it deletes them. Those that were changed
    since are renamed and kept, as they may be corrections. One mask is in memory at a time.

    Args:
        filepath: The folder.
        metadata: For Kedro-Viz.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def save(self, data: Annotations) -> None:
        self._keep_edited()
        if not (data.formats and data.images):
            delete_written_files(self._folder)
            return
        classes = exported_classes(data.classes)
        images = _relative_to_common(data.images)
        with (
            atomic_write_folder(self._folder) as folder,
            _coco(folder / _COCO if "coco" in data.formats else None, classes) as coco,
            progress_bar("exporting masks", len(data.images)) as advance,
        ):
            labelme = folder / "labelme" if "labelme" in data.formats else None
            if labelme:
                labelme.mkdir()
                (labelme / "labels.txt").write_text(labelme_labels(classes), encoding="utf-8")
            for name, path in data.images.items():
                advance(1)
                if name not in data.masks:
                    continue
                mask = data.masks[name]
                if labelme:
                    document = labelme_document(mask, classes, _relative(path, self._folder / labelme.name))
                    (labelme / f"{name}.json").write_text(_json(document), encoding="utf-8")
                if coco:
                    coco.add(images[name], mask, classes)

    def _keep_edited(self) -> None:
        recover_folder(self._folder)
        for path in edited_files(self._folder):
            kept = unused_path(path)
            path.rename(kept)
            logger.warning("%s was changed since it was written. It is now %s", path, kept.name)

    def load(self) -> list[Path]:
        if not self._exists():
            raise DatasetError(
                f"No annotations in {self._folder}. Make them with: kedro run --pipelines inference "
                "--params inference.images=PATH,inference.formats=labelme"
            )
        return sorted(self._folder.rglob("*.json"))

    def _exists(self) -> bool:
        recover_folder(self._folder)
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}

    def preview(self, nrows: int = 20) -> TablePreview:
        """The first files, for Kedro-Viz."""
        paths = self.load() if self._exists() else []
        rows = [[path.relative_to(self._folder).as_posix(), path.stat().st_size] for path in paths[:nrows]]
        return table_preview(["file", "bytes"], rows)


class _CocoFile:
    """COCO's instances, written image by image; only the list of images is kept in memory, and written last."""

    def __init__(self, file: IO[str], classes: Mapping[int, str]) -> None:
        self._file = file
        self._images: list[dict[str, Any]] = []
        self._count = 0
        start = {"info": {"description": "masks predicted by voc_seg"}, "licenses": []}
        head = _json(start | {"categories": coco_categories(classes)})
        file.write(head.removesuffix("}") + ',"annotations":[')

    def add(self, image: PurePath, mask: np.ndarray, classes: Mapping[int, str]) -> None:
        """Write the regions of an image."""
        number = len(self._images) + 1
        height, width = mask.shape
        self._images.append({"id": number, "file_name": image.as_posix(), "width": width, "height": height})
        for annotation in coco_annotations(mask, classes):
            self._file.write("," if self._count else "")
            self._count += 1
            self._file.write(_json({"id": self._count, "image_id": number} | annotation))

    def close(self) -> None:
        """Write the images."""
        self._file.write(f'],"images":{_json(self._images)}}}')


@contextmanager
def _coco(path: Path | None, classes: Mapping[int, str]) -> Iterator[_CocoFile | None]:
    if path is None:
        yield None
        return
    with path.open("w", encoding="utf-8") as file:
        coco = _CocoFile(file, classes)
        yield coco
        coco.close()


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _relative(image: Path, folder: Path) -> PurePath:
    """The path of an image as labelme joins it to the folder of its JSON file; absolute if on another drive."""
    path = resolve_links(image.parent) / image.name
    try:
        return PurePath(os.path.relpath(path, resolve_links(folder)))
    except ValueError:
        return path


def _relative_to_common(images: Mapping[str, Path]) -> dict[str, PurePath]:
    """The path of each image below the folder that holds them all."""
    absolute = {name: path.absolute() for name, path in images.items()}
    common = os.path.commonpath([path.parent for path in absolute.values()])
    return {name: path.relative_to(common) for name, path in absolute.items()}
