"""The pipelines that ``kedro run --pipelines`` knows."""

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

from voc_seg.hooks.kedro_internals import grouped
from voc_seg.hooks.validation import RunStoppedError, pipeline_names

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
        wanted = str(error).split("'")[1].rpartition(".")[2]  # '...importing the 'voc_seg.pipelines.NAME' module.'
        raise RunStoppedError(f"There is no pipeline {wanted}. There are: {', '.join(pipeline_names())}.") from error
    if all(name in pipelines for name in DEFAULT):
        pipelines["__default__"] = sum((grouped(pipelines[name], name) for name in DEFAULT), Pipeline([]))
    return pipelines
