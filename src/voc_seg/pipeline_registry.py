"""The pipelines of ``kedro run --pipelines``."""

from difflib import get_close_matches

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

from voc_seg.hooks.errors import RunStoppedError
from voc_seg.hooks.kedro_internals import grouped
from voc_seg.hooks.validation import pipeline_names

DEFAULT = ("data_processing", "training", "evaluation")
"""Pipelines of plain ``kedro run``, in this order."""


def register_pipelines() -> dict[str, Pipeline]:
    """Register every folder under ``pipelines/`` by its name, and ``__default__``.

    If a run names its pipelines, Kedro loads only those, so that data_processing does not import torch.
    """
    try:
        pipelines = find_pipelines(raise_errors=True)
    except ImportError as error:
        if error.__cause__ is not None:
            raise
        wanted = str(error).split("'")[1].rpartition(".")[2]  # '...importing the 'voc_seg.pipelines.NAME' module.'
        known = pipeline_names()
        close = "".join(f" Did you mean {name}?" for name in get_close_matches(wanted, known, 1))
        raise RunStoppedError(f"There is no pipeline {wanted}.{close} There are: {', '.join(known)}.") from error
    if all(name in pipelines for name in DEFAULT):
        pipelines["__default__"] = sum((grouped(pipelines[name], name) for name in DEFAULT), Pipeline([]))
    return pipelines
