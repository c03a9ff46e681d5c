"""Tables, JSON, text, figures and plain bytes, written atomically."""

import html
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset, DatasetError
from kedro.io.core import get_filepath_str
from kedro_datasets import json, matplotlib, pandas, text
from kedro_datasets._typing import HTMLPreview, TablePreview
from matplotlib.figure import Figure
from pandas.api import types as pd_types
from PIL import Image
from rich.filesize import decimal

from voc_seg.system.atomic import atomic_write
from voc_seg.system.errors import VocSegError
from voc_seg.system.plain_values import without_nan
from voc_seg.system.versions import newest_version

from .outdated import OutdatedFiles, delete_file
from .versions import OwnVersion

READ_CSV: dict[str, Any] = {
    "keep_default_na": False,
    "na_values": [""],  # what pandas writes for a missing value
}
"""How tables are read, so that an id or a class may be called ``NA``."""


class _AtomicFile(OwnVersion):
    """Writes a temporary file and renames it; object stores are atomic by themselves."""

    _filepath: PurePosixPath
    _protocol: str
    _init_args: dict[str, Any]  # Kedro notes them

    def load(self) -> Any:
        path = Path(self._filepath)
        if self._protocol == "file" and path.exists() and not (path.is_file() or path.is_dir()):
            raise VocSegError(f"{path} is a pipe, a socket or a device, not a file. Move it away and run again.")
        return super().load()  # type: ignore[misc]

    def save(self, data: Any) -> None:
        write = super().save.__wrapped__  # type: ignore[misc]  # Kedro's wrapper would hide the system's error
        if self._protocol != "file":
            write(self, data)
            return
        path, version = self._filepath, self._version
        with atomic_write(self._target()) as partial:
            self._filepath, self._version = PurePosixPath(partial.as_posix()), None
            try:
                write(self, data)
            finally:
                self._filepath, self._version = path, version
        self._remember_version()

    def _init_config(self) -> dict[str, Any]:
        """The entry as in a catalog file; Kedro records arguments of an inherited ``__init__`` as ``kwargs``."""
        arguments = self._init_args
        self._init_args = {**arguments.pop("kwargs", {}), **{k: v for k, v in arguments.items() if k != "args"}}
        return super()._init_config()  # type: ignore[misc]


class CSVDataset(_AtomicFile, pandas.CSVDataset):
    """A table as CSV; only an empty cell is a missing value."""

    DEFAULT_LOAD_ARGS = READ_CSV


class OptionalCSVDataset(CSVDataset):
    """A table as CSV; saving an empty one deletes the file, so that an old one is not mistaken for this run's."""

    def save(self, data: pd.DataFrame) -> None:
        if not data.empty:
            super().save(data)
        elif self._protocol == "file":
            delete_file(Path(self._filepath))

    def load(self) -> pd.DataFrame:
        return super().load() if self.exists() else pd.DataFrame()


class ParquetDataset(_AtomicFile, pandas.ParquetDataset):
    """A table as Parquet; cells may be lists."""

    def preview(self, nrows: int = 5) -> TablePreview:
        """The first rows, for Kedro-Viz, with lists as text: it cannot write arrays, and long ones fill a screen."""
        table = self.load().head(nrows)
        for name in table.columns[[cells.map(pd_types.is_list_like).any() for _, cells in table.items()]]:
            table[name] = table[name].map(_shortened)
        return TablePreview(table.to_dict(orient="split"))


def _shortened(cell: Any, most: int = 6) -> str:
    if not pd_types.is_list_like(cell):
        return str(cell)
    shown = ", ".join(str(value) for value in list(cell)[:most])
    return shown if len(cell) <= most else f"{shown}, … ({len(cell)} values)"


class JSONDataset(_AtomicFile, json.JSONDataset):
    """Plain values as JSON, with null for NaN: other readers of JSON refuse a NaN."""

    def save(self, data: Any) -> None:
        super().save(without_nan(data))


class OptionalJSONDataset(JSONDataset):
    """Plain values as JSON; an empty dict if the file is missing, for nodes with an optional input."""

    IS_OPTIONAL = True
    """A run that only reads it does not need it; for ``--only-missing-outputs`` it still counts as missing."""

    def load(self) -> Any:
        try:
            return super().load() if self.exists() else {}
        except DatasetError as error:
            raise VocSegError(
                f"{self._filepath} is damaged ({error.__cause__}). Delete it, or recreate it with the pipeline that "
                "writes it."
            ) from error


class OptionalParquetDataset(ParquetDataset):
    """A table as Parquet; an empty table if the file is missing, for nodes with an optional input."""

    IS_OPTIONAL = True

    def load(self) -> pd.DataFrame:
        return super().load() if self.exists() else pd.DataFrame()


class TextDataset(_AtomicFile, text.TextDataset):
    """A text."""

    def preview(self) -> HTMLPreview:
        """The plain text, for Kedro-Viz."""
        return HTMLPreview(f"<pre style='white-space: pre-wrap'>{html.escape(self.load())}</pre>")


class BytesDataset(AbstractDataset[bytes, bytes]):
    """A file as bytes. Saving empty bytes removes the file, so that an old one is not mistaken for this run's.

    Args:
        filepath: The file.
        outdates: Files to delete before saving, see `OutdatedFiles`.
        metadata: For Kedro-Viz.
    """

    def __init__(
        self,
        *,
        filepath: str,
        outdates: dict[str, dict[str, str]] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._filepath = Path(filepath)
        self._outdated = OutdatedFiles(outdates)
        self.metadata = metadata

    def save(self, data: bytes) -> None:
        self._outdated.delete()
        if not data:
            delete_file(self._filepath)
            return
        with atomic_write(self._filepath, size=len(data)) as partial:
            partial.write_bytes(data)

    def load(self) -> bytes:
        path = newest_version(self._filepath)
        return path.read_bytes() if path.is_file() else b""

    def _exists(self) -> bool:
        return newest_version(self._filepath).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}

    def preview(self) -> TablePreview:
        """Name and size, for Kedro-Viz."""
        row = [self._filepath.name, decimal(self._filepath.stat().st_size)]
        return TablePreview({"index": [0], "columns": ["file", "size"], "data": [row]})


class MatplotlibDataset(_AtomicFile, matplotlib.MatplotlibDataset):
    """One figure as PNG; loads as an image. Saving an empty list leaves the file as it is."""

    def save(self, data: Figure | list[Figure]) -> None:
        if data != []:
            super().save(data)

    def load(self) -> Image.Image:
        with self._fs.open(get_filepath_str(self._get_load_path(), self._protocol), "rb") as file:
            image = Image.open(file)
            image.load()
        return image
