"""The folder or table that ``voc_root`` names."""

import os
from pathlib import Path

from kedro.utils import find_kedro_project

from voc_seg.voc.splits import resolve_path


def resolve_root(voc_root: str, filepath: str | Path) -> Path:
    """Return ``voc_root`` as an absolute path.

    A relative path that does not exist in the working directory is one of the project, that of ``filepath`` or of the
    working directory: notebooks and scripts run in another folder.
    """
    path = resolve_path(voc_root)
    if os.path.lexists(path) or Path(voc_root).expanduser().is_absolute():
        return path
    for start in (Path(filepath).absolute().parent, Path.cwd()):
        if (project := find_kedro_project(start)) and os.path.lexists(inside := resolve_path(project / voc_root)):
            return inside
    return path
