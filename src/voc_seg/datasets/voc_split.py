"""The raw data of one split, drawn or downloaded on first load."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import ImagePreview
from PIL import Image, UnidentifiedImageError

from voc_seg.download.archives import parse_archives
from voc_seg.download.fetch import fetch
from voc_seg.importing.datasets import how_to_get
from voc_seg.system.errors import VocSegError
from voc_seg.voc.sources import data_name, source_named
from voc_seg.voc.splits import VOCSplit, find_voc_folder, read_split, resolve_path
from voc_seg.voc.table import is_table

from .data_root import resolve_root
from .earlier_table import read_earlier_table
from .previews import contact_sheet


class VOCSplitDataset(AbstractDataset[None, VOCSplit]):
    """Ids and file paths of one split of PASCAL VOC; read-only.

    Without ``voc_root`` the data is under ``filepath``; the first load draws it, or downloads and unpacks it. With
    ``voc_root`` that VOCdevkit is only read, and nothing is fetched or written.

    ```yaml
    train_split:
      type: voc_seg.datasets.VOCSplitDataset
      source: voc2012
      split: train
      filepath: data/01_raw
      voc_root: ${runtime_params:voc_root,null}
      archives: ${globals:archives}
      index:
        filepath: data/02_intermediate/train_index.parquet
    ```

    Args:
        source: sample, voc2012, voc2007, voc2012_aug or own.
        split: train, val or test.
        filepath: Folder of raw data, with subfolders by source. Kedro resolves it against the project.
        voc_root: A VOCdevkit, what contains it, a ``VOC<year>`` folder, or for ``own`` a table of images
            (`voc_seg.voc.table`); relative to the working directory or the project.
        voc_archive: A downloaded archive, or a folder of them, to unpack instead of downloading.
        archives: For each file name its ``md5`` and ``addresses``.
        index: Its ``filepath`` is the index of this split. The one of an earlier run comes with the split, so that
            unchanged files need not be read again.
        metadata: For Kedro-Viz.
    """

    def __init__(
        self,
        source: str,
        split: str,
        filepath: str = "data/01_raw",
        voc_root: str | None = None,
        voc_archive: str | None = None,
        archives: Mapping[str, Any] | None = None,
        index: dict[str, str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._source = source_named(source)
        self._split = split
        self._folder = Path(filepath) / self._source.home
        self._voc_root = resolve_root(voc_root, filepath) if voc_root else None
        self._voc_archive = resolve_path(voc_archive) if voc_archive else None
        self._archives = archives or {}
        self._index = Path(index["filepath"]) if index else None
        self.metadata = metadata

    def load(self) -> VOCSplit:
        """The split; without ids where its masks are not public.

        Raises:
            DatasetError: From a `VocSegError`: the data is missing, cannot be fetched, or has no such list.
        """
        if self._voc_root is not None:
            if self._voc_archive is not None:
                raise VocSegError(
                    f"With voc_root ({self._voc_root}), voc_archive ({self._voc_archive}) would be ignored: give only "
                    "one of them."
                )
            folder = find_voc_folder(self._voc_root, self._source.year)
            if is_table(folder) and not folder.exists():
                name = folder.parent.name
                advice = how_to_get(name) or f"Write it with: kedro import-data FOLDER --name {name}"
                raise VocSegError(f"There is no table of images {folder}. {advice}")
        else:
            archives = parse_archives(self._archives)
            folder = fetch(self._source.name, self._folder, archives, self._voc_archive)
        split = read_split(folder, self._source.name, self._split)
        return replace(split, read_index=partial(read_earlier_table, self._index)) if self._index else split

    def data_name(self) -> str:
        """What people call the data, as `Origin.name` of its samples; only the source if the folder cannot be found."""
        source = self._source
        try:
            folder = find_voc_folder(self._voc_root or self._folder, source.year)
        except VocSegError:
            return source.name
        images = folder if is_table(folder) else folder / "JPEGImages"
        return data_name(source.name, images.resolve().parent)

    def save(self, data: None) -> None:
        """Always an error."""
        raise DatasetError(
            f"{self._source.name} {self._split} is raw data, which voc_seg only reads. "
            "Save into a dataset of another layer."
        )

    def _exists(self) -> bool:
        # The first load creates missing data.
        return True

    def _describe(self) -> dict[str, Any]:
        return {
            "source": self._source.name,
            "split": self._split,
            "filepath": str(self._voc_root or self._folder),
        }

    def preview(self, images: int = 8) -> ImagePreview:
        """The first images, each with its mask, for Kedro-Viz; never fetches anything."""
        folder = find_voc_folder(self._voc_root or self._folder, self._source.year)
        split = read_split(folder, self._source.name, self._split)
        paths = [path for name in split.ids[:images] for path in (split.image_path(name), split.mask_path(name))]
        return contact_sheet(_opened(path) for path in paths if path.is_file())


def _opened(path: Path) -> Image.Image:
    """An image for a preview; plain grey if it has more bands than Pillow reads."""
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        return Image.new("RGB", (4, 3), (230, 230, 230))
