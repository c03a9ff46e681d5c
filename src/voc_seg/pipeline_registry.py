"""The pipelines that ``kedro run --pipelines`` knows."""

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

DEFAULT = ("data_processing", "training", "evaluation")
"""What plain ``kedro run`` does, in this order."""


def register_pipelines() -> dict[str, Pipeline]:
    """Every folder under ``pipelines/`` by its name, and ``__default__``.

    When a run names its pipelines, Kedro finds only those, so that preparing data need not wait for torch.
    """
    pipelines = find_pipelines(raise_errors=True)
    if all(name in pipelines for name in DEFAULT):
        pipelines["__default__"] = sum((pipelines[name] for name in DEFAULT), Pipeline([]))
    return pipelines
