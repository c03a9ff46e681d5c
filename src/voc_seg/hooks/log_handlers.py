"""Log handlers: whole lines in files, no control characters, and a handler that can no longer write is removed."""

import atexit
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich import get_console
from rich.console import Group
from rich.logging import RichHandler
from rich.text import Text

from voc_seg.system.atomic import make_folder
from voc_seg.system.names import printable

logger = logging.getLogger(__name__)


def rewrite_message(record: logging.LogRecord, rewrite: Callable[[str], str]) -> None:
    """Replace the message of a log record by ``rewrite(message)``."""
    try:
        message = record.getMessage()
    except Exception:  # the message does not match its arguments, which logging reports itself
        return
    if (changed := rewrite(message)) != message:
        record.msg, record.args = changed, ()


def make_printable(record: logging.LogRecord) -> bool:
    """Log filter that escapes control characters, which file names, EXIF tags or settings may contain."""
    rewrite_message(record, lambda message: printable(message, lines=True))
    return True


def open_log_files() -> None:
    """Create the folders of log files; if a log file cannot be written, log to the console only.

    Handlers open their file at the first message, and Python prints a traceback for every message if that fails. A
    handler that can no longer write (disk full, terminal closed) is removed.
    """
    root = logging.getLogger()
    atexit.unregister(_redirect_to_devnull)  # of an earlier run of this process
    atexit.register(_redirect_to_devnull)  # for what a progress bar or a printed command left in the buffer
    # By default rich ends the process silently when its output is closed (kedro run | head).
    get_console().on_broken_pipe = _reraise  # type: ignore[method-assign]
    for handler in list(root.handlers):
        handler.addFilter(make_printable)
        if isinstance(handler, RichHandler):
            handler.markup = False  # Kedro's own settings, outside a project, take [b] in a name for a style
        if isinstance(handler, RichHandler) and not (handler.console.is_terminal or handler.console.is_jupyter):
            handler.console.soft_wrap = True
            handler.render = partial(_whole_lines, handler)  # type: ignore[method-assign]
        # On the instance: conf/logging.yml may name only classes of logging and Kedro.
        handler.handleError = partial(_remove_failed_handler, handler)  # type: ignore[method-assign]
        if not isinstance(handler, logging.FileHandler):
            continue
        path = Path(handler.baseFilename)
        try:
            make_folder(path.parent)
            # Opening a pipe without a reader would block.
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o666))
        except OSError as error:
            root.removeHandler(handler)
            logger.warning("No log file: %s cannot be written (%s).", path, error.strerror)


def _whole_lines(handler: RichHandler, *, record: logging.LogRecord, traceback: Any, message_renderable: Text) -> Group:
    """Replacement of ``render`` if the console is a file or a pipe: rich's table wraps lines at 80 columns."""
    given = handler._log_render.time_format
    time = datetime.fromtimestamp(record.created)
    head = f"{given(time) if callable(given) else time.strftime(given)} {record.levelname:<8} "
    message = Text(head + message_renderable.plain.replace("\n", "\n" + " " * len(head)))
    return Group(message, traceback) if traceback else Group(message)


def _reraise() -> None:
    raise  # the BrokenPipeError that rich has caught; logging passes it to _remove_failed_handler


def _remove_failed_handler(handler: logging.Handler, record: logging.LogRecord) -> None:
    """Replacement for ``handleError``: remove a handler whose file or terminal fails, and warn through the others."""
    error = sys.exc_info()[1]
    root = logging.getLogger()
    if error is None:  # rich has no console: output was closed from the start (kedro run >&-)
        root.handlers = [other for other in root.handlers if other is not handler]
        return
    if not isinstance(error, OSError):
        type(handler).handleError(handler, record)
        return
    if handler not in root.handlers:
        return
    # A new list: logging is iterating over the old one, and the next handler must still get this message.
    root.handlers = [other for other in root.handlers if other is not handler]
    if isinstance(handler, logging.FileHandler):
        with suppress(OSError):
            handler.close()  # flushes its buffer
        failed, remaining = f"the log file {handler.baseFilename}", "the console"
    else:
        _redirect_to_devnull()
        failed, remaining = "the console", "the log file"
    logger.warning(
        "Could not write to %s (%s). From now on only %s is used.", failed, error.strerror or error, remaining
    )


def _redirect_to_devnull() -> None:
    """Discard further output to a closed terminal; otherwise Python exits with code 120."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None if closed from the start
        try:
            stream.flush()
        except ValueError:  # closed since
            continue
        except OSError:
            with suppress(OSError, ValueError), Path(os.devnull).open("wb") as devnull:
                os.dup2(devnull.fileno(), stream.fileno())
