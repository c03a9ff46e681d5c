"""A table of images and masks: a CSV or Parquet file with the paths and the split of each image."""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import image_id_problem, listed, name_key

TABLE_ENDINGS = (".csv", ".parquet")
COLUMNS = ("image_id", "split", "image", "mask")
GROUP = "group"
SPLITS = ("train", "val", "test")
_WRITE_IT = "kedro import-data FOLDER --name NAME writes such a table."


def is_table(path: Path) -> bool:
    """Return whether a path has the ending of a table; it need not exist."""
    return path.suffix.lower() in TABLE_ENDINGS


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of images and masks.

    | column   | dtype | meaning                                                           |
    |----------|-------|-------------------------------------------------------------------|
    | image_id | str   | distinct id; file names of predictions begin with it              |
    | split    | str   | train, val, test, or empty: not used                              |
    | image    | str   | path of the image, absolute or relative to the folder of the table |
    | mask     | str   | path of its mask, likewise                                        |
    | group    | str   | optional: images of one group belong in one fold; empty for none  |

    Other columns are ignored.

    Raises:
        VocSegError: The table is missing or cannot be read, lacks a column, or a row has no path, an unknown split, an
            invalid id, or an id of another row.
    """
    if not path.is_file():
        raise VocSegError(f"The table of images {path} does not exist. {_WRITE_IT}")
    try:
        if path.suffix.lower() == ".csv":
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        else:
            table = pd.read_parquet(path).astype(object).fillna("").astype(str)
    except Exception as error:  # readers raise many exception types on malformed files
        raise VocSegError(f"The table of images {path} cannot be read: {error}. {_WRITE_IT}") from error
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise VocSegError(
            f"The table of images {path} has no column {', '.join(missing)}; its columns are: "
            f"{listed(list(table.columns))}. {_WRITE_IT}"
        )
    _require_valid(path, table[list(COLUMNS)])
    return table[[*COLUMNS, GROUP]] if GROUP in table.columns else table[list(COLUMNS)].assign(**{GROUP: ""})


def _require_valid(path: Path, table: pd.DataFrame) -> None:
    seen: dict[str, int] = {}
    rows: Sequence[tuple[str, str, str, str]] = list(table.itertuples(index=False, name=None))
    for number, (image_id, split, image, mask) in enumerate(rows, start=2):  # the header is line 1
        where = f"Row {number} of {path}"
        if problem := image_id_problem(image_id):
            raise VocSegError(f"{where} has the image_id {image_id!r}: {problem}. Give it another id.")
        if (twin := seen.setdefault(name_key(image_id), number)) != number:
            raise VocSegError(f"{where} has the image_id {image_id!r}, as row {twin}. Give one of them another id.")
        if split not in (*SPLITS, ""):
            raise VocSegError(f"{where} ({image_id}) has the split {split!r}: use {', '.join(SPLITS)} or nothing.")
        if not image or not mask:
            raise VocSegError(
                f"{where} ({image_id}) has no {'mask' if image else 'image'}: add its path or delete the row."
            )


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, groups only if there are any; the caller writes atomically."""
    has_groups = GROUP in table.columns and (table[GROUP] != "").any()
    table[[*COLUMNS, GROUP] if has_groups else list(COLUMNS)].to_csv(
        path, index=False, encoding="utf-8", lineterminator="\n"
    )


def table_paths(path: Path, stored: Sequence[str]) -> list[str]:
    """Return absolute paths of those in a table; ``~`` is the home folder."""
    folder = path.parent.resolve()
    join, expand = os.path.join, os.path.expanduser
    return [os.path.normpath(join(folder, expand(one))) for one in stored]
