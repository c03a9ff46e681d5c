"""Options of ``kedro run``: each works, or is refused in one line before anything runs."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import click
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import AbstractVersionedDataset, CatalogProtocol
from kedro.io.core import VersionNotFoundError, is_parameter
from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner, ParallelRunner, ThreadRunner
from kedro.utils import get_close_matches, load_obj
from omegaconf import OmegaConf

from voc_seg.config.overrides import split_params

from .kedro_internals import planned
from .validation import NEXT, RunStoppedError

_NOTHING = "Nothing has run."


def require_selection(names: list[str], selection: Mapping[str, Any]) -> Pipeline | None:
    """The nodes that a run selects.

    Args:
        names: Of pipelines; empty for plain ``kedro run``.
        selection: ``node_names``, ``tags`` and so on, as ``KedroSession.run`` takes them.

    Returns:
        None where a pipeline's name is wrong, which Kedro says.

    Raises:
        RunStoppedError: A name is wrong, or nothing is selected.
    """
    pipelines.set_requested(names or None)
    try:
        whole = sum((pipelines[name] for name in names or ["__default__"]), Pipeline([]))
    except KeyError:
        return None
    nodes = {node.name for node in whole.nodes}
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
    for key, (option, kind, there) in known.items():
        for name in chosen[key]:
            if name not in there:
                where = f"in {', '.join(names)}" if names else "in what kedro run does without --pipelines"
                fault = f"{option} {name}: there is no such {kind} {where}."
                raise RunStoppedError(f"{fault}{_hint(name, there)} {_NOTHING}")
    try:
        return whole.filter(**{"node_namespaces" if key == "namespaces" else key: chosen[key] or None for key in known})
    except ValueError:
        given = ", ".join(f"{known[key][0]} {','.join(value)}" for key, value in chosen.items() if value)
        raise RunStoppedError(f"No node is selected by {given or 'this run'}. {_NOTHING}") from None


def _hint(name: str, known: Iterable[str]) -> str:
    known = sorted(one for one in known if one and not is_parameter(one))
    close = get_close_matches(name, known)
    if close:
        return f" Did you mean {' or '.join(close)}?"
    return f" There are: {', '.join(known)}." if known else ""


def require_runner(runner: AbstractRunner, pipeline: Pipeline) -> None:
    """Stop a run whose runner does not suit nodes of ours; those of users are their own affair.

    Raises:
        RunStoppedError: It does not.
    """
    ours = [node for node in pipeline.nodes if _is_ours(node.func)]
    if not ours:
        return
    advice = f"Leave --runner out. {_NOTHING}"
    if isinstance(runner, ParallelRunner):
        raise RunStoppedError(
            "ParallelRunner cannot be used: nodes hand each other networks and mapped files, which do not go from "
            f"process to process. {advice}"
        )
    if getattr(runner, "_is_async", False):
        raise RunStoppedError(
            "--async cannot be used: files are written one after the other, so that a run that is killed leaves none "
            f"that do not belong together. Leave it out. {_NOTHING}"
        )
    if isinstance(runner, ThreadRunner) and any("best_model" in node.outputs for node in ours):
        raise RunStoppedError(
            "ThreadRunner cannot train: Python hands Ctrl-C and SIGTERM to the main thread alone, so a training "
            f"that is asked to stop would write no checkpoint. {advice}"
        )


def _is_ours(function: Callable[..., Any]) -> bool:
    return any(function.__module__.startswith(f"voc_seg.pipelines.{name}.") for name in NEXT)


def with_lists(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Kedro's reader of ``--params``, which splits at every comma, for lists as ``[2,3]`` and texts in quotes too."""

    def read(context: click.Context, option: Any, value: Any) -> Any:
        items = split_params(value) if isinstance(value, str) else []
        if not any("," in item for item in items):
            return parse(context, option, value)
        pairs = [item.partition("=") for item in items if item.strip()]
        if any(not (key.strip() and equals) for key, equals, _ in pairs):
            return parse(context, option, value)  # says what is wrong
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"{key.strip()}={text}" for key, _, text in pairs]))

    return read


def keeps_path(read: Callable[..., Any]) -> Callable[..., Any]:
    """Kedro's reader of ``--config``, with the file as its value; Kedro 1.7 gives the last value in the file."""

    def kept(context: click.Context, option: Any, value: Any) -> Any:
        read(context, option, value)
        return value

    return kept


def checked_runner(start: Callable[..., Any] | None) -> Callable[..., Any]:
    """``kedro run`` with its runner checked before it is made."""

    assert start is not None, "kedro run has a callback"

    @wraps(start)
    def checked(**options: Any) -> Any:
        require_runner_options(options["runner"], options["runner_params"])
        return start(**options)

    return checked


def require_runner_options(runner: str | None, params: Mapping[str, Any]) -> None:
    """Stop a run whose ``--runner`` or ``--runner-params`` name what there is not.

    Raises:
        RunStoppedError: They do.
    """
    there = ["SequentialRunner", "ThreadRunner", "ParallelRunner"]
    name = runner or there[0]
    try:
        kind = load_obj(name, "kedro.runner")
    except (ImportError, AttributeError, ValueError, TypeError):
        raise RunStoppedError(f"--runner {name}: there is no such runner.{_hint(name, there)} {_NOTHING}") from None
    if not (isinstance(kind, type) and issubclass(kind, AbstractRunner)) or inspect.isabstract(kind):
        raise RunStoppedError(f"--runner {name} is no runner.{_hint(name, there)} {_NOTHING}")
    known = inspect.signature(kind).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    for key, value in params.items():
        if key not in known and not takes_any:
            raise RunStoppedError(f"--runner-params {key}: {name} has none of that name.{_hint(key, known)} {_NOTHING}")
        if key == "max_workers" and not (value is None or (type(value) is int and value > 0)):
            raise RunStoppedError(f"--runner-params max_workers={value}: give a whole number from 1 on. {_NOTHING}")


def require_versions(versions: Mapping[str, str], catalog: CatalogProtocol) -> None:
    """Stop a run whose ``--load-versions`` would be passed over, or name a version that is not there.

    Raises:
        RunStoppedError: They do.
    """
    for name, version in versions.items():
        dataset = catalog.get(name)
        if not isinstance(dataset, AbstractVersionedDataset) or dataset._version is None:
            raise RunStoppedError(
                f"--load-versions {name}: this entry has no versions. Give it versioned: true in a catalog*.yml, or "
                f"leave it out. {_NOTHING}"
            )
        if not catalog.exists(name):
            try:
                there = dataset.list_versions(full_path=False)
            except VersionNotFoundError:
                there = []
            raise RunStoppedError(
                f"--load-versions {name}:{version}: there is no such version. There are: {', '.join(there) or 'none'}. "
                f"{_NOTHING}"
            )


def require_versionable(entries: Mapping[str, Any]) -> None:
    """Stop where ``versioned: true`` is asked of an entry of ours that has no versions.

    Args:
        entries: Of the catalog, as its files have them.

    Raises:
        RunStoppedError: With the entry.
    """
    for name, entry in entries.items():
        kind = str(entry.get("type", "")) if isinstance(entry, dict) and entry.get("versioned") else ""
        if not kind.startswith("voc_seg.datasets."):
            continue
        from voc_seg import datasets  # pandas and more, only where it is needed

        found = getattr(datasets, kind.rpartition(".")[2], None)
        if found and not issubclass(found, AbstractVersionedDataset):
            raise RunStoppedError(
                f"{name} in the catalog: {kind} has no versions, so leave out versioned: true. To keep what runs leave "
                f"apart from each other, give them names: --params run=NAME. {_NOTHING}"
            )


def require_room_for_versions(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Stop a run that would find a file where the folder of an output's versions belongs.

    Raises:
        RunStoppedError: With the file.
    """
    for name in sorted(pipeline.all_outputs()):
        dataset = catalog.get(name)
        if not isinstance(dataset, AbstractVersionedDataset) or not dataset._version:
            continue
        if getattr(dataset, "_protocol", "file") == "file":
            path = Path(dataset._filepath)
            if path.is_file():
                raise RunStoppedError(
                    f"{path} was written before {name} had versioned: true, and its versions go into a folder of that "
                    f"name: move the file away. {_NOTHING}"
                )


class OptionHooks:
    """What is asked of entries of the catalog; see ``settings.py``."""

    @hook_impl
    def after_catalog_created(self, conf_catalog: dict[str, Any]) -> None:
        """Check which may have versions."""
        require_versionable(conf_catalog)

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Check the versions to load and to save."""
        require_versions(run_params["load_versions"] or {}, catalog)
        require_room_for_versions(planned(pipeline, catalog, run_params), catalog)
