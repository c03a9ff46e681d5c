"""Log handlers: whole lines in files, no control characters, and the others carry on when one can no longer write."""

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

from voc_seg.system.names import printable

logger = logging.getLogger(__name__)


def change(record: logging.LogRecord, how: Callable[[str], str]) -> None:
    """Put another message into a log record."""
    try:
        message = record.getMessage()
    except Exception:  # one that does not fit its arguments: logging says so by itself
        return
    if (changed := how(message)) != message:
        record.msg, record.args = changed, ()


def make_printable(record: logging.LogRecord) -> bool:
    """A log filter that escapes control characters, which file names, EXIF tags or settings may contain."""
    change(record, lambda message: printable(message, lines=True))
    return True


def open_log_files() -> None:
    """Make the folders of log files; without one that can be written to, the console alone has what a run says.

    A handler opens its file at the first message, and a traceback for every message is what Python gives when it
    cannot. One that can no longer write, on a full disk or to a terminal that is gone, is taken out at that message.
    """
    root = logging.getLogger()
    # By default rich ends the process silently once nobody reads its output (kedro run | head).
    get_console().on_broken_pipe = _raise_again  # type: ignore[method-assign]
    for handler in list(root.handlers):
        handler.addFilter(make_printable)
        if isinstance(handler, RichHandler) and not (handler.console.is_terminal or handler.console.is_jupyter):
            handler.console.soft_wrap = True
            handler.render = partial(_whole_lines, handler)
        # On the instance: conf/logging.yml may name only classes of logging and Kedro.
        handler.handleError = partial(_take_out, handler)  # type: ignore[method-assign]
        if not isinstance(handler, logging.FileHandler):
            continue
        path = Path(handler.baseFilename)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A pipe that nobody reads would keep this waiting.
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o666))
        except OSError as error:
            root.removeHandler(handler)
            logger.warning("No log file: %s cannot be written (%s).", path, error.strerror)


def _whole_lines(handler: RichHandler, *, record: logging.LogRecord, traceback: Any, message_renderable: Text) -> Group:
    """Stand in for ``render`` where the console is a file or a pipe: rich's table breaks lines at 80 columns."""
    given = handler._log_render.time_format
    time = datetime.fromtimestamp(record.created)
    head = f"{given(time) if callable(given) else time.strftime(given)} {record.levelname:<8} "
    message = Text(head + message_renderable.plain.replace("\n", "\n" + " " * len(head)))
    return Group(message, traceback) if traceback else Group(message)


def _raise_again() -> None:
    raise  # the BrokenPipeError that rich has caught: logging hands it to _take_out


def _take_out(handler: logging.Handler, record: logging.LogRecord) -> None:
    """Stand in for ``handleError``: a handler whose file or terminal fails writes no more, and the others say so."""
    error = sys.exc_info()[1]
    root = logging.getLogger()
    if error is None:  # rich has no console: it was closed from the start (kedro run >&-)
        root.handlers = [other for other in root.handlers if other is not handler]
        return
    if not isinstance(error, OSError):
        type(handler).handleError(handler, record)
        return
    if handler not in root.handlers:
        return
    # A new list: logging is going through the old one, and the next handler is to get this message too.
    root.handlers = [other for other in root.handlers if other is not handler]
    if isinstance(handler, logging.FileHandler):
        with suppress(OSError):
            handler.close()  # writes what it has kept
        what, rest = f"the log file {handler.baseFilename}", "the console"
    else:
        _leave_terminal()
        what, rest = "the console", "the log file"
    logger.warning("Could not write to %s (%s). From now on only %s is used.", what, error.strerror or error, rest)


def _leave_terminal() -> None:
    """Let what is still written to a terminal that is gone end nowhere: Python would end with exit code 120 for it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
