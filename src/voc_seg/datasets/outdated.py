"""Files that no longer describe what is being saved."""

from collections.abc import Mapping
from pathlib import Path

from voc_seg.system.atomic import resolve_links


class OutdatedFiles:
    """The option ``outdates`` of a dataset: files about its data, deleted before new data is saved.

    A run that is killed while it saves then leaves no scores of other masks, and no card of another model. Folders,
    which hold the versions of an entry with ``versioned: true``, stay.

    Args:
        outdates: By the name of their catalog entry, a mapping with its ``filepath``.
    """

    def __init__(self, outdates: Mapping[str, Mapping[str, str]] | None) -> None:
        self._paths = [Path(entry["filepath"]) for entry in (outdates or {}).values()]

    def delete(self) -> None:
        """Delete the files that exist; a link to one is kept."""
        for path in self._paths:
            delete_file(path)


def delete_file(path: Path) -> None:
    """Delete a file if it exists; a link to it stays, and a folder, which holds versions that earlier runs keep."""
    if not path.is_dir():
        resolve_links(path).unlink(missing_ok=True)
