"""Files of catalog entries with ``versioned: true``, which keeps one per run."""

from glob import escape
from pathlib import Path


def newest_version(path: Path) -> Path:
    """Return the file of an entry: the path itself, or the newest ``a.csv/<time>/a.csv`` if it is a folder."""
    if not path.is_dir():
        return path
    return max(path.glob(f"*/{escape(path.name)}"), default=path)
