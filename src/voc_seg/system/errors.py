"""Exceptions used throughout the project."""


class VocSegError(Exception):
    """An error the user can fix. The message names what is wrong, its value and what to do next.

    ``kedro run`` shows and logs only the message; in Python it is the ``__cause__`` of Kedro's exception.
    """


class NoMemoryError(VocSegError):
    """Memory ran out, that of the device or of the computer."""


class InterruptedRunError(VocSegError):
    """A run stopped on request by the signal ``signum``.

    The message says where. A training has written a checkpoint; other nodes begin again.
    """

    def __init__(self, message: str, signum: int, has_checkpoint: bool = True) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum  # as shells report a process ended by a signal
        self.has_checkpoint = has_checkpoint
