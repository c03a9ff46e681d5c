"""The folder of cached encoder features as a catalog entry."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview
from rich.filesize import decimal

from voc_seg.samples.feature_cache import FeatureCache

from .previews import table_preview


class FeatureCacheDataset(AbstractDataset[None, FeatureCache]):
    """Loads a :class:`FeatureCache`: training with ``training.frozen_stages=all`` reads and fills it.

    Features depend on settings that only the node knows and take gigabytes, so they cannot be an output that Kedro
    saves. Other trainings never touch the folder.

    Args:
        filepath: The folder; it may be missing.
        metadata: For Kedro-Viz.
    """

    IS_OPTIONAL = True

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def load(self) -> FeatureCache:
        return FeatureCache(self._folder)

    def save(self, data: None) -> None:
        """Always an error."""
        raise DatasetError(f"{self._folder} is filled by the training itself.")

    def preview(self) -> TablePreview:
        """Size of every folder of features, for Kedro-Viz; any of them may be deleted."""
        folders = sorted(path for path in self._folder.glob("*") if path.is_dir())
        sizes = [sum(file.stat().st_size for file in folder.glob("*.arrow")) for folder in folders]
        return table_preview(["folder", "size"], [[path.name, decimal(size)] for path, size in zip(folders, sizes)])

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}
