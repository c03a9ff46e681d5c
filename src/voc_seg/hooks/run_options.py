"""Options of ``kedro run``: each works, or the run is refused with one line before anything runs."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import AbstractVersionedDataset, CatalogProtocol
from kedro.io.core import VersionNotFoundError, is_parameter
from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner, ParallelRunner, ThreadRunner
from kedro.utils import get_close_matches, load_obj

from .commands import NEXT_COMMAND
from .errors import RunStoppedError
from .kedro_internals import pipeline_to_run


def _refusal(message: str) -> RunStoppedError:
    return RunStoppedError(f"{message} Nothing has run.")


def require_selection(names: list[str], selection: Mapping[str, Any]) -> Pipeline | None:
    """The nodes that a run selects; None if a pipeline does not exist, which Kedro reports.

    Args:
        names: Pipeline names; empty for plain ``kedro run``.
        selection: ``node_names``, ``tags`` and so on, as ``KedroSession.run`` takes them.

    Raises:
        RunStoppedError: A name does not exist, or no node is selected.
    """
    pipelines.set_requested(names or None)
    try:
        whole = sum((pipelines[name] for name in names or ["__default__"]), Pipeline([]))
    except KeyError:
        return None
    nodes = {node.name for node in whole.nodes}
    if not nodes:
        raise _refusal(f"No nodes are in the pipeline {', '.join(names)}. Add some to its pipeline.py.")
    known: dict[str, tuple[str, str, set[str]]] = {
        "node_names": ("--nodes", "node", nodes),
        "from_nodes": ("--from-nodes", "node", nodes),
        "to_nodes": ("--to-nodes", "node", nodes),
        "tags": ("--tags", "tag", set().union(*(node.tags for node in whole.nodes))),
        "from_inputs": ("--from-inputs", "dataset", whole.datasets()),
        "to_outputs": ("--to-outputs", "dataset", whole.all_outputs()),
        "namespaces": ("--namespaces", "namespace", set().union(*(node.namespace_prefixes for node in whole.nodes))),
    }
    chosen = {key: list(selection.get(key) or ()) for key in known}
    for key, (option, noun, existing) in known.items():
        for name in chosen[key]:
            if name not in existing:
                where = f"in {', '.join(names)}" if names else "in the pipelines that kedro run runs by default"
                fault = f"{option} {name}: there is no such {noun} {where}."
                raise _refusal(f"{fault}{_suggestion(name, existing)}")
    try:
        return whole.filter(**{"node_namespaces" if key == "namespaces" else key: chosen[key] or None for key in known})
    except ValueError:
        given = ", ".join(f"{known[key][0]} {','.join(value)}" for key, value in chosen.items() if value)
        raise _refusal(f"No node is selected by {given or 'this run'}.") from None


def _suggestion(name: str, known: Iterable[str]) -> str:
    known = sorted(key for key in known if key and not is_parameter(key))
    close = get_close_matches(name, known)
    if close:
        return f" Did you mean {' or '.join(close)}?"
    return f" There are: {', '.join(known)}." if known else ""


def require_runner(runner: AbstractRunner, pipeline: Pipeline) -> None:
    """Refuse a runner that cannot run this project's nodes; nodes of the user are not checked."""
    ours = [node for node in pipeline.nodes if _is_ours(node.func)]
    if not ours:
        return
    advice = "Remove --runner."
    if isinstance(runner, ParallelRunner):
        raise _refusal(
            "ParallelRunner cannot be used: nodes pass models and memory-mapped files to each other, which cannot be "
            f"sent between processes. {advice}"
        )
    if getattr(runner, "_is_async", False):
        raise _refusal(
            "--async cannot be used: outputs are saved in order, so that a killed run leaves no files that contradict "
            "each other. Remove it."
        )
    if isinstance(runner, ThreadRunner) and any("best_model" in node.outputs for node in ours):
        raise _refusal(
            "ThreadRunner cannot train: only the main thread receives Ctrl-C and SIGTERM, so an interrupted training "
            f"would write no checkpoint. {advice}"
        )


def _is_ours(function: Callable[..., Any]) -> bool:
    return any(function.__module__.startswith(f"voc_seg.pipelines.{name}.") for name in NEXT_COMMAND)


def checked_runner(start: Callable[..., Any] | None) -> Callable[..., Any]:
    """Wrap ``kedro run`` to check the runner before it is created."""

    assert start is not None, "kedro run has a callback"

    @wraps(start)
    def checked(**options: Any) -> Any:
        require_known_runner(options["runner"], options["runner_params"])
        return start(**options)

    return checked


def require_known_runner(runner: str | None, params: Mapping[str, Any]) -> None:
    """Refuse an unknown ``--runner``, or ``--runner-params`` that it does not take."""
    existing = ["SequentialRunner", "ThreadRunner", "ParallelRunner"]
    name = runner or existing[0]
    try:
        runner_class = load_obj(name, "kedro.runner")
    except (ImportError, AttributeError, ValueError, TypeError):
        raise _refusal(f"--runner {name}: there is no such runner.{_suggestion(name, existing)}") from None
    is_runner = isinstance(runner_class, type) and issubclass(runner_class, AbstractRunner)
    if not is_runner or inspect.isabstract(runner_class):
        raise _refusal(f"--runner {name} is not a runner.{_suggestion(name, existing)}")
    known = inspect.signature(runner_class).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    for key, value in params.items():
        if key not in known and not takes_any:
            raise _refusal(f"--runner-params {key}: {name} has no such parameter.{_suggestion(key, known)}")
        if key == "max_workers" and not (value is None or (type(value) is int and value > 0)):
            raise _refusal(f"--runner-params max_workers={value}: use a whole number of at least 1.")


def require_versions(versions: Mapping[str, str], catalog: CatalogProtocol) -> None:
    """Refuse ``--load-versions`` of an entry without versions, or of a version that does not exist."""
    for name, version in versions.items():
        dataset = catalog.get(name)
        if not isinstance(dataset, AbstractVersionedDataset) or dataset._version is None:
            raise _refusal(
                f"--load-versions {name}: this entry has no versions. Add versioned: true to it in a catalog*.yml, or "
                f"remove the option."
            )
        if not catalog.exists(name):
            try:
                existing = dataset.list_versions(full_path=False)
            except VersionNotFoundError:
                existing = []
            raise _refusal(
                f"--load-versions {name}:{version}: there is no such version. "
                f"There are: {', '.join(existing) or 'none'}."
            )


def require_versionable(entries: Mapping[str, Any]) -> None:
    """Refuse ``versioned: true`` in the catalog files for datasets of this project that have no versions."""
    for name, entry in entries.items():
        dataset_type = str(entry.get("type", "")) if isinstance(entry, dict) and entry.get("versioned") else ""
        if not dataset_type.startswith("voc_seg.datasets."):
            continue
        from voc_seg import datasets  # imports pandas; only if needed

        dataset_class = getattr(datasets, dataset_type.rpartition(".")[2], None)
        if dataset_class and not issubclass(dataset_class, AbstractVersionedDataset):
            raise _refusal(
                f"{name} in the catalog: {dataset_type} has no versions; remove versioned: true. To keep the outputs "
                f"of several runs, name the runs: --params run=NAME."
            )


def require_room_for_versions(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Refuse a run if a file is in the way of a folder for versions."""
    for name in sorted(pipeline.all_outputs()):
        dataset = catalog.get(name)
        if not isinstance(dataset, AbstractVersionedDataset) or not dataset._version:
            continue
        if getattr(dataset, "_protocol", "file") == "file":
            path = Path(dataset._filepath)
            if path.is_file():
                raise _refusal(
                    f"{path} was written before {name} had versioned: true. Versions need a folder of that name: move "
                    f"the file away."
                )


def require_run_name(run_params: Mapping[str, Any], pipeline: Pipeline) -> None:
    """Refuse an ensemble without a name of its own: it would replace the best model of a training."""
    if "run_models" in pipeline.inputs() and not (run_params["runtime_params"] or {}).get("run"):
        raise _refusal(
            "An ensemble needs a name, as without one it would replace the model of a training: --params run=ensemble"
        )


def require_no_training(run_params: Mapping[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Refuse an ensemble under the name of a run that has been trained, whose model it would replace."""
    if "run_models" in pipeline.inputs() and catalog.exists("checkpoints"):
        raise _refusal(
            f"The run {run_params['runtime_params']['run']} has been trained, and the ensemble would replace its "
            "model. Give the ensemble another name: --params run=NAME"
        )


class OptionHooks:
    """Checks versions of catalog entries; registered in ``settings.py``."""

    @hook_impl
    def after_catalog_created(self, conf_catalog: dict[str, Any]) -> None:
        """Check which entries may have versions."""
        require_versionable(conf_catalog)

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Check the versions to load and to save."""
        require_versions(run_params["load_versions"] or {}, catalog)
        require_run_name(run_params, pipeline)
        require_no_training(run_params, pipeline, catalog)
        require_room_for_versions(pipeline_to_run(pipeline, catalog, run_params), catalog)
