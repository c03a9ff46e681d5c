"""Named runs: each writes its outputs to its own folder."""

RUNS = "data/runs"
"""Folder of named runs, relative to the project."""


def outputs_folder(run: str | None) -> str:
    """Return the folder of a run's models, predictions and reports: ``${outputs_folder:...}`` in the catalog."""
    return f"{RUNS}/{run}" if run else "data"
