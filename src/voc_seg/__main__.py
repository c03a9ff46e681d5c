"""``python -m voc_seg`` and ``voc-seg``: the same as ``kedro run``."""

import sys
from typing import Any

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main(*args: Any, **kwargs: Any) -> Any:
    """Run the project; takes the options of ``kedro run``."""
    configure_project("voc_seg")
    kwargs["standalone_mode"] = not hasattr(sys, "ps1")
    return find_run_command("voc_seg")(*args, **kwargs)


if __name__ == "__main__":
    main()
