"""Kedro's readers of settings; faults are reported with file and line instead of a traceback."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import yaml
from kedro.config import MissingConfigException, OmegaConfigLoader
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from voc_seg.config.yaml_files import fault_of_aliases, fault_of_file, line_of, one_line, unresolved

from .validation import RunStoppedError


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
        if key not in self:  # else it was given, and does not come from files
            for path in self._found(key):
                if fault := _fault_of_kind(path) or (fault_of_aliases(path) if path.is_file() else ""):
                    raise RunStoppedError(f"The settings cannot be read; nothing has run. {fault}")
        try:
            settings = super().__getitem__(key)
        except (
            yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError, AttributeError, OSError, RecursionError,
        ) as error:  # fmt: skip
            if isinstance(error, MissingConfigException):
                raise
            raise RunStoppedError(f"The settings cannot be read; nothing has run. {self._fault(key, error)}") from None

        if key == "catalog":
            self._require_entries(settings)
        return settings

    def _require_entries(self, catalog: dict[str, Any]) -> None:
        for name, entry in catalog.items():
            if name.startswith("_") or (isinstance(entry, dict) and "type" in entry):
                continue
            found = ((path, line_of(path, name)) for path in reversed(list(self._files("catalog"))))
            where = next((f"{path}, line {line}" for path, line in found if line), "The catalog")
            raise RunStoppedError(
                f"The settings cannot be read; nothing has run. {where}: the catalog entry {name} has no type. Add "
                "one, or start the name with _ if it only holds values for other entries."
            )

    def _fault(self, key: str, error: Exception) -> str:
        files = list(self._files(key))
        for path in files:
            if fault := fault_of_file(path):
                return fault
        if isinstance(error, OmegaConfBaseException):
            return unresolved(error, files)
        return one_line(error)

    def _files(self, key: str) -> Iterator[Path]:
        """The files of a kind of settings that are on this machine, those of base first."""
        return (path for path in self._found(key) if path.is_file())

    def _found(self, key: str) -> Iterator[Path]:
        for env in dict.fromkeys([self.base_env, self.env or self.default_run_env]):
            folder = Path(self.conf_source) / env
            found = {
                path for pattern in self.config_patterns.get(key, ()) for path in folder.glob(_of_pathlib(pattern))
            }
            # Hidden ones, such as the locks of editors, Kedro passes over.
            known = (path for path in found if path.suffix in (".yml", ".yaml", ".json"))
            yield from sorted(path for path in known if not path.name.startswith("."))

    def _check_duplicates(self, key: str, config_per_file: dict[Path, Any]) -> None:
        """What Kedro looks at once it has read all files; a file that is no mapping passes for one before."""
        for path, config in config_per_file.items():
            if not isinstance(config, DictConfig) or (len(config) == 1 and next(iter(config.values())) is None):
                fault = fault_of_file(path)
                if fault:
                    raise RunStoppedError(f"The settings cannot be read; nothing has run. {fault}")
        super()._check_duplicates(key, config_per_file)


def _fault_of_kind(path: Path) -> str:
    """Why Kedro would skip a path without a word; empty for files and folders."""
    if os.path.lexists(path) and not path.is_dir() and not path.is_file():
        return f"{path} is not a regular file (a broken link, a pipe or a device). Delete it, or put a file there."
    return ""


def _of_pathlib(pattern: str) -> str:
    return f"{pattern}/*" if pattern.endswith("**") else pattern


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
