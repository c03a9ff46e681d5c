"""The error that ends a run with a message instead of a traceback, and the cause of an error."""

import logging
from contextlib import suppress
from typing import IO, Any, TypeVar

from click import ClickException, echo

logger = logging.getLogger(__name__)

Cause = TypeVar("Cause", bound=BaseException)


class RunStoppedError(ClickException):
    """Ends ``kedro run`` with an exit code and no traceback; logs its message when created, unless it is ``logged``.

    ``command`` is what to type next, for a run that was asked to stop.
    """

    def __init__(self, message: str, logged: bool = False, exit_code: int = 1, command: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance
        self.command = command
        if not logged:
            with suppress(SystemExit):  # raised by rich when the console is gone; the log file has the message
                logger.log(logging.WARNING if command else logging.ERROR, "%s", message)
                if command:
                    logger.debug("Resume with: %s", command)  # only in the log file

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the command on one line, to be copied; the message has been logged."""
        if self.command:
            with suppress(OSError):
                echo(self.command, err=True)

    def _render_traceback_(self) -> list[str]:
        """Replace the traceback in IPython and notebooks; the message has been logged."""
        return [self.command]


def find_cause(error: BaseException | None, kind: type[Cause]) -> Cause | None:
    """The first exception of a kind among an error and its causes; None if there is none."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error
