"""Tables and lists of images and masks: CSV, TSV, Parquet, or lines of two paths."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from voc_seg.system.errors import VocSegError
from voc_seg.voc.file_names import IMAGE_ENDINGS

from ..files import Files
from ..pairing.folder_names import IMAGE_WORDS, MASK_WORDS
from ..pairing.image_search import ImageSearch
from .text_files import first_line, read_lines, read_text

ENDINGS = (".csv", ".tsv", ".parquet", ".txt", ".lst", ".list")
_FILE_WORDS = frozenset({"file", "files", "filename", "path", "paths"})
_SPLIT_COLUMNS = ("split", "subset", "set", "partition", "phase", "fold", "usage")
_ID_COLUMNS = ("imageid", "id")
_SAMPLE = 20
"""Rows that are read to find out what a column holds."""
_MOST_LISTS = 20
"""A folder with more text files than this holds labels for each image, not lists."""
_DEEPEST = 3
_SEPARATOR = re.compile(r"\s*[,;\t|]\s*|\s+")


@dataclass(frozen=True)
class Row:
    """One line: what is written in it, and the files that were found."""

    image: Path | None
    mask: Path | None
    written: tuple[str, str]  # image and mask
    split: str = ""  # as written
    name: str = ""


@dataclass(frozen=True)
class PairTable:
    """A file of rows with an image and a mask each."""

    path: PurePosixPath
    rows: tuple[Row, ...]
    split_column: str = ""  # as written; empty if there is none


def find_tables(files: Files) -> list[PairTable]:
    """Return the tables and lists whose first rows have an image and a mask that exist."""
    search = ImageSearch(files)
    return [
        table
        for path in files.with_endings(ENDINGS)
        if len(path.parts) <= _DEEPEST
        and "imagesets" not in map(str.lower, path.parts)  # VOC's lists
        and (table := _read(files, path, search)) is not None
    ]


def _read(files: Files, path: PurePosixPath, search: ImageSearch) -> PairTable | None:
    ending = path.suffix.lower()
    if ending == ".parquet":
        return _read_parquet(files, path, search)
    lists = [one for one in files.folders[path.parent] if one.suffix.lower() == ending]
    if ending not in (".csv", ".tsv") and len(lists) > _MOST_LISTS:
        return None
    line = first_line(files.absolute(path))
    if _pair_of_line(line, path.parent, search):
        lines = read_lines(files.absolute(path))
        return PairTable(path, tuple(_row_of_line(line, path.parent, search) for line in lines))
    if ending not in (".csv", ".tsv"):
        return None
    delimiter = max(",;\t|", key=line.count)
    header = next(csv.reader([line], delimiter=delimiter), [])
    if not _columns(header, IMAGE_WORDS | _FILE_WORDS) or not _columns(header, MASK_WORDS):
        return None
    try:
        reader = csv.reader(io.StringIO(read_text(files.absolute(path))), delimiter=delimiter)
        rows = [row for row in reader if any(field.strip() for field in row)]
    except (csv.Error, VocSegError):
        return None  # fields longer than any path, or a file larger than any list
    filled = [[*row, *[""] * (len(header) - len(row))] for row in rows[1:]]
    return _table(path, header, filled, search)


def _read_parquet(files: Files, path: PurePosixPath, search: ImageSearch) -> PairTable | None:
    import pyarrow
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(files.absolute(path))
        simple = [
            name
            for name, kind in zip(schema.names, schema.types)
            if pyarrow.types.is_primitive(kind) or pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
            or pyarrow.types.is_dictionary(kind)
        ]  # fmt: skip
        if not _columns(simple, IMAGE_WORDS | _FILE_WORDS) or not _columns(simple, MASK_WORDS):
            return None
        columns = parquet.read_table(files.absolute(path), columns=simple).to_pydict()
    except (OSError, pyarrow.ArrowException):
        return None  # no Parquet file, whatever its ending
    texts = [["" if value is None else str(value) for value in columns[name]] for name in simple]
    return _table(path, simple, [list(row) for row in zip(*texts)], search)


def _table(
    path: PurePosixPath, header: Sequence[str], rows: Sequence[Sequence[str]], search: ImageSearch
) -> PairTable | None:
    """Return the table if a column holds existing images and another one existing masks."""

    def holds_files(column: int) -> bool:
        written = [row[column] for row in rows if row[column].strip()][:_SAMPLE]
        return any(search.find_unique(text, path.parent) for text in written)

    masks = [column for column in _columns(header, MASK_WORDS) if holds_files(column)]
    images = [
        column
        for column in _columns(header, IMAGE_WORDS | _FILE_WORDS)
        if column not in _columns(header, MASK_WORDS) and holds_files(column)
    ]
    if not images or not masks:
        return None
    image, mask = images[0], masks[0]
    split = _first_column(header, _SPLIT_COLUMNS)
    names = _first_column(header, _ID_COLUMNS)
    distinct = names is not None and len({row[names].strip() for row in rows} - {""}) == len(rows)
    return PairTable(
        path,
        tuple(
            Row(
                search.find_unique(row[image], path.parent),
                search.find_unique(row[mask], path.parent),
                (row[image].strip(), row[mask].strip()),
                "" if split is None else row[split].strip(),
                row[names].strip() if distinct and names is not None else "",
            )
            for row in rows
        ),
        "" if split is None else header[split].strip(),
    )


def _columns(header: Sequence[str], words: frozenset[str]) -> list[int]:
    """Return the columns whose name has one of these words: ``image``, ``imagePath``, ``sat_image_path``."""
    return [column for column, name in enumerate(header) if words & set(_words(name))]


def _words(name: str) -> Iterator[str]:
    for word in re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()):
        ends = (end for end in ("filename", "path", "file", "name") if word.endswith(end) and word != end)
        yield word.removesuffix(next(ends, ""))


def _first_column(header: Sequence[str], names: Sequence[str]) -> int | None:
    plain = [re.sub(r"[\W_]+", "", name).lower() for name in header]
    return next((plain.index(name) for name in names if name in plain), None)


def _row_of_line(line: str, folder: PurePosixPath, search: ImageSearch) -> Row:
    if (pair := _pair_of_line(line, folder, search)) is not None:
        return pair
    parts = _SEPARATOR.split(line)
    image, mask = parts[0], parts[1] if len(parts) > 1 else ""
    return Row(search.find_unique(image, folder), search.find_unique(mask, folder), (image, mask))


def _pair_of_line(line: str, folder: PurePosixPath, search: ImageSearch) -> Row | None:
    """Return the row of a line with two paths of existing images; paths may hold blanks."""
    if line.lower().count(".") < 2:
        return None
    for cut in _SEPARATOR.finditer(line):
        written = line[: cut.start()].strip("\"' "), line[cut.end() :].strip("\"' ")
        if all(text.lower().endswith(IMAGE_ENDINGS) for text in written):
            image, mask = (search.find_unique(text, folder) for text in written)
            if image and mask and image != mask:
                return Row(image, mask, written)
    return None
