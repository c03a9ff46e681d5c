"""Kedro's readers of settings files; errors name file and line instead of a traceback."""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import yaml
from kedro.config import MissingConfigException, OmegaConfigLoader
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from voc_seg.config.yaml_files import alias_fault, interpolation_fault, line_of, one_line, yaml_fault

from .errors import RunStoppedError

REMOVED_ENTRIES = {
    **{f"previous_{split}_index": f"index of {split}_split" for split in ("train", "val", "test", "{split}")},
    **dict.fromkeys(("earlier_metrics", "earlier_evaluation_facts"), "outdates of predictions"),
    "earlier_model_card": "outdates of exported_onnx and exported_weights",
}
"""Catalog entries of earlier versions, and where their path belongs now."""


class CheckedConfigLoader(OmegaConfigLoader):
    """Kedro's config loader, with errors that say where a file is wrong and why."""

    def __init__(self, conf_source: str | Path, *args: Any, **kwargs: Any) -> None:
        if "[" in str(conf_source) and "://" not in str(conf_source):
            raise RunStoppedError(
                f"Kedro finds no settings in {conf_source}, because it treats [ in a folder name as a glob pattern. "
                "Rename the folder, or use --conf-source."
            )
        try:
            super().__init__(conf_source, *args, **kwargs)
        except (OSError, EOFError, ValueError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
            raise RunStoppedError(
                f"{conf_source} cannot be read as an archive of settings ({one_line(error)}). Nothing has run. Use a "
                "folder, or an archive as kedro package makes it: dist/conf-voc_seg.tar.gz."
            ) from None

    def __getitem__(self, key: str) -> dict[str, Any]:
        if key not in self:  # a key that was set directly has no files
            for path in self._paths(key):
                if fault := _irregular_file_fault(path) or (alias_fault(path) if path.is_file() else ""):
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
            if option := REMOVED_ENTRIES.get(name):
                fault = (
                    f"the catalog entry {name} is no longer used. Move its filepath to the option "
                    f"{option}, as in conf/base/catalog*.yml, and delete the entry."
                )
            elif name.startswith("_") or (isinstance(entry, dict) and "type" in entry):
                continue
            else:
                fault = (
                    f"the catalog entry {name} has no type. Add one, or start its name with _ if it only holds values "
                    "for other entries."
                )
            found = ((path, line_of(path, name)) for path in reversed(list(self._files("catalog"))))
            where = next((f"{path}, line {line}" for path, line in found if line), "The catalog")
            raise RunStoppedError(f"The settings cannot be read; nothing has run. {where}: {fault}")

    def _fault(self, key: str, error: Exception) -> str:
        files = list(self._files(key))
        for path in files:
            if fault := yaml_fault(path):
                return fault
        if isinstance(error, OmegaConfBaseException):
            return interpolation_fault(error, files)
        return one_line(error)

    def _files(self, key: str) -> Iterator[Path]:
        """Regular files with settings of this kind, those of base first."""
        return (path for path in self._paths(key) if path.is_file())

    def _paths(self, key: str) -> Iterator[Path]:
        for env in dict.fromkeys([self.base_env, self.env or self.default_run_env]):
            folder = Path(self.conf_source) / env
            found = {
                path for pattern in self.config_patterns.get(key, ()) for path in folder.glob(_pathlib_pattern(pattern))
            }
            # Kedro ignores hidden files, such as the locks of editors.
            known = (path for path in found if path.suffix in (".yml", ".yaml", ".json"))
            yield from sorted(path for path in known if not path.name.startswith("."))

    def _check_duplicates(self, key: str, config_per_file: dict[Path, Any]) -> None:
        """Refuse files that are not a mapping; Kedro calls this method when it has read all files."""
        for path, config in config_per_file.items():
            if not isinstance(config, DictConfig) or (len(config) == 1 and next(iter(config.values())) is None):
                fault = yaml_fault(path)
                if fault:
                    raise RunStoppedError(f"The settings cannot be read; nothing has run. {fault}")
        super()._check_duplicates(key, config_per_file)


def _irregular_file_fault(path: Path) -> str:
    """Why Kedro would silently skip a path; empty for files and folders."""
    if os.path.lexists(path) and not path.is_dir() and not path.is_file():
        return f"{path} is not a regular file (a broken link, a pipe or a device). Delete it, or put a file there."
    return ""


def _pathlib_pattern(pattern: str) -> str:
    return f"{pattern}/*" if pattern.endswith("**") else pattern


def explain_params(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Make Kedro's parser of ``--params`` name the item it cannot parse, instead of a traceback."""

    def checked(context: click.Context, option: Any, value: Any) -> Any:
        try:
            return parse(context, option, value)
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            raise click.BadParameter(
                f"{value!r} cannot be read: {_reason(error)}. --params is split at commas: write lists with spaces, "
                "and blocks key by key (training.epochs=3). A value with * { [ & or ${ needs its own quotes: "
                "--params \"key='*'\".",
                context,
                option,
            ) from None

    return checked


def _reason(error: Exception) -> str:
    problem = getattr(error, "problem", None)
    return problem or str(error).splitlines()[0].rstrip(".")
