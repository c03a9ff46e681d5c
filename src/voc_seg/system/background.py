"""One file at a time, written by a thread while the run continues."""

import threading
from collections.abc import Callable

_running: tuple[threading.Thread, list[Exception]] | None = None


def write_in_background(write: Callable[[], None]) -> None:
    """Start to write a file, after the one before has been written; its errors come from the next call of this module.

    The process does not end before the file is written, unless it is killed.
    """
    global _running
    finish_writes()
    errors: list[Exception] = []

    def run() -> None:
        try:
            write()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="background write")
    _running = thread, errors
    thread.start()


def finish_writes() -> None:
    """Wait until the file is written; raises what writing it has raised."""
    global _running
    if _running is None:
        return
    thread, errors = _running
    while thread.is_alive():
        thread.join(1)  # a signal just before a wait without end would not interrupt it
    _running = None
    if errors:
        raise errors[0]
