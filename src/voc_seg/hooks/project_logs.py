"""The log file of a project, wherever a run was started: Kedro looks for logging.yml below the working directory."""

import logging
import os
from contextlib import suppress
from logging.config import DictConfigurator
from pathlib import Path
from typing import Any, cast

import yaml
from kedro.config import OmegaConfigLoader
from kedro.framework.context import KedroContext
from rich.logging import RichHandler

from voc_seg.system.torchrun import process_info

from .kedro_internals import text_of_settings
from .log_handlers import open_log_files


def log_into(context: KedroContext) -> None:
    """Have what runs say in the log files of the project of a context, as its ``logging.yml`` has them.

    Without one, or with one of the user's in ``KEDRO_LOGGING_CONFIG``, all stays as it is.
    """
    if os.environ.get("KEDRO_LOGGING_CONFIG"):
        return
    config = _logging_of(context)
    root = logging.getLogger()
    for name in config.get("root", {}).get("handlers", []):
        described = config.get("handlers", {}).get(name, {})
        if "filename" not in described:
            continue
        target = _of_this_rank(context.project_path / described["filename"])
        there = [one for one in root.handlers if isinstance(one, logging.FileHandler)]
        same = next((one for one in there if Path(one.baseFilename).name == target.name), None)
        if same is None:
            root.handlers.insert(0, _made(config, described | {"filename": str(target), "delay": True}))
            _set_levels(config)
        elif Path(same.baseFilename) != target:
            _move(same, target)
        else:
            continue
        open_log_files()


def _logging_of(context: KedroContext) -> dict[str, Any]:
    texts = [text_of_settings(cast(OmegaConfigLoader, context.config_loader), "logging.yml")]
    with suppress(OSError, ValueError):
        texts.append((context.project_path / "conf/logging.yml").read_text(encoding="utf-8"))
    with suppress(yaml.YAMLError):
        found = yaml.safe_load(next(filter(None, texts), ""))
        return found if isinstance(found, dict) else {}
    return {}


def _of_this_rank(path: Path) -> Path:
    rank = process_info().rank
    return path.with_name(f"{path.stem}_rank{rank}{path.suffix}") if rank else path


def _made(config: dict[str, Any], described: dict[str, Any]) -> logging.Handler:
    maker = DictConfigurator({"version": 1, "formatters": config.get("formatters", {}), "handlers": {}})
    formatters = maker.config["formatters"]
    for name in formatters:
        formatters[name] = maker.configure_formatter(formatters[name])
    return maker.configure_handler(described)


def _set_levels(config: dict[str, Any]) -> None:
    """What the file is to have in more detail does not come to the console, which Kedro has set up by itself."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, RichHandler) and handler.level < logging.INFO:
            handler.setLevel(logging.INFO)
    for name, described in config.get("loggers", {}).items():
        if "level" in described:
            logging.getLogger(name).setLevel(described["level"])


def _move(handler: logging.FileHandler, target: Path) -> None:
    handler.acquire()
    try:
        if handler.stream:
            handler.stream.close()
            handler.stream = None  # the next message opens the file
        handler.baseFilename = str(target)
    finally:
        handler.release()
