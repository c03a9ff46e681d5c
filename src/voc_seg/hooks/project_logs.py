"""Log files: in the project wherever a run was started, and one for each rank."""

import logging
import os
from contextlib import suppress
from logging.config import DictConfigurator
from pathlib import Path
from typing import Any, cast

import rich
import yaml
from kedro.config import OmegaConfigLoader
from kedro.framework.context import KedroContext
from rich.logging import RichHandler

from voc_seg.system.torchrun import process_info

from .kedro_internals import read_conf_file
from .log_handlers import open_log_files, rewrite_message


def use_project_log_files(context: KedroContext) -> None:
    """Log into the log files of the context's project, as its ``logging.yml`` defines them.

    Kedro itself looks for ``logging.yml`` only in the working directory.
    Nothing changes without that file, or if the user has set ``KEDRO_LOGGING_CONFIG``.
    """
    if os.environ.get("KEDRO_LOGGING_CONFIG"):
        return
    config = _logging_config(context)
    root = logging.getLogger()
    for name in config.get("root", {}).get("handlers", []):
        settings = config.get("handlers", {}).get(name, {})
        if "filename" not in settings:
            continue
        target = _rank_path(context.project_path / settings["filename"])
        open_files = [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]
        same = next((handler for handler in open_files if Path(handler.baseFilename).name == target.name), None)
        if same is None:
            root.handlers.insert(0, _build_handler(config, settings | {"filename": str(target), "delay": True}))
            _set_levels(config)
        elif Path(same.baseFilename) != target:
            _redirect(same, target)
        else:
            continue
        open_log_files()


def _logging_config(context: KedroContext) -> dict[str, Any]:
    texts = [read_conf_file(cast(OmegaConfigLoader, context.config_loader), "logging.yml")]
    with suppress(OSError, ValueError):
        texts.append((context.project_path / "conf/logging.yml").read_text(encoding="utf-8"))
    with suppress(yaml.YAMLError):
        found = yaml.safe_load(next(filter(None, texts), ""))
        return found if isinstance(found, dict) else {}
    return {}


def _rank_path(path: Path) -> Path:
    rank = process_info().rank
    return path.with_name(f"{path.stem}_rank{rank}{path.suffix}") if rank else path


def _build_handler(config: dict[str, Any], settings: dict[str, Any]) -> logging.Handler:
    configurator = DictConfigurator({"version": 1, "formatters": config.get("formatters", {}), "handlers": {}})
    formatters = configurator.config["formatters"]
    for name in formatters:
        formatters[name] = configurator.configure_formatter(formatters[name])
    return configurator.configure_handler(settings)


def _set_levels(config: dict[str, Any]) -> None:
    """Set the levels of the loggers; the console, which Kedro has set up, stays at INFO."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, RichHandler) and handler.level < logging.INFO:
            handler.setLevel(logging.INFO)
    for name, settings in config.get("loggers", {}).items():
        if "level" in settings:
            logging.getLogger(name).setLevel(settings["level"])


def _redirect(handler: logging.FileHandler, target: Path) -> None:
    handler.acquire()
    try:
        if handler.stream:
            handler.stream.close()
            handler.stream = None  # the next message opens the file
        handler.baseFilename = str(target)
    finally:
        handler.release()


def separate_rank_logs() -> None:
    """Log other ranks than 0 to ``training_rank1.log`` and so on.

    Only their errors appear on the console, with the rank; warnings would be repeated by every rank.
    """
    if not process_info().rank:
        return
    rich.reconfigure(force_terminal=False)  # no progress bars
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):  # opens the file at the first message
            handler.baseFilename = str(_rank_path(Path(handler.baseFilename)))
        else:
            handler.setLevel(logging.ERROR)
            handler.addFilter(_add_rank)


def _add_rank(record: logging.LogRecord) -> bool:
    rewrite_message(record, lambda message: f"[rank {process_info().rank}] {message}")
    return True
