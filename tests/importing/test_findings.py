"""Findings as text for the terminal, as JSON, and as an exit code."""

import io
import json

import pytest
from rich.console import Console

from voc_seg.importing.findings import (
    JOIN,
    Finding,
    by_severity,
    exit_code,
    findings_json,
    findings_text,
    of_images,
    summary_line,
)
from voc_seg.system.names import counted

NOTE = Finding("note", "layout", "2 masks have no image.")
WARNING = of_images("warning", "copies", "4 copies.", "Keep one.", ["a", "b", "c", "d"], [f"a{JOIN}b", f"c{JOIN}d"])
ERROR = of_images("error", "wrong-size", "9 masks [red]of[/red] another size\x1b[31m.", "", [f"p{n}" for n in range(9)])


def printed(*findings: Finding, terminal: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=terminal, color_system="standard" if terminal else None)
    console.print(findings_text(findings))
    return stream.getvalue()


def test_text_names_severity_examples_and_remedy() -> None:
    lines = [line.rstrip() for line in printed(NOTE, WARNING, ERROR).splitlines()]
    assert lines == [
        "error    9 masks [red]of[/red] another size\\x1b[31m.",
        "         p0, p1, p2, p3, p4 and 4 more",
        "warning  4 copies.",
        "         a = b, c = d",
        "         → Keep one.",
        "note     2 masks have no image.",
        "         1 error, 1 warning, 1 note.",
    ]


def test_text_is_coloured_on_a_terminal_only() -> None:
    assert "\x1b[" in printed(ERROR, terminal=True)
    assert "\x1b[" not in printed(ERROR)


def test_nothing_to_report() -> None:
    assert printed().strip() == "Nothing to report."


def test_json_has_all_images() -> None:
    made = json.loads(json.dumps(findings_json([NOTE, ERROR])))
    assert made["version"] == 1
    assert made["summary"] == {"errors": 1, "warnings": 0, "notes": 1}
    assert made["findings"][0] == {
        "severity": "error", "kind": "wrong-size", "message": ERROR.message, "remedy": "", "count": 9,
        "examples": ["p0", "p1", "p2", "p3", "p4"], "images": [f"p{n}" for n in range(9)],
    }  # fmt: skip
    assert made["findings"][1]["images"] == []


@pytest.mark.parametrize(
    "findings, strict, code",
    [
        ([], True, 0),
        ([NOTE], True, 0),
        ([WARNING], False, 0),
        ([WARNING], True, 1),
        ([NOTE, ERROR], False, 1),
    ],
)
def test_exit_code(findings: list[Finding], strict: bool, code: int) -> None:
    assert exit_code(findings, strict) == code


def test_order_and_words() -> None:
    small = of_images("error", "turned", "1 mask.", "", ["a"])
    assert by_severity([NOTE, small, WARNING, ERROR]) == (ERROR, small, WARNING, NOTE)
    assert summary_line([NOTE, NOTE, ERROR]) == "1 error, 2 notes"
    assert [counted(1, "image"), counted(2, "class"), counted(0, "mask")] == ["1 image", "2 classes", "0 masks"]
