"""The exceptions of this project that concern all of it."""


class VocSegError(Exception):
    """Something the user can put right. The message names the thing, its value and what to do next.

    ``kedro run`` shows and logs the message alone; from Python it is the ``__cause__`` of what Kedro raises.
    """


class InterruptedRunError(VocSegError):
    """A run was asked to stop, and has written down where it is.

    Args:
        message: Where it is.
        signum: The signal that asked.
    """

    def __init__(self, message: str, signum: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signum  # as shells report a process that a signal ended
