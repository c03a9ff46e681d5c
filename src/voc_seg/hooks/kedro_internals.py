"""Access to Kedro internals; no other module uses its private names."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner
from kedro.runner.runner import _find_nodes_to_resume_from


def pipeline_to_run(pipeline: Pipeline, catalog: CatalogProtocol, run_params: Mapping[str, Any]) -> Pipeline:
    """The nodes that will run: with ``--only-missing-outputs`` Kedro skips the others only after the hooks."""
    if not run_params.get("only_missing_outputs"):
        return pipeline
    return SequentialRunner()._filter_pipeline_for_missing_outputs(pipeline, catalog)


def requested_pipelines() -> list[str] | None:
    """Names of the pipelines of this run; None to load all."""
    names = pipelines._requested_pipelines
    return None if names is None or "__default__" in names else names


def environments(loader: OmegaConfigLoader) -> list[str]:
    """Environment names, also from an archive; empty if there are no settings."""
    try:
        root = Path(loader._get_conf_env_path("x")).parent.as_posix()
        entries = [entry for entry in loader._fs.ls(root, detail=True) if entry["type"] == "directory"]
    except (OSError, ValueError, KeyError, IndexError):
        return []
    return sorted(Path(entry["name"]).name for entry in entries)


def read_conf_file(loader: OmegaConfigLoader, name: str) -> str:
    """The text of a file beside the environments, also from an archive; empty if it is missing."""
    try:
        path = Path(loader._get_conf_env_path("x")).with_name(name)
        return loader._fs.cat_file(path.as_posix()).decode()
    except (OSError, ValueError, KeyError, IndexError):
        return ""


def resume_nodes(pipeline: Pipeline, finished: Iterable[Node], catalog: CatalogProtocol) -> set[str]:
    """Names of the nodes to resume a failed run from, including those whose outputs were only in memory."""
    unfinished = set(pipeline.nodes) - set(finished)
    return _find_nodes_to_resume_from(pipeline, unfinished, catalog)


class GroupedNode(Node):
    """A node that Kedro-Viz draws in a group, but that users select by its plain name, ``train``.

    Kedro would prepend the namespace: ``--nodes training.train``.
    """

    @property
    def name(self) -> str:
        return self._name or self._func_name

    def __str__(self) -> str:
        # Kedro-Viz identifies nodes by this text; the same node in its own pipeline is in no group.
        return f"{self.namespace}: {super().__str__()}"

    def _copy(self, **changes: Any) -> Node:
        return _regrouped(super()._copy(**changes))


def _regrouped(node: Node) -> Node:
    node.__class__ = GroupedNode
    return node


def grouped(pipeline: Pipeline, group: str) -> Pipeline:
    """The pipeline as one group in Kedro-Viz; names of nodes and datasets stay the same."""
    return Pipeline([_regrouped(node._copy(namespace=group)) for node in pipeline.nodes])


def path_of(catalog: CatalogProtocol, name: str) -> Path | None:
    """The file or folder of a catalog entry; None if it has none."""
    dataset = catalog.get(name)
    filepath = dataset._describe().get("filepath") if dataset is not None else None
    return Path(str(filepath)) if filepath else None
