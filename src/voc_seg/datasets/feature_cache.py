"""The folder of cached encoder features as a catalog entry."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from voc_seg.samples.feature_cache import FeatureCache


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

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}
