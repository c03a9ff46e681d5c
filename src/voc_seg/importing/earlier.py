"""What an earlier import of the same name wrote, and people may have edited: the split of each image."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from voc_seg.system.atomic_folder import is_written_folder
from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted, listed
from voc_seg.voc.table import read_table, table_paths

from .files import Files
from .inspect import PairFacts


@dataclass(frozen=True)
class EarlierTable:
    """Splits of an earlier ``images.csv``; an empty split leaves the image out."""

    by_image: dict[str, tuple[str, str]] = field(default_factory=dict)  # id and split by absolute path

    def splits(self, facts: Iterable[PairFacts]) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return the earlier splits by today's image ids, and a note if images have disappeared.

        Ids change when another folder has a file of the same name, so images are recognised by path; by id only those
        that have been moved.
        """
        here = [(one.image_id, str(one.source.image)) for one in facts]
        paths = {path for _, path in here}
        moved = {image_id: split for path, (image_id, split) in self.by_image.items() if path not in paths}
        splits = {}
        for image_id, path in here:
            if path in self.by_image:
                splits[image_id] = self.by_image[path][1]
            elif image_id in moved:
                splits[image_id] = moved.pop(image_id)
        if not moved:
            return splits, ()
        count = counted(len(moved), "image")
        return splits, (f"No longer in the folder: {count} of the earlier import, {listed(sorted(moved), 3)}.",)


def read_earlier_table(path: Path) -> EarlierTable:
    """Read the table of an earlier import; an empty one if there was none. Raises VocSegError for any other file."""
    if not os.path.lexists(path):
        return EarlierTable()
    try:
        table = read_table(path)
    except VocSegError as error:
        reason = str(error).partition(" kedro import-data FOLDER")[0]
        raise VocSegError(
            f"{reason} An import would replace this file. Repair it, or delete or rename it to make new splits."
        ) from error
    ids, splits, images = (table[name].tolist() for name in ("image_id", "split", "image"))
    return EarlierTable(dict(zip(table_paths(path, images), zip(ids, splits))))


def without_own_files(project: Path, files: Files) -> Files:
    """Leave out what imports wrote: their tables and masks say nothing about images that were added since."""
    raw = (project / "data" / "01_raw").resolve()
    tables = {files.absolute(path) for path in files.named("images.csv")}
    own = {one for one in tables if one.parent.parent == raw and (project / "conf" / one.parent.name).is_dir()}
    drawn = {one.parent / "masks" for one in own if is_written_folder(one.parent / "masks")}
    kept = [path for path in files if not own.union(drawn) & {files.absolute(path), files.absolute(path).parent}]
    return Files(files.root, tuple(kept)) if kept else files
