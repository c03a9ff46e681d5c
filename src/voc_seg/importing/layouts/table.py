"""A table or list of image and mask paths: CSV, TSV or Parquet with columns, or lines of two paths.

Lists of two paths are those of PaddleSeg (docs/data/custom/data_prepare.md) and of the scripts that convert
Cityscapes for mmsegmentation.
"""

from collections.abc import Sequence

from voc_seg.system.errors import VocSegError
from voc_seg.system.names import counted, listed, printable

from ..files import Files
from ..formats.class_files import find_class_file
from ..formats.pair_tables import PairTable, Row, find_tables
from ..layout import Found, LabelledImage
from ..notes import examples
from ..pairing.folder_names import SPLIT_WORDS, split_of_name

TITLE = "a table or list of image and mask paths (CSV, TSV, Parquet, TXT)"
SPECIFIC = True

_ORDER = ("", "train", "val", "test")


def find(files: Files) -> Found | None:
    """Find the pairs of a table, or of one table a split: ``train.csv`` and ``val.csv``."""
    tables = find_tables(files)
    if not tables:
        return None
    named = [table for table in tables if split_of_name(table.path.stem)]
    used = named or tables
    if not named and len(tables) > 1:
        raise VocSegError(
            f"{files.root} has several tables of images and masks: {examples([table.path for table in tables])}. Keep "
            "one of them, or name them train, val and test."
        )
    notes = [
        f"The table {table.path} is not used, since there are tables of splits."
        for table in tables
        if table not in used
    ]
    rows: list[tuple[Row, str]] = []
    for table in sorted(used, key=lambda one: _ORDER.index(split_of_name(one.path.stem))):
        splits, unknown = _splits(table)
        rows += zip(table.rows, splits)
        notes += unknown
    images, unlabelled, more = _pairs(rows)
    listed_files = {path for row, _ in rows for path in (row.image, row.mask)}
    if others := [path for path in files.images if files.absolute(path) not in listed_files]:
        more.append(f"{counted(len(others), 'image is', 'images are')} in no table and not used: {examples(others)}.")
    classes = find_class_file(files, used[0].path.parent)
    return Found(
        tuple(images),
        classes.values,
        classes.colours,
        unlabelled=tuple(row.image for row in unlabelled if row.image),
        notes=(*notes, *more, *classes.notes),
    )


def _splits(table: PairTable) -> tuple[list[str], list[str]]:
    """Return the split of each row: that of its column, else that in the name of the table."""
    named = split_of_name(table.path.stem)
    splits = [SPLIT_WORDS.get(row.split.lower(), "" if row.split else named) for row in table.rows]
    unknown = sorted({row.split for row in table.rows if row.split and row.split.lower() not in SPLIT_WORDS})
    if not unknown:
        return splits, []
    if not any(splits):
        splits = [named] * len(splits)
    return splits, [
        f"The column {printable(table.split_column)} of {table.path} has values that are not splits: "
        f"{printable(listed(unknown))}."
    ]


def _pairs(rows: Sequence[tuple[Row, str]]) -> tuple[list[LabelledImage], list[Row], list[str]]:
    """Return the pairs, rows without a mask, and notes on rows that are not used."""
    found: dict[object, LabelledImage] = {}
    unlabelled, missing, repeated, conflicting = [], [], [], []
    for row, split in rows:
        if row.image is None:
            missing.append(row.written[0] or "(no path)")
        elif row.mask is None or row.mask == row.image:
            unlabelled.append(row)
            missing += [row.written[1]] if row.written[1] else []
        elif (earlier := found.get(row.image)) is None:
            found[row.image] = LabelledImage(row.image, row.mask, split, name=row.name)
        elif earlier.mask == row.mask:
            repeated.append(row.written[0])
            if _ORDER.index(split) > _ORDER.index(earlier.split):  # training must not see it
                found[row.image] = LabelledImage(row.image, row.mask, split, name=row.name)
        else:
            conflicting.append(row.written[0])
    notes = [
        f"{counted(len(texts), one, several)}: {printable(listed(texts, 3))}."
        for texts, one, several in (
            (missing, "file of the table does not exist", "files of the table do not exist"),
            (repeated, "row repeats an image, which is used once", "rows repeat an image, which is used once"),
            (conflicting, "row has another mask for the same image and is not used",
             "rows have another mask for the same image and are not used"),
        )
        if texts
    ]  # fmt: skip
    lone = {row.image: row for row in unlabelled if row.image not in found}
    return list(found.values()), list(lone.values()), notes
