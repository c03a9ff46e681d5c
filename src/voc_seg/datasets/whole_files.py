"""kedro-datasets' tables, JSON and figures, written so that a file is there whole or not at all."""

from pathlib import Path, PurePosixPath
from typing import Any

from kedro_datasets import json, matplotlib, pandas

from voc_seg.atomic import replacing


class _WholeFile:
    """Saves beside the file and lets it take its place at the end; object stores do so by themselves."""

    _filepath: PurePosixPath
    _protocol: str

    def save(self, data: Any) -> None:
        write = super().save.__wrapped__  # type: ignore[misc]  # Kedro's wrapper would hide what the system says
        if self._protocol != "file":
            write(self, data)
            return
        path = self._filepath
        with replacing(Path(path)) as partial:
            self._filepath = PurePosixPath(partial.as_posix())
            try:
                write(self, data)
            finally:
                self._filepath = path


class CSVDataset(_WholeFile, pandas.CSVDataset):
    """A table as CSV."""


class ParquetDataset(_WholeFile, pandas.ParquetDataset):
    """A table as Parquet."""


class JSONDataset(_WholeFile, json.JSONDataset):
    """Plain values as JSON."""


class MatplotlibDataset(_WholeFile, matplotlib.MatplotlibDataset):
    """One figure as PNG."""
