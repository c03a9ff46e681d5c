"""The folder or table that ``voc_root`` names."""

import os
from pathlib import Path

from kedro.utils import find_kedro_project

from voc_seg.voc.splits import resolve_path


def resolve_root(voc_root: str) -> Path:
    """Return ``voc_root`` as an absolute path.

    A relative path that does not exist in the working directory is one of the project: notebooks run in another folder.
    """
    path = resolve_path(voc_root)
    if os.path.lexists(path) or Path(voc_root).expanduser().is_absolute():
        return path
    project = find_kedro_project(Path.cwd())
    inside = resolve_path(project / voc_root) if project else path
    return inside if os.path.lexists(inside) else path
