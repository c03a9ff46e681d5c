"""The one exception of this project."""


class VocSegError(Exception):
    """Something the user can put right. The message names the thing, its value and what to do next.

    The command line shows it without a traceback (``logs/training.log`` and the exception.s cause keep it).
    """
