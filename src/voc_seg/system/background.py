"""One file at a time, written by a thread while the run continues."""

import threading
from collections.abc import Callable

_running: tuple[threading.Thread, list[Exception]] | None = None


def write_in_background(write: Callable[[], None]) -> None:
    """Start writing a file once the previous one is written.

    Errors are raised by the next call of this function or of `finish_writes`. Unless it is killed, the process does not
    end before the file is written.
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
    """Wait until the file is written; raise the error if writing it failed."""
    global _running
    if _running is None:
        return
    thread, errors = _running
    while thread.is_alive():
        thread.join(1)  # a signal just before a wait without end would not interrupt it
    _running = None
    if errors:
        raise errors[0]
