"""Commands that messages suggest: what to type next, and how to go on with a run that ended early."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml
from click.core import ParameterSource
from kedro.framework.context import KedroContext
from kedro.framework.project import settings as project_settings

from voc_seg.config import flattened
from voc_seg.system.torchrun import ProcessInfo, process_info

NEXT = {
    "data_processing": "kedro run --pipelines sanity",
    "sanity": "kedro run --pipelines training",
    "training": "kedro run --pipelines evaluation",
    "evaluation": "kedro viz run",  # plain kedro viz takes no options
    "inference": "kedro viz run",
    "export": "read {model_card}",
    "comparison": "kedro viz run",
}
"""What to type or do after each pipeline, in the order in which they build on each other."""


@dataclass(frozen=True)
class Launch:
    """How a run was started, as far as the next command has to be started so too.

    | field             | meaning                                                                   |
    |-------------------|---------------------------------------------------------------------------|
    | program           | ``kedro run``, or ``voc-seg`` where the project is installed as a package |
    | conf_source       | of ``--conf-source``, empty for the project's own                         |
    | config            | of ``--config``                                                           |
    | config_has_params | whether that file has the parameters, which ``--params`` would replace    |
    | runner            | of ``--runner``                                                           |
    """

    program: str = "kedro run"
    conf_source: str = ""
    config: str = ""
    config_has_params: bool = False
    runner: str = ""

    def options(self, with_runner: bool = True) -> str:
        """`` --conf-source PATH --config FILE --runner NAME``, those that were given."""
        given = {"conf-source": self.conf_source, "config": self.config, "runner": self.runner if with_runner else ""}
        return "".join(f" --{option} {shlex.quote(value)}" for option, value in given.items() if value)


def launch_of(context: KedroContext) -> Launch:
    """How the run of a context was started; options are known of a command alone."""
    typed = click.get_current_context(silent=True)
    params = typed.params if typed and "conf_source" in typed.params else {}
    conf, own = str(context.config_loader.conf_source), context.project_path / project_settings.CONF_SOURCE
    return Launch(
        "kedro run" if (context.project_path / "pyproject.toml").is_file() else "voc-seg",
        "" if "://" not in conf and Path(conf).resolve() == own.resolve() else _shown(conf),
        _shown(params.get("config") or ""),
        typed is not None
        and bool(params.get("config"))
        and typed.get_parameter_source("params") is ParameterSource.DEFAULT_MAP,
        params.get("runner") or "",
    )


def _shown(path: str) -> str:
    """A path as it would be typed here."""
    if path and "://" not in path and Path(path).resolve().is_relative_to(Path.cwd()):
        return Path(path).resolve().relative_to(Path.cwd()).as_posix()
    return path


def launch_in(run_params: dict[str, Any]) -> Launch:
    """How a run was started, by its parameters with ``launch`` among them."""
    return run_params.get("launch") or Launch()


def command(pipeline: str, run_params: dict[str, Any]) -> str:
    """How to run a pipeline so that it is about the outputs of a run."""
    return f"{launch_in(run_params).program} --pipelines {pipeline}{repeated_options(run_params, pipeline)}"


_SELECTIONS = {
    "pipelines": "pipeline_names",
    "nodes": "node_names",
    "tags": "tags",
    "from-nodes": "from_nodes",
    "to-nodes": "to_nodes",
    "from-inputs": "from_inputs",
    "to-outputs": "to_outputs",
    "namespaces": "namespaces",
}


def resume_command(run_params: dict[str, Any], from_nodes: Iterable[str] = (), resume: bool = True) -> str:
    """How to go on with a run that was interrupted or has failed: the same once more.

    Args:
        run_params: Of the run.
        from_nodes: Where to begin, in place of where the run began.
        resume: Whether its training goes on from its newest checkpoint.
    """
    order = list(NEXT)  # Kedro makes a set of the names
    launch = launch_in(run_params)
    selected = {option: run_params.get(key) or () for option, key in _SELECTIONS.items()}
    selected["pipelines"] = sorted(selected["pipelines"], key=lambda name: order.index(name) if name in order else -1)
    if from_nodes:
        selected |= {"from-nodes": sorted(from_nodes), "from-inputs": ()}
    selection = "".join(f" --{option} {','.join(names)}" for option, names in selected.items() if names)
    settings = {key: _typed(value) for key, value in flattened(run_params["runtime_params"] or {})}
    settings |= {"training.resume": "true"} if resume else {}
    given = ",".join(f"{key}={value}" for key, value in settings.items())
    params = f" --params {shlex.quote(given)}" if given else ""
    start = f"{_launcher(process_info(), launch.program)}{selection}{environment_option(run_params)}"
    return f"{start}{launch.options()}{params}"


def _launcher(here: ProcessInfo, program: str) -> str:
    """What ran these processes; with several machines it is to be typed on each."""
    if here.world_size == 1:
        return program
    # Where the machines meet is known to torchrun alone.
    meeting = f" --nnodes={here.nodes} --rdzv-backend=c10d --rdzv-endpoint=HOST:29500" if here.nodes > 1 else ""
    return f"torchrun{meeting} --nproc-per-node={here.local_world_size} -m voc_seg"


def _typed(value: Any) -> str:
    """A setting as ``--params`` takes it: lists with spaces, null for None."""
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if isinstance(value, str):
        # As it would be read: an id of digits keeps its quotes.
        return value if "," not in value and _reads_as_itself(value) else "'" + value.replace("'", "''") + "'"
    return "null" if value is None else str(value).lower()


def _reads_as_itself(value: str) -> bool:
    try:
        return yaml.safe_load(value) == value
    except yaml.YAMLError:  # as of *.jpg
        return False


def environment_option(run_params: dict[str, Any]) -> str:
    """`` --env NAME`` of a run, empty where that is the default."""
    environment = run_params["env"]
    return f" --env {environment}" if environment not in (None, "base", "local") else ""


_REPEATED = ("voc_root", "data.")


def repeated_options(run_params: dict[str, Any], pipelines: str = "") -> str:
    """What a command about a run's outputs needs: `` --env NAME --params run=NAME,voc_root=PATH``, empty by default.

    All runs share what data_processing makes, so alone it takes no name. Where the data is and how it is read has to be
    the same in every pipeline.
    """
    launch = launch_in(run_params)
    trains = bool({"training", "sanity"} & set(pipelines.split(",")))
    options = environment_option(run_params) + launch.options(with_runner=not trains)
    return options if launch.config_has_params else options + _params(run_params, pipelines != "data_processing")


def viz_options(run_params: dict[str, Any]) -> str:
    """What ``kedro viz run`` takes of them."""
    return environment_option(run_params) + _params(run_params)


def _params(run_params: dict[str, Any], with_run: bool = True) -> str:
    given = dict(flattened(run_params["runtime_params"] or {}))
    if not with_run or not isinstance(given.get("run"), str):
        given.pop("run", None)
    kept = [f"{key}={_typed(value)}" for key, value in given.items() if key == "run" or key.startswith(_REPEATED)]
    return f" --params {shlex.quote(','.join(kept))}" if kept else ""
