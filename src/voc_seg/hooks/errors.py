"""The error that ends a run with a message instead of a traceback."""

import logging
from contextlib import suppress
from typing import IO, Any

from click import ClickException, echo

logger = logging.getLogger(__name__)


class RunStoppedError(ClickException):
    """Ends ``kedro run`` with an exit code and no traceback; the message has been logged by then.

    Args:
        message: What is wrong and what to do.
        logged: Kedro has logged the message already.
        exit_code: Of the process.
        command: What to type next, for a run that was asked to stop.
    """

    def __init__(self, message: str, logged: bool = False, exit_code: int = 1, command: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.command = command
        if not logged:
            with suppress(SystemExit):  # rich's answer to a console that is gone; the log file has the message
                logger.log(logging.WARNING if command else logging.ERROR, "%s", message)
                if command:
                    logger.debug("Go on with: %s", command)  # shown by the file alone

    def show(self, file: IO[Any] | None = None) -> None:
        """The command alone, in one line that can be copied; the log, on the console and in the file, has the rest."""
        if self.command:
            with suppress(OSError):
                echo(self.command, err=True)

    def _render_traceback_(self) -> list[str]:
        """For IPython and notebooks: the log has the message already, and a traceback helps nobody."""
        return [self.command]
