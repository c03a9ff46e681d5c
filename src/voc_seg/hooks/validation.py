"""What happens around a run: settings checked first, missing inputs explained, errors without a traceback."""

import faulthandler
import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import IO, Any, cast

from click import ClickException, echo
from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.io.core import is_parameter
from kedro.pipeline import Pipeline
from pydantic import ValidationError

from voc_seg.config import DataConfig, ModelConfig, Parameters, RuntimeConfig, TrainingConfig
from voc_seg.config.foreign import block_of
from voc_seg.system.errors import VocSegError
from voc_seg.system.torchrun import process_info

from .commands import NEXT, Launch, command, launch_of, resume_command
from .kedro_internals import environments, planned

logger = logging.getLogger(__name__)

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
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it of the instance
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
        self._launch = Launch()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check every setting at once, before anything is loaded."""
        if os.name == "posix" and not faulthandler.is_enabled():
            with suppress(Exception):  # a console without a descriptor
                faulthandler.enable()  # a lost disk under a mapped file ends the process: say at least where
        self._launch = launch_of(context)
        try:
            settings = context.config_loader["parameters"]
        except MissingConfigException as error:
            loader = cast(OmegaConfigLoader, context.config_loader)  # settings.py asks for no other
            known = environments(loader)
            if loader.base_env in known:
                raise RunStoppedError(f"{error}. Environments (--env) are: {', '.join(known)}.") from None
            raise RunStoppedError(
                f"There are no settings: {loader.conf_source} has no folder {loader.base_env}. Run in the project's "
                "folder, or give --conf-source=PATH: its folder conf, or the archive that kedro package makes."
            ) from None
        # The catalog cannot see the parameters, so there they would be passed over in silence.
        for key, remedy in _OF_THE_CATALOG.items():
            if _at(settings, key) and not _at(context.config_loader.runtime_params, key):
                raise RunStoppedError(f"{key} in a parameters file has no effect: {remedy}.")
        given = context.config_loader.runtime_params or {}
        if "run" in given and given["run"] in (None, ""):
            raise RunStoppedError("run is empty; nothing has run. Give the run a name, or leave run out of --params.")
        try:
            Parameters.of(settings)
        except ValidationError as error:
            raise RunStoppedError("Settings are wrong; nothing has run.\n" + explain(error)) from None
        if settings.get("voc_root") and context.config_loader["globals"].get("source") == "sample":
            logger.warning(
                "voc_root with the settings of the drawn sample: small crops, no ImageNet weights. For the recipe of "
                "real VOC add --env voc2012."
            )

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Say which pipeline makes an input that is missing, and what this machine does not have."""
        pipeline = planned(pipeline, catalog, run_params)
        require_inputs(run_params | {"launch": self._launch}, pipeline, catalog)
        try:
            _warn_of_unread(run_params, pipeline, catalog)
            _require_device_and_weights(pipeline, catalog)
            _require_best_model(pipeline, catalog)
        except VocSegError as error:
            raise RunStoppedError(f"{error}\nNothing has run.") from error

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
                if exit_code and process_info().rank:
                    raise RunStoppedError(message, True, exit_code) from error  # rank 0 says it
                if exit_code:
                    message += " A checkpoint is written. Go on with:"
                    raise RunStoppedError(
                        message, False, exit_code, resume_command(run_params | {"launch": self._launch})
                    ) from error
                raise RunStoppedError(message, logged=cause is self._logged) from error
            cause = cause.__cause__


def require_inputs(run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Stop a run that lacks inputs, with the pipelines that make them.

    Raises:
        RunStoppedError: An input is not there.
    """
    missing = sorted(name for name in pipeline.inputs() if not _is_available(name, catalog))
    lines = []
    for name in missing:
        maker = _maker(name)
        made = f"made by: {command(maker, run_params)}" if maker else _unmade(name, name in catalog)
        lines.append(f"  {name}, {made}")
    if lines:
        raise RunStoppedError("This run needs what is not there yet:\n" + "\n".join(lines))


def _is_available(name: str, catalog: CatalogProtocol) -> bool:
    if is_parameter(name):
        return name in catalog
    return catalog.exists(name) or getattr(catalog.get(name), "IS_OPTIONAL", False)


def _unmade(name: str, in_catalog: bool) -> str:
    if name.startswith("params:"):
        return "which no parameters file has"
    return "which no pipeline makes" + ("" if in_catalog else " and no catalog*.yml has")


def _warn_of_unread(run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Warn of keys that may be meant for this project but are read by nobody."""
    inputs = set().union(pipeline.inputs(), *(other.inputs() for other in _own_pipelines().values()))
    if "parameters" in inputs:
        return
    read = {name.removeprefix("params:").partition(".")[0] for name in inputs if is_parameter(name)}
    for warning in Parameters.unread(catalog.load("parameters"), run_params["runtime_params"] or {}, read):
        logger.warning("%s", warning)


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


def explain(error: ValidationError) -> str:
    """One line a wrong setting: its key, its value and what is allowed."""
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            *above, last = item["loc"]
            known = _known_keys(above)
            if above:
                hint = "".join(f"; did you mean {close}?" for close in get_close_matches(str(last), known, 1))
            else:
                close = Parameters.meant(key, item["input"])
                hint = f"; did you mean {close}? A key of your own needs another name" if close else ""
            lines.append(f"  {key}: unknown key; known here: {', '.join(known)}{hint}")
        else:
            lines.append(f"  {key} = {item['input']!r}: {item['msg']}")
    return "\n".join(lines)


def _known_keys(location: Iterable[int | str]) -> list[str]:
    block: Any = Parameters
    for part in location:
        if isinstance(part, str):  # a number is a place in a list of blocks
            block = block_of(block.model_fields[part].annotation)
    return sorted(block.model_fields)


def _maker(dataset: str) -> str | None:
    """The pipeline whose nodes give a dataset, None if there is none."""
    # Imported here because a run loads only the pipelines it names.
    ours = {name: import_module(f"voc_seg.pipelines.{name}").create_pipeline() for name in NEXT}
    return next((name for name, one in (ours | _own_pipelines()).items() if dataset in one.all_outputs()), None)


def _own_pipelines() -> dict[str, Pipeline]:
    """Pipelines that users have added; those that cannot be imported are passed over until they are run."""
    found = {}
    for name in set(pipeline_names()) - NEXT.keys():
        with suppress(Exception):
            found[name] = import_module(f"voc_seg.pipelines.{name}").create_pipeline()
    return found


def pipeline_names() -> list[str]:
    """All pipelines, by their folders."""
    return sorted(path.parent.name for path in Path(__file__).parents[1].glob("pipelines/*/__init__.py"))
