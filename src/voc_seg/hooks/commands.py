"""Commands that messages suggest: the next step, and how to resume a run."""

import shlex
from collections.abc import Iterable, Mapping
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

from .project_package import package_name

NEXT_COMMAND = {
    "data_processing": "kedro run --pipelines sanity",
    "sanity": "kedro run --pipelines training",
    "lr_finder": "kedro run --pipelines training",
    "training": "kedro run --pipelines evaluation",
    "calibration": "kedro run --pipelines evaluation",
    "ensemble": "kedro run --pipelines evaluation",
    "evaluation": "kedro viz run",  # plain kedro viz takes no options
    "label_review": "kedro run --pipelines data_processing,training",
    "inference": "look at {inference_gallery}",
    "export": "read {model_card}",
    "comparison": "look at {runs_figure}",
    "folds": "look at {folds_figure}",
}
"""What to type or do after each pipeline, in the order in which the pipelines depend on each other; in braces entries
of the catalog, for their paths."""


@dataclass(frozen=True)
class Launch:
    """How a run was started, as far as the next command has to repeat it."""

    program: str = "kedro run"  # ``kedro run``; where the project is an installed package, ``voc-seg``
    conf_source: str = ""  # value of ``--conf-source``, empty for the project's own
    config: str = ""  # value of ``--config``
    config_has_params: bool = False  # whether that file sets the parameters, which ``--params`` would replace
    runner: str = ""  # value of ``--runner``

    def options(self, with_runner: bool = True) -> str:
        """`` --conf-source PATH --config FILE --runner NAME``, as far as given."""
        given = {"conf-source": self.conf_source, "config": self.config, "runner": self.runner if with_runner else ""}
        return "".join(f" --{option} {shlex.quote(value)}" for option, value in given.items() if value)


def launch_from_context(context: KedroContext) -> Launch:
    """How the run of this context was started; a session in Python has no options."""
    typed = click.get_current_context(silent=True)
    params = typed.params if typed and "conf_source" in typed.params else {}
    conf, own = str(context.config_loader.conf_source), context.project_path / project_settings.CONF_SOURCE
    return Launch(
        "kedro run" if (context.project_path / "pyproject.toml").is_file() else _installed_program(),
        "" if "://" not in conf and Path(conf).resolve() == own.resolve() else _relative_to_cwd(conf),
        _relative_to_cwd(params.get("config") or ""),
        typed is not None
        and bool(params.get("config"))
        and typed.get_parameter_source("params") is ParameterSource.DEFAULT_MAP,
        params.get("runner") or "",
    )


def _installed_program() -> str:
    package = package_name()
    return "voc-seg" if package == "voc_seg" else f"python -m {package}"


def _relative_to_cwd(path: str) -> str:
    """A path relative to the working directory if it is inside; else unchanged."""
    if path and "://" not in path and Path(path).resolve().is_relative_to(Path.cwd()):
        return Path(path).resolve().relative_to(Path.cwd()).as_posix()
    return path


def launch_from_params(run_params: dict[str, Any]) -> Launch:
    """How a run was started, from ``launch`` in its parameters."""
    return run_params.get("launch") or Launch()


def run_command(pipeline: str, run_params: dict[str, Any]) -> str:
    """The command that runs a pipeline on the data and outputs of this run."""
    return f"{launch_from_params(run_params).program} --pipelines {pipeline}{context_options(run_params, pipeline)}"


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
    """The command that resumes an interrupted or failed run, from these nodes instead of those the run started from.

    If ``resume``, training resumes from its newest checkpoint.
    """
    order = list(NEXT_COMMAND)  # Kedro passes the names as a set
    launch = launch_from_params(run_params)
    selected = {option: run_params.get(key) or () for option, key in _SELECTIONS.items()}
    selected["pipelines"] = sorted(selected["pipelines"], key=lambda name: order.index(name) if name in order else -1)
    if from_nodes:
        selected |= {"from-nodes": sorted(from_nodes), "from-inputs": ()}
    selection = "".join(f" --{option} {','.join(names)}" for option, names in selected.items() if names)
    settings = {key: _format_value(value) for key, value in flattened(run_params["runtime_params"] or {})}
    settings |= {"training.resume": "true"} if resume else {}
    given = ",".join(f"{key}={value}" for key, value in settings.items())
    params = f" --params {shlex.quote(given)}" if given else ""
    start = f"{_launch_program(process_info(), launch.program)}{selection}{environment_option(run_params)}"
    return f"{start}{launch.options()}{params}"


def _launch_program(process: ProcessInfo, program: str) -> str:
    """The program that started this run; with several machines it has to be typed on each."""
    if process.world_size == 1:
        return program
    # Only torchrun knows the rendezvous endpoint.
    rendezvous = (
        f" --nnodes={process.nodes} --rdzv-backend=c10d --rdzv-endpoint=HOST:29500" if process.nodes > 1 else ""
    )
    return f"torchrun{rendezvous} --nproc-per-node={process.local_world_size} -m {package_name()}"


def _format_value(value: Any) -> str:
    """Format a setting for ``--params``: lists with spaces, null for None."""
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if isinstance(value, str):
        # YAML must read the text unchanged: an id of digits keeps its quotes.
        return value if "," not in value and _survives_yaml(value) else "'" + value.replace("'", "''") + "'"
    return "null" if value is None else str(value).lower()


def _survives_yaml(value: str) -> bool:
    try:
        return yaml.safe_load(value) == value
    except yaml.YAMLError:  # such as *.jpg
        return False


def environment_option(run_params: dict[str, Any]) -> str:
    """`` --env NAME`` of a run; empty for the default environment."""
    environment = run_params["env"]
    return f" --env {environment}" if environment not in (None, "base", "local") else ""


_REPEATED_KEYS = ("voc_root", "data.")


def context_options(run_params: dict[str, Any], pipelines: str = "", settings: Mapping[str, Any] | None = None) -> str:
    """Options for a command on the same data and outputs: `` --env NAME --params run=NAME,voc_root=PATH``; often empty.

    Every pipeline has to read the same data in the same way. data_processing takes no run name, as all runs share its
    outputs. With ``settings``, which were found with all settings of this run, all of those are repeated too.
    """
    launch = launch_from_params(run_params)
    trains = bool({"training", "sanity", "lr_finder"} & set(pipelines.split(",")))
    options = environment_option(run_params) + launch.options(with_runner=not trains)
    if launch.config_has_params:
        return options
    return options + _params(run_params, pipelines != "data_processing", settings)


def viz_options(run_params: dict[str, Any]) -> str:
    """Those of `context_options` that ``kedro viz run`` accepts."""
    return environment_option(run_params) + _params(run_params)


def _params(run_params: dict[str, Any], with_run: bool = True, settings: Mapping[str, Any] | None = None) -> str:
    given = dict(flattened(run_params["runtime_params"] or {}))
    if not with_run or not isinstance(given.get("run"), str):
        given.pop("run", None)
    repeated = (
        {key: value for key, value in given.items() if not key.startswith("lr_finder.")} | dict(settings)
        if settings is not None
        else {key: value for key, value in given.items() if key == "run" or key.startswith(_REPEATED_KEYS)}
    )
    kept = [f"{key}={_format_value(value)}" for key, value in repeated.items()]
    return f" --params {shlex.quote(','.join(kept))}" if kept else ""
