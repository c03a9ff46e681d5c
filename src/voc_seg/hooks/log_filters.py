"""Filters that complete messages: paths relative to the project, and commands with the options of this run."""

import logging
import re
from pathlib import Path
from typing import Any

from .commands import Launch, context_options, environment_option, launch_from_params
from .log_handlers import rewrite_message


class RelativePaths(logging.Filter):
    """Make paths in messages relative to the project folder, where the user types commands."""

    def __init__(self, project: Path) -> None:
        super().__init__()
        self._project = re.compile(rf"(?<![\w./~-]){re.escape(project.as_posix())}/")  # not the end of another path

    def filter(self, record: logging.LogRecord) -> bool:
        rewrite_message(record, lambda message: self._project.sub("", message))
        return True


class RepeatedOptions(logging.Filter):
    """Add options to commands in messages, so that they work on the same data and outputs.

    The code that reports a damaged file knows neither ``--env`` nor ``voc_root``, ``run`` and so on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, Any] = {"env": None, "runtime_params": None}

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "has_options", False):  # the record passes through the filters of several handlers
            return True
        if context_options(self.given) or launch_from_params(self.given) != Launch():
            record.has_options = True
            rewrite_message(record, lambda message: _COMMAND.sub(self._completed, message))
        return True

    def _completed(self, command: re.Match[str]) -> str:
        names_data = re.search(r"\b(?:run|voc_root)=", command.string[command.end() :].partition("\n")[0])
        options = environment_option(self.given) if names_data else context_options(self.given, command["pipelines"])
        more = "," if command["more"] and " --params " in options else command["more"] or ""
        start = command["start"].replace("kedro run", launch_from_params(self.given).program, 1)
        return start + options + more


# Only commands that do not name an environment, or that resume a run. One that names a run or data gets no others.
_COMMAND = re.compile(
    r"(?P<start>kedro run --pipelines (?P<pipelines>[\w,]+))"
    r"(?![^\n]*(?: --(?:env|conf-source|config|runner) |\btraining\.resume=))(?P<more> --params )?"
)
