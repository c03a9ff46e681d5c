"""Explain faulty YAML files: file, line, what is wrong and what to do. Does not import Kedro."""

import io
import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

_REMEDIES = (
    (r"\\t", "YAML is indented with spaces: replace the tab"),
    (r"duplicate key", "write the key once"),
    (r"undefined alias", "text that starts with * needs quotes"),
    (r"a flow (sequence|mapping)", "close the bracket that opens there, or add the missing comma"),
    (r"a quoted scalar", "close the quote that opens there"),
    (r"scanning an? (alias|anchor)", "text that starts with * or & needs quotes"),
)
_MAX_VALUES = 100_000
"""Largest number of values in one settings file; more is a mistake or an attack."""
_OPENED = re.compile(r"a flow (sequence|mapping)|a quoted scalar")
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)")


def yaml_fault(path: Path) -> str | None:
    """What is wrong with a YAML file, with the line (from 1) and the fix; None if it is a mapping or empty."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        return f"{path}, line {line}: not UTF-8. Save the file as UTF-8."
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}."
    for line, content in enumerate(text.splitlines(), start=1):
        if _CONFLICT.match(content):
            return (
                f"{path}, line {line}: {content[:7]} is a merge conflict marker. Choose one side and delete the "
                "markers."
            )
    if fault := alias_fault(path):
        return fault
    try:
        # OmegaConf also checks aliases and duplicate keys.
        OmegaConf.load(io.StringIO(text))
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        # A bracket or quote that is not closed shows only later: say where it opens.
        opens = error.context_mark if _OPENED.search(error.context or "") else None
        mark = opens or error.problem_mark or error.context_mark
        return f"{path}, line {mark.line + 1 if mark else '?'}: {_problem(error)}."
    except OmegaConfBaseException as error:
        return _structure_fault(path, yaml.compose(text, Loader=yaml.SafeLoader)) or interpolation_fault(error, [path])
    except RecursionError:
        return f"{path} is nested too deeply. Settings need only a few levels."
    except (yaml.YAMLError, ValueError, OSError) as error:
        if isinstance(error, yaml.reader.ReaderError):
            line = text[: error.position].count("\n") + 1
            character = f"U+{ord(text[error.position]):04X}"
            return f"{path}, line {line}: the character {character} is not allowed in YAML. Delete it."
        if not isinstance(error, OSError):
            return f"{path}: {one_line(error)}"
        content = yaml.safe_load(text)
    if content is None or isinstance(content, dict):
        return _structure_fault(path, yaml.compose(text, Loader=yaml.SafeLoader))
    kind = "a list" if isinstance(content, list) else "a single value"
    return (
        f"{path}, line {_first_line(text)}: this file is {kind}, but it must hold keys with values, as in key: value."
    )


def _structure_fault(path: Path, node: yaml.Node | None, is_top: bool = True) -> str | None:
    """Find what YAML allows but settings do not: keys that are not text, sets, and ``???`` for a missing value."""
    where = f"{path}, line {node.start_mark.line + 1 if node else 1}"
    if isinstance(node, yaml.ScalarNode):
        is_placeholder = node.value == "???" and not node.style
        return f"{where}: ??? is a placeholder. Replace it with a value." if is_placeholder else None
    if isinstance(node, yaml.SequenceNode):
        return next(filter(None, (_structure_fault(path, part, False) for part in node.value)), None)
    if not isinstance(node, yaml.MappingNode):
        return None
    if node.tag.endswith((":set", ":omap", ":pairs")):
        return f"{where}: {node.tag.replace('tag:yaml.org,2002:', '!!')} cannot be used in settings. Write a list."
    for key, value in node.value:
        kind = key.tag.rpartition(":")[2]
        if kind == "null" or (is_top and kind in ("int", "float", "bool", "timestamp")):
            where = f"{path}, line {key.start_mark.line + 1}"
            return f"{where}: the key {key.value or 'null'} is not text. Put it in quotes, or rename it."
        if fault := _structure_fault(path, value, False):
            return fault
    return None


def alias_fault(path: Path) -> str | None:
    """Find aliases (``*name``) of a YAML file whose expansion would fill the memory or never end.

    Call it before OmegaConf loads the file and expands them. None if they are harmless, or if the file cannot be read,
    which loading it reports.
    """
    try:
        content = path.read_bytes()
        node = yaml.compose(content.decode("utf-8-sig"), Loader=yaml.SafeLoader) if b"*" in content else None
        sizes: dict[int, float] = {}
        if node is None or _expanded_size(node, sizes) <= _MAX_VALUES:
            return None
    except (yaml.YAMLError, ValueError, OSError, RecursionError):
        return None
    line = node.start_mark.line + 1
    for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
        if sizes[id(value)] * 10 > _MAX_VALUES:  # the first key that grows this large
            line = key.start_mark.line + 1
            break
    return f"{path}, line {line}: its aliases (*name) expand to more than {_MAX_VALUES} values. Write the values out."


def _expanded_size(node: yaml.Node, sizes: dict[int, float]) -> float:
    """Number of values in a YAML node with its aliases expanded; infinite for one that contains itself."""
    if id(node) not in sizes:
        sizes[id(node)] = float("inf")  # until it is counted: a node met again before that contains itself
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        flat = [part for item in parts for part in (item if isinstance(item, tuple) else (item,))]
        sizes[id(node)] = 1 + sum(_expanded_size(part, sizes) for part in flat)
    return sizes[id(node)]


def logging_config_fault(path: Path, error: Exception) -> str:
    """Explain an error raised by reading or applying the logging settings, which Kedro does while it is imported."""
    if fault := yaml_fault(path):
        return fault
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    reasons = ": ".join(dict.fromkeys(one_line(one) for one in (error, cause)))
    # The messages name the part: Unable to configure handler 'file'.
    parts = re.findall(r"(handler|logger|formatter|filter) '([^']+)'", reasons)
    line = line_of(path, f"{parts[0][0]}s", parts[0][1]) if parts else None
    where = f"{path}, line {line}" if line else f"{path}"
    return f"{where}: {reasons.rstrip('.')}. Fix it."


def line_of(path: Path, *keys: str) -> int | None:
    """Line, from 1, of a nested key in a valid YAML file; None if it is not there."""
    node: Any = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=yaml.SafeLoader)
    line = None
    for part in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        line, node = next(((key.start_mark.line + 1, value) for key, value in pairs if key.value == part), (None, None))
    return line


def _first_line(text: str) -> int:
    lines = text.splitlines()
    return next((n for n, line in enumerate(lines, start=1) if line.strip() and not line.lstrip().startswith("#")), 1)


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = ", ".join(part for part in (error.context, error.problem) if part)
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, problem)), "fix the YAML there")
    return f"{problem}; {remedy}"


def interpolation_fault(error: OmegaConfBaseException, files: list[Path]) -> str:
    """Explain a value whose ``${...}`` cannot be resolved."""
    key = re.sub(r"\[(\d+)\]", r".\1", str(error.full_key or ""))
    message = str(error).splitlines()[0].rstrip(".")
    for path in reversed(files):  # environments override base, and come last
        line = line_of_key(path.read_text(encoding="utf-8-sig"), key)
        if line:
            return f"{path}, line {line}: {key} cannot be resolved: {message}. Fix the ${{...}}."
    return f"{key or 'A value'} (--params) cannot be resolved: {message}. Fix the ${{...}}."


def line_of_key(text: str, key: str) -> int | None:
    """Line, from 1, of the interpolated value at ``a.b`` of a YAML text; None if there is none."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for part in key.split("."):
        if isinstance(node, yaml.MappingNode):
            node = next((value for name, value in node.value if name.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
        else:
            return None
    return node.start_mark.line + 1 if isinstance(node, yaml.ScalarNode) and "${" in node.value else None


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
