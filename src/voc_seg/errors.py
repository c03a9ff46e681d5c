"""The one exception of this project."""


class VocSegError(Exception):
    """Something the user can put right. The message names the thing, its value and what to do next.

    ``kedro run`` shows and logs the message alone; from Python it is the ``__cause__`` of what Kedro raises.
    """
