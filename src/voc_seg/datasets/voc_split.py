"""The raw data of one split: made or downloaded when first asked for."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview

from voc_seg.voc.download import fetch
from voc_seg.voc.splits import VOCSplit, find_voc_folder, read_split, source_named


class VOCSplitDataset(AbstractDataset[None, VOCSplit]):
    """Ids and file paths of one split of PASCAL VOC; read-only.

    Without ``voc_root`` the data lies in ``<filepath>/<source>``: drawn or downloaded by the first load. With
    it that VOCdevkit is read as it is, and nothing is ever fetched or written.

    ```yaml
    train_split:
      type: voc_seg.datasets.VOCSplitDataset
      source: voc2012
      split: train
      filepath: data/01_raw
      voc_root: ${runtime_params:voc_root,null}
    ```

    Args:
        source: sample, voc2012, voc2007 or voc2012_aug.
        split: train, val or test.
        filepath: Folder of raw data, one subfolder a source. Kedro resolves it against the project.
        voc_root: A VOCdevkit, what contains it, or a ``VOC<year>`` folder; relative to the working directory.
        metadata: For Kedro-Viz.
    """

    def __init__(
        self,
        source: str,
        split: str,
        filepath: str = "data/01_raw",
        voc_root: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._source = source_named(source)
        self._split = split
        self._folder = Path(filepath) / source
        self._voc_root = Path(voc_root).expanduser().resolve() if voc_root else None
        self.metadata = metadata

    def load(self) -> VOCSplit:
        """The split; without ids where its masks are not public.

        Raises:
            DatasetError: From a `VocSegError`: the data is not there, cannot be had, or has no such list.
        """
        if self._voc_root is None:
            fetch(self._source.name, self._folder)
        return self._read()

    def _read(self) -> VOCSplit:
        voc_folder = find_voc_folder(self._voc_root or self._folder, self._source.year)
        return read_split(voc_folder, self._source.name, self._split)

    def save(self, data: None) -> None:
        """Always an error."""
        raise DatasetError(
            f"{self._source.name} {self._split} is raw data, which voc_seg only reads. "
            "Save into a dataset of another layer."
        )

    def _exists(self) -> bool:
        # Whatever is not there yet is made by the first load.
        return True

    def _describe(self) -> dict[str, Any]:
        return {
            "source": self._source.name,
            "split": self._split,
            "filepath": str(self._voc_root or self._folder),
        }

    def preview(self, nrows: int = 10) -> TablePreview:
        """The first ids and files for Kedro-Viz; never fetches anything."""
        split = self._read()
        columns = ["image_id", "image", "mask"]
        rows = [[name, str(split.image_path(name)), str(split.mask_path(name))] for name in split.ids[:nrows]]
        return TablePreview({"index": list(range(len(rows))), "columns": columns, "data": rows})
