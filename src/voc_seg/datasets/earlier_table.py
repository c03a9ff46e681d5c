"""An optional input table, left by an earlier run or written by another node of this run."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import TablePreview

from voc_seg.system.versions import newest_version

from .single_files import READ_CSV

logger = logging.getLogger(__name__)


def read_earlier_table(filepath: Path) -> pd.DataFrame:
    """The newest version of a Parquet or CSV file; an empty table if the file is missing or unreadable."""
    path = newest_version(filepath)
    if not path.is_file():
        return pd.DataFrame()
    try:
        if path.suffix == ".csv":
            return pd.read_csv(path, **READ_CSV)
        return pd.read_parquet(path)
    except Exception as error:  # readers raise many exception types on broken files
        logger.warning("%s cannot be read and is treated as missing: %s", path, error)
        return pd.DataFrame()


class EarlierTableDataset(AbstractDataset[None, pd.DataFrame]):
    """A Parquet or CSV file; an empty table if the file is missing or unreadable.

    A node may not read and write one entry, so the file has two: this one to read, another to write.

    Args:
        filepath: The file; ``.csv`` is read as CSV, anything else as Parquet.
        metadata: For Kedro-Viz.
    """

    IS_OPTIONAL = True

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        return read_earlier_table(self._filepath)

    def save(self, data: None) -> None:
        """Always an error."""
        raise DatasetError(f"{self._filepath} is written by another entry of the catalog.")

    def _exists(self) -> bool:
        return newest_version(self._filepath).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

    def preview(self, nrows: int = 10) -> TablePreview:
        """The first rows for Kedro-Viz."""
        return TablePreview(self.load().head(nrows).to_dict(orient="split"))
