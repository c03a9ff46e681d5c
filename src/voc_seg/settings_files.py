"""Settings files that cannot be read: the file, the line, what is wrong and what to do, instead of a traceback."""

import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import yaml
from kedro.config import MissingConfigException, OmegaConfigLoader
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from voc_seg.hooks import RunStoppedError

_REMEDIES = (
    (r"\\t", "YAML indents with blanks: replace the tab"),
    (r"duplicate key", "write the key once"),
    (r"undefined alias", "a text that begins with * needs quotes"),
    (r"scanning an? (alias|anchor)", "a text that begins with * or & needs quotes"),
)
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)")


class CheckedConfigLoader(OmegaConfigLoader):
    """Kedro's loader of ``conf``, which says of a wrong file where and what is wrong."""

    def __init__(self, conf_source: str | Path, *args: Any, **kwargs: Any) -> None:
        if "[" in str(conf_source) and "://" not in str(conf_source):
            raise RunStoppedError(
                f"Kedro finds no settings in {conf_source}, because [ in a folder's name is a pattern to it: "
                "rename the folder, or give --conf-source."
            )
        super().__init__(conf_source, *args, **kwargs)

    def __getitem__(self, key: str) -> dict[str, Any]:
        for path in self._found(key):
            # Kedro passes over it in silence.
            if os.path.lexists(path) and not path.is_dir() and not path.is_file():
                raise RunStoppedError(
                    f"The settings cannot be read; nothing has run. {path} is no ordinary file, or a link to nothing. "
                    "Delete it, or put a file there."
                )
        try:
            return super().__getitem__(key)
        except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError, AttributeError, OSError) as error:
            if isinstance(error, MissingConfigException):
                raise
            raise RunStoppedError(f"The settings cannot be read; nothing has run. {self._fault(key, error)}") from None

    def _fault(self, key: str, error: Exception) -> str:
        files = list(self._files(key))
        for path in files:
            if fault := fault_of_file(path):
                return fault
        if isinstance(error, OmegaConfBaseException):
            return _unresolved(error, files)
        return _one_line(error)

    def _files(self, key: str) -> Iterator[Path]:
        """The files of a kind of settings that are on this machine, those of base first."""
        return (path for path in self._found(key) if path.is_file())

    def _found(self, key: str) -> Iterator[Path]:
        for env in dict.fromkeys([self.base_env, self.env or self.default_run_env]):
            folder = Path(self.conf_source) / env
            found = {
                path for pattern in self.config_patterns.get(key, ()) for path in folder.glob(_of_pathlib(pattern))
            }
            yield from sorted(path for path in found if path.suffix in (".yml", ".yaml", ".json"))

    def _check_duplicates(self, key: str, config_per_file: dict[Path, Any]) -> None:
        """What Kedro looks at once it has read all files; a file that is no mapping passes for one before."""
        for path, config in config_per_file.items():
            if not isinstance(config, DictConfig) or (len(config) == 1 and next(iter(config.values())) is None):
                fault = fault_of_file(path)
                if fault:
                    raise RunStoppedError(f"The settings cannot be read; nothing has run. {fault}")
        super()._check_duplicates(key, config_per_file)


def _of_pathlib(pattern: str) -> str:
    return f"{pattern}/*" if pattern.endswith("**") else pattern


def fault_of_file(path: Path) -> str | None:
    """What is wrong with a YAML file, its line counted from 1 and the remedy; None if it is a mapping or empty."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        return f"{path}, line {line}: this is not UTF-8. Save the file as UTF-8."
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}."
    for number, line in enumerate(text.splitlines(), start=1):
        if _CONFLICT.match(line):
            return (
                f"{path}, line {number}: {line[:7]} is a mark of a merge conflict. Choose one side, delete the marks."
            )
    try:
        # Aliases and duplicate keys are looked at too, as when the file is used.
        OmegaConf.load(io.StringIO(text))
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return f"{path}, line {mark.line + 1 if mark else '?'}: {_problem(error)}."
    except OmegaConfBaseException as error:
        return _unresolved(error, [path])
    except (yaml.YAMLError, ValueError, OSError) as error:
        if isinstance(error, yaml.reader.ReaderError):
            line = text[: error.position].count("\n") + 1
            return (
                f"{path}, line {line}: the character U+{ord(text[error.position]):04X} may not be in YAML. Delete it."
            )
        if not isinstance(error, OSError):
            return f"{path}: {_one_line(error)}"
        content = yaml.safe_load(text)
    if content is None or isinstance(content, dict):
        return None
    kind = "a list" if isinstance(content, list) else "a single value"
    return (
        f"{path}, line {_first_line(text)}: this file is {kind}, but it must hold keys with values, as in key: value."
    )


def _first_line(text: str) -> int:
    lines = text.splitlines()
    return next((n for n, line in enumerate(lines, start=1) if line.strip() and not line.lstrip().startswith("#")), 1)


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = ", ".join(part for part in (error.context, error.problem) if part)
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, problem)), "correct the YAML there")
    return f"{problem}; {remedy}"


def _unresolved(error: OmegaConfBaseException, files: list[Path]) -> str:
    """A value with ``${...}`` that stands for nothing."""
    key = re.sub(r"\[(\d+)\]", r".\1", str(error.full_key or ""))
    message = str(error).splitlines()[0].rstrip(".")
    for path in reversed(files):  # an environment's settings come last
        line = line_of_key(path.read_text(encoding="utf-8-sig"), key)
        if line:
            return f"{path}, line {line}: {key} cannot be resolved: {message}. Correct what is in ${{...}}."
    return f"{key or 'A value'} (--params) cannot be resolved: {message}. Correct what is in ${{...}}."


def line_of_key(text: str, key: str) -> int | None:
    """The line, from 1, of a value with an interpolation at ``a.b`` of a YAML text; None if there is none."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for part in key.split("."):
        if isinstance(node, yaml.MappingNode):
            node = next((value for name, value in node.value if name.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
        else:
            return None
    return node.start_mark.line + 1 if isinstance(node, yaml.ScalarNode) and "${" in node.value else None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def explain_params(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Kedro's reader of ``--params``, with the item that it cannot read in the message instead of a traceback."""

    def checked(context: click.Context, option: Any, value: Any) -> Any:
        try:
            return parse(context, option, value)
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            raise click.BadParameter(
                f"{value!r} cannot be read: {_reason(error)}. It is split at commas, so lists are written with blanks "
                "and blocks key by key (training.epochs=3); a value with * { [ & or ${ needs quotes of its own: "
                "--params \"key='*'\".",
                context,
                option,
            ) from None

    return checked


def _reason(error: Exception) -> str:
    problem = getattr(error, "problem", None)
    return problem or str(error).splitlines()[0].rstrip(".")
