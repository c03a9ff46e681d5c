"""The pipelines of ``kedro run --pipelines``."""

from difflib import get_close_matches

from kedro.pipeline import Pipeline

from voc_seg.hooks.errors import RunStoppedError
from voc_seg.hooks.kedro_internals import grouped, requested_pipelines
from voc_seg.hooks.project_package import load_pipelines, pipeline_modules

DEFAULT = ("data_processing", "training", "evaluation")
"""Pipelines of plain ``kedro run``, in this order."""


def register_pipelines() -> dict[str, Pipeline]:
    """Register every folder under ``pipelines/`` by its name, and ``__default__``.

    If a run names its pipelines, only those are loaded, so that data_processing does not import torch. Kedro's own
    ``find_pipelines`` knows one package only, not that of a project made by the starter in addition.
    """
    known, requested = pipeline_modules(), requested_pipelines()
    wanted = known if requested is None else requested
    for name in wanted:
        if name not in known:
            close = "".join(f" Did you mean {other}?" for other in get_close_matches(name, known, 1))
            raise RunStoppedError(f"There is no pipeline {name}.{close} There are: {', '.join(known)}.")
    pipelines = load_pipelines(wanted)
    if all(name in pipelines for name in DEFAULT):
        pipelines["__default__"] = sum((grouped(pipelines[name], name) for name in DEFAULT), Pipeline([]))
    return pipelines
