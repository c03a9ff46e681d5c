"""Files of which ``versioned: true`` in the catalog keeps one a run."""

from glob import escape
from pathlib import Path


def newest_version(path: Path) -> Path:
    """The file of an entry: the path itself, or its newest version (``a.csv/<time>/a.csv``) where that is a folder."""
    if not path.is_dir():
        return path
    return max(path.glob(f"*/{escape(path.name)}"), default=path)
