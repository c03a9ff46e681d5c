"""A folder of files as one catalog entry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview
from rich.filesize import decimal

from voc_seg.system.atomic_folder import atomic_write_folder, delete_written_files, recover_folder

from .previews import table_preview


class FolderOfFiles:
    """What datasets share whose entry is a folder of files: how they are listed and shown."""

    _folder: Path

    def _files(self) -> list[Path]:
        recover_folder(self._folder)
        return sorted(path for path in self._folder.glob("[!.]*") if path.is_file())

    def _exists(self) -> bool:
        return bool(self._files())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}

    def preview(self) -> TablePreview:
        """Names and sizes."""
        return table_preview(["file", "size"], [[path.name, decimal(path.stat().st_size)] for path in self._files()])


class FilesDataset(FolderOfFiles, AbstractDataset[Mapping[str, bytes], dict[str, bytes]]):
    """Files by name, all replaced together. Saving none deletes those of an earlier run; other files stay.

    Args:
        filepath: The folder.
        metadata: For Kedro-Viz.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def save(self, data: Mapping[str, bytes]) -> None:
        if not data:
            delete_written_files(self._folder)
            return
        with atomic_write_folder(self._folder) as folder:
            for name, content in data.items():
                (folder / name).write_bytes(content)

    def load(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self._files()}
