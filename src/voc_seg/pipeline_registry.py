"""The pipelines that ``kedro run --pipelines`` knows."""

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

DEFAULT = ("data_processing", "training", "evaluation")
"""What plain ``kedro run`` does, in this order."""


def register_pipelines() -> dict[str, Pipeline]:
    """Every folder under ``pipelines/`` by its name, and ``__default__``.

    When a run names its pipelines, Kedro finds only those, so that preparing data need not wait for torch.
    """
    try:
        pipelines = find_pipelines(raise_errors=True)
    except ImportError as error:
        if error.__cause__ is not None:
            raise
        return {}  # no folder of that name: Kedro then says which names are meant
    if all(name in pipelines for name in DEFAULT):
        pipelines["__default__"] = sum((pipelines[name] for name in DEFAULT), Pipeline([]))
    return pipelines
