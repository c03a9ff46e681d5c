"""What happens around a run: settings checked first, missing inputs explained, errors without a traceback."""

import faulthandler
import logging
import os
import shlex
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any, get_args

import yaml
from click import ClickException, echo
from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from pydantic import BaseModel, ValidationError

from voc_seg.config import DataConfig, ModelConfig, Parameters, RuntimeConfig, TrainingConfig, flattened
from voc_seg.errors import VocSegError
from voc_seg.torchrun import Place, place

logger = logging.getLogger(__name__)

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


_OF_THE_CATALOG = {
    "voc_root": "put it into conf/base/globals.yml",
    "voc_archive": "give it with --params",
    "inference.images": "give it with --params",
    "run": "give it with --params",
}


class RunStoppedError(ClickException):
    """Ends ``kedro run`` with an exit code and no traceback; the message has been logged by then.

    Args:
        message: What is wrong and what to do.
        logged: Kedro has logged the message already.
        exit_code: Of the process.
        command: What to type next, for a run that was asked to stop.
    """

    def __init__(self, message: str, logged: bool = False, exit_code: int = 1, command: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.command = command
        if not logged:
            with suppress(SystemExit):  # rich's answer to a console that is gone; the log file has the message
                logger.log(logging.WARNING if command else logging.ERROR, "%s", message)
                if command:
                    logger.debug("Go on with: %s", command)  # shown by the file alone

    def show(self, file: IO[Any] | None = None) -> None:
        """The command alone, in one line that can be copied; the log, on the console and in the file, has the rest."""
        if self.command:
            with suppress(OSError):
                echo(self.command, err=True)

    def _render_traceback_(self) -> list[str]:
        """For IPython and notebooks: the log has the message already, and a traceback helps nobody."""
        return [self.command]


class ProjectHooks:
    """The hooks of this project; see ``settings.py``."""

    def __init__(self) -> None:
        self._logged: Exception | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check every setting at once, before anything is loaded."""
        if os.name == "posix" and not faulthandler.is_enabled():
            with suppress(Exception):  # a console without a descriptor
                faulthandler.enable()  # a lost disk under a mapped file ends the process: say at least where
        try:
            settings = context.config_loader["parameters"]
        except MissingConfigException as error:
            conf = Path(context.config_loader.conf_source)
            known = sorted(folder.name for folder in conf.iterdir() if folder.is_dir())
            raise RunStoppedError(f"{error}. Environments (--env) are: {', '.join(known)}.") from None
        # The catalog cannot see the parameters, so there they would be passed over in silence.
        for key, remedy in _OF_THE_CATALOG.items():
            if _at(settings, key) and not _at(context.config_loader.runtime_params, key):
                raise RunStoppedError(f"{key} in a parameters file has no effect: {remedy}.")
        given = context.config_loader.runtime_params or {}
        if "run" in given and given["run"] in (None, ""):
            raise RunStoppedError("run is empty; nothing has run. Give the run a name, or leave run out of --params.")
        try:
            Parameters.model_validate(settings)
        except ValidationError as error:
            raise RunStoppedError("Settings are wrong; nothing has run.\n" + explain(error)) from None
        if settings.get("voc_root") and context.config_loader["globals"]["source"] == "sample":
            logger.warning(
                "voc_root with the settings of the drawn sample: small crops, no ImageNet weights. For the recipe of "
                "real VOC add --env voc2012."
            )

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Say which pipeline makes an input that is missing, and what this machine does not have."""
        missing = sorted(
            name for name in pipeline.inputs() if not name.startswith("param") and not catalog.exists(name)
        )
        if missing:
            lines = [f"  {name}, made by: {command(_maker(name), run_params)}" for name in missing]
            raise RunStoppedError("This run needs what is not there yet:\n" + "\n".join(lines))
        try:
            _require_device_and_weights(pipeline, catalog)
            _require_best_model(pipeline, catalog)
        except VocSegError as error:
            raise RunStoppedError(f"{error} Nothing has run.") from error

    @hook_impl
    def on_node_error(self, error: Exception) -> None:
        """Remember what Kedro has logged: all errors of a node, but those of a generator after its first item."""
        self._logged = error

    @hook_impl
    def on_pipeline_error(self, error: Exception, run_params: dict[str, Any]) -> None:
        """Show errors that the user can put right as a message; others keep their traceback."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, VocSegError):
                message, exit_code = str(cause), getattr(cause, "exit_code", None)
                if exit_code and place().rank:
                    raise RunStoppedError(message, True, exit_code) from error  # rank 0 says it
                if exit_code:
                    message += " A checkpoint is written. Go on with:"
                    raise RunStoppedError(message, False, exit_code, resume_command(run_params)) from error
                raise RunStoppedError(message, logged=cause is self._logged) from error
            cause = cause.__cause__


def _at(settings: Any, key: str) -> Any:
    """The value at ``a.b`` of nested settings, None where there is none."""
    for part in key.split("."):
        settings = settings.get(part) if isinstance(settings, dict) else None
    return settings


def _require_device_and_weights(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Ask for what a node would miss only after the others have run; torch is imported here if it is needed."""
    inputs = pipeline.inputs()
    if "params:runtime" in inputs:
        runtime = RuntimeConfig.model_validate(catalog.load("params:runtime"))
        if runtime.device not in ("auto", "cpu"):
            from voc_seg.engine.runtime import choose_runtime

            choose_runtime(runtime)
    resumes = "params:training" in inputs and TrainingConfig.model_validate(catalog.load("params:training")).resume
    if "params:model" in inputs and not resumes:
        model = ModelConfig.model_validate(catalog.load("params:model"))
        if model.weights not in (None, "imagenet"):
            from voc_seg.models.registry import require_weights

            require_weights(model)


def _require_best_model(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Refuse a best model that cannot be used, or is of other classes, before samples or pictures are read."""
    inputs = pipeline.inputs()
    if not {"best_model", "params:data"} <= inputs:
        return
    from voc_seg.datasets import ModelDataset
    from voc_seg.models.registry import require_classes

    dataset = catalog.get("best_model")
    if isinstance(dataset, ModelDataset):
        names = DataConfig.model_validate(catalog.load("params:data")).class_table.names
        require_classes(dataset.load_checked(), names)


def command(pipeline: str, run_params: dict[str, Any]) -> str:
    """How to run a pipeline so that it is about the outputs of a run."""
    return f"kedro run --pipelines {pipeline}{repeated_options(run_params, pipeline)}"


_SELECTIONS = {
    "pipelines": "pipeline_names",
    "nodes": "node_names",
    "tags": "tags",
    "from-nodes": "from_nodes",
    "to-nodes": "to_nodes",
}


_REPEATED = ("run", "voc_root", "data.")


def resume_command(run_params: dict[str, Any]) -> str:
    """How to go on with a run that was interrupted: the same once more, with ``training.resume``."""
    order = list(NEXT)  # Kedro makes a set of the names
    selected = {option: run_params.get(key) or () for option, key in _SELECTIONS.items()}
    selected["pipelines"] = sorted(selected["pipelines"], key=lambda name: order.index(name) if name in order else -1)
    selection = "".join(f" --{option} {','.join(names)}" for option, names in selected.items() if names)
    settings = {key: _typed(value) for key, value in flattened(run_params["runtime_params"] or {})}
    settings |= {"training.resume": "true"}
    given = ",".join(f"{key}={value}" for key, value in settings.items())
    return f"{_launcher(place())}{selection}{environment_option(run_params)} --params {shlex.quote(given)}"


def _launcher(here: Place) -> str:
    """What ran these processes; with several machines it is to be typed on each."""
    if here.ranks == 1:
        return "kedro run"
    # Where the machines meet is known to torchrun alone.
    meeting = f" --nnodes={here.machines} --rdzv-backend=c10d --rdzv-endpoint=HOST:29500" if here.machines > 1 else ""
    return f"torchrun{meeting} --nproc-per-node={here.local_ranks} -m voc_seg"


def _typed(value: Any) -> str:
    """A setting as ``--params`` takes it: lists with spaces, null for None."""
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if isinstance(value, str):
        # As it would be read: an id of digits keeps its quotes.
        return value if yaml.safe_load(value) == value else f"'{value}'"
    return "null" if value is None else str(value).lower()


def environment_option(run_params: dict[str, Any]) -> str:
    """`` --env NAME`` of a run, empty where that is the default."""
    environment = run_params["env"]
    return f" --env {environment}" if environment not in (None, "base", "local") else ""


def repeated_options(run_params: dict[str, Any], pipelines: str = "") -> str:
    """What a command about a run's outputs needs: `` --env NAME --params run=NAME,voc_root=PATH``, empty by default.

    All runs share what data_processing makes, so alone it takes no name. What data there is and how it is read has to
    be the same in every pipeline.
    """
    given = dict(flattened(run_params["runtime_params"] or {}))
    if pipelines == "data_processing" or not isinstance(given.get("run"), str):
        given.pop("run", None)
    kept = [f"{key}={_typed(value)}" for key, value in given.items() if key.startswith(_REPEATED)]
    return environment_option(run_params) + (f" --params {shlex.quote(','.join(kept))}" if kept else "")


def explain(error: ValidationError) -> str:
    """One line a wrong setting: its key, its value and what is allowed."""
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            known = ", ".join(_known_keys(item["loc"][:-1]))
            lines.append(f"  {key}: unknown key; known here: {known}")
        else:
            lines.append(f"  {key} = {item['input']!r}: {item['msg']}")
    return "\n".join(lines)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    block: Any = Parameters
    for part in location:
        if isinstance(part, str):  # a number is a place in a list of blocks
            block = _block_of(block.model_fields[part].annotation)
    return sorted(block.model_fields)


def _block_of(annotation: Any) -> Any:
    """The block of settings in an annotation such as ``tuple[Block, ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((block for part in get_args(annotation) if (block := _block_of(part))), None)


def _maker(dataset: str) -> str:
    """The pipeline whose nodes give a dataset; imported here because a run loads only the pipelines it names."""
    for name in NEXT:
        if dataset in import_module(f"voc_seg.pipelines.{name}").create_pipeline().all_outputs():
            return name
    raise KeyError(dataset)
