"""Runs with a name: each leaves its outputs in a folder of its own."""

RUNS = "data/runs"
"""Folder of the runs with a name, below the project's."""


def outputs_folder(run: str | None) -> str:
    """Where a run leaves models, predictions and reports; the catalog's ``${outputs_folder:...}``."""
    return f"{RUNS}/{run}" if run else "data"
