"""JSON files of annotation tools."""

import json
from pathlib import Path
from typing import Any

from voc_seg.system.errors import VocSegError
from voc_seg.voc.file_checks import LFS_POINTER, require_file, short_name


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8 or UTF-16, with or without BOM. Raises VocSegError if it cannot be read."""
    name = short_name(path)
    try:
        require_file(path)
        data = path.read_bytes()
        if data.startswith(LFS_POINTER):
            raise VocSegError(f"Git LFS pointer instead of JSON: {name}; fetch the files with: git lfs pull")
        return json.loads(data)
    except OSError as error:
        raise VocSegError(f"unreadable JSON: {name} ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        empty = "" if path.stat().st_size else ", the file is empty"
        raise VocSegError(f"damaged JSON: {name} ({error}{empty}); export it again") from error


def rows_of(stored: object) -> list[dict[str, Any]]:
    """Return the objects in a list of a JSON file; none if it is not a list."""
    return [one for one in stored if isinstance(one, dict)] if isinstance(stored, list) else []
