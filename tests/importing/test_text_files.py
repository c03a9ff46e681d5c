"""Text files of other tools are read in any usual encoding, and nothing else is read as text."""

import os
from pathlib import Path

import pytest

from voc_seg.importing.formats.class_files import read_colour_names
from voc_seg.importing.formats.text_files import first_line, first_words, read_head, read_lines, read_text
from voc_seg.system.errors import VocSegError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\r\n# Bäume\r\n\r\n Bäume 1 \r\nStraße 2".encode(encoding))
    assert read_lines(path) == ["# Bäume", "Bäume 1", "Straße 2"]
    assert read_lines(path, comment="#") == ["Bäume 1", "Straße 2"]
    assert first_words(path) == ["Bäume", "Straße"]
    assert first_line(path) == "# Bäume"


def test_a_letter_that_is_cut_in_two(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\n" + b"a" * ((1 << 16) - 2) + "ä".encode() * 5)
    assert set(read_head(path)) == {"a"}


def test_what_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"a\0b")
    assert read_head(path) == read_head(tmp_path) == read_head(tmp_path / "missing") == ""
    with pytest.raises(VocSegError, match="not a text file"):
        read_text(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.txt")
    assert first_line(tmp_path / "labels.txt") == ""
    with pytest.raises(VocSegError, match="not a regular file"):
        read_lines(tmp_path / "labels.txt")


@pytest.mark.parametrize("line", ["1 2 3 big car 2", "big car 2,1,2,3", "big car 2:1,2,3::", "1\t2\t3\tbig  car 2"])
def test_colours_with_names(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.txt").write_text(f"# colours\n0 0 0 ignore\n{line}\n")
    assert read_colour_names(tmp_path / "a.txt") == {(0, 0, 0): "void", (1, 2, 3): "big car 2"}


@pytest.mark.parametrize("line", ["1 2 car", "1 2 256 car", "1 2 3", "7 1 2 3 car", "0 0 0 car"])
def test_lines_without_a_colour_and_a_name(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.txt").write_text(f"0 0 0 ground\n{line}\n")
    with pytest.raises(VocSegError, match=r"has the line|gives the colour"):
        read_colour_names(tmp_path / "a.txt")
