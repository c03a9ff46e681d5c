"""What the examination of a data set found, as text and as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from voc_seg.system.names import printable

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""error: training would fail or learn something wrong. warning: probably wrong, or harmful. note: worth knowing."""
_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_MAX_EXAMPLES = 5
JOIN = " = "
"""Between the ids of copies in an example."""


@dataclass(frozen=True)
class Finding:
    """One thing to know about the data."""

    severity: Severity
    kind: str  # a short name for programs: "unreadable", "near-duplicates"
    message: str  # what was found, in a sentence
    remedy: str = ""  # what to do about it
    count: int = 1  # number of images (or classes) concerned
    examples: tuple[str, ...] = ()  # image ids, the first few
    images: tuple[str, ...] = ()  # ids of all images concerned; empty if it concerns the data as a whole


def of_images(
    severity: Severity, kind: str, message: str, remedy: str, ids: Iterable[str], examples: Sequence[str] = ()
) -> Finding:
    """Return a finding about these images; ``examples`` replaces the ids as what is shown."""
    images = tuple(dict.fromkeys(ids))
    shown = tuple(examples or images)[:_MAX_EXAMPLES]
    return Finding(severity, kind, message, remedy, len(images), shown, images)


def by_severity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return errors first, then warnings, then notes; within each, those of the most images first."""
    return tuple(sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), -one.count)))


def exit_code(findings: Iterable[Finding], strict: bool = False) -> int:
    """Return 1 if there are errors, with ``strict`` also for warnings, else 0."""
    failing = ("error", "warning") if strict else ("error",)
    return int(any(one.severity in failing for one in findings))


def summary(findings: Sequence[Finding]) -> dict[str, int]:
    """Count findings by severity."""
    return {f"{severity}s": sum(one.severity == severity for one in findings) for severity in SEVERITIES}


def summary_line(findings: Sequence[Finding]) -> str:
    """Return the counts in words: "1 error, 2 warnings"; "nothing to report" without findings."""
    counts = [(count, name[:-1]) for name, count in summary(findings).items() if count]
    return ", ".join(f"{count} {name}{'s' * (count > 1)}" for count, name in counts) or "nothing to report"


def findings_text(findings: Sequence[Finding]) -> Table:
    """Return findings for the terminal, by severity, each with a few examples and the remedy.

    Print it with ``rich.get_console().print(table)``, which wraps it and leaves colours out where it writes to a file.
    """
    table = Table.grid(padding=(0, 2))
    for one in by_severity(findings):
        text = Text(printable(one.message))
        if one.examples:
            more = f" and {_not_shown(one)} more" if _not_shown(one) else ""
            text.append(f"\n{printable(', '.join(one.examples))}{more}", "dim")
        if one.remedy:
            text.append(f"\n→ {printable(one.remedy)}")
        table.add_row(Text(one.severity, _STYLES[one.severity]), text)
    table.add_row("", Text(f"{summary_line(findings).capitalize()}.", "bold"))
    return table


def _not_shown(finding: Finding) -> int:
    """Return how many images (or classes) the examples leave out; an example may join copies: "a = b"."""
    return max(0, finding.count - sum(one.count(JOIN) + 1 for one in finding.examples))


def findings_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return findings as plain values for JSON.

    ``version`` is 1; keys may be added, never renamed or removed. ``summary`` has the number of findings by severity:
    ``errors``, ``warnings``, ``notes``. ``findings`` is a list by severity, each with

    | key      | type            | meaning                                                           |
    |----------|-----------------|-------------------------------------------------------------------|
    | severity | string          | error, warning or note                                            |
    | kind     | string          | short name that does not change: unreadable, near-duplicates      |
    | message  | string          | what was found, in words that may change                          |
    | remedy   | string          | what to do; may be empty                                          |
    | count    | integer         | images or classes concerned                                       |
    | examples | list of strings | the first few                                                     |
    | images   | list of strings | ids of all images concerned; empty if it concerns all data        |
    """
    listing = [{key: list(value) if isinstance(value, tuple) else value for key, value in asdict(one).items()}
               for one in by_severity(findings)]  # fmt: skip
    return {"version": 1, "summary": summary(findings), "findings": listing}
