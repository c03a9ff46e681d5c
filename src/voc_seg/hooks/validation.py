"""Validate settings and inputs before a run, and show expected errors without a traceback."""

import faulthandler
import logging
import os
from contextlib import suppress
from typing import Any, cast

from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.io.core import is_parameter
from kedro.pipeline import Node, Pipeline
from pydantic import ValidationError

from voc_seg import __version__
from voc_seg.config import DataConfig, ModelConfig, Parameters, RuntimeConfig, TrainingConfig
from voc_seg.config.user_keys import unread_warnings
from voc_seg.system.errors import InterruptedRunError, VocSegError
from voc_seg.system.torchrun import process_info

from .commands import NEXT_COMMAND, Launch, launch_from_context, resume_command, run_command
from .errors import RunStoppedError, find_cause
from .kedro_internals import environments, pipeline_to_run
from .project_package import load_pipelines, pipeline_modules
from .setting_errors import describe_validation_errors

logger = logging.getLogger(__name__)

_CATALOG_ONLY = {
    "voc_root": "put it into conf/base/globals.yml",
    "voc_archive": "use --params",
    "inference.images": "use --params",
    "run": "use --params",
}


class ProjectHooks:
    """Checks a run before its first node; registered in ``settings.py``."""

    def __init__(self) -> None:
        self._logged: Exception | None = None
        self._launch = Launch()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Validate all settings before anything is loaded."""
        if os.name == "posix" and not faulthandler.is_enabled():
            with suppress(Exception):  # a console without a file descriptor
                faulthandler.enable()  # if a disk fails under a memory-mapped file, the process dies: show where
        self._launch = launch_from_context(context)
        try:
            settings = context.config_loader["parameters"]
        except MissingConfigException as error:
            loader = cast(OmegaConfigLoader, context.config_loader)  # settings.py asks for no other
            known = environments(loader)
            if loader.base_env in known:
                raise RunStoppedError(f"{error}. Environments (--env) are: {', '.join(known)}.") from None
            raise RunStoppedError(
                f"There are no settings: {loader.conf_source} has no folder {loader.base_env}. Run in the project "
                "folder, or add --conf-source=PATH with its conf folder or the archive from kedro package."
            ) from None
        # The catalog cannot read parameters files, so these keys would be ignored silently.
        for key, remedy in _CATALOG_ONLY.items():
            if get_nested(settings, key) and not get_nested(context.config_loader.runtime_params, key):
                raise RunStoppedError(f"{key} in a parameters file has no effect: {remedy}.")
        given = context.config_loader.runtime_params or {}
        if "run" in given and given["run"] in (None, ""):
            raise RunStoppedError("run is empty; nothing has run. Give the run a name, or remove run from --params.")
        try:
            Parameters.of(settings)
        except ValidationError as error:
            raise RunStoppedError(
                "Settings are wrong; nothing has run.\n" + describe_validation_errors(error)
            ) from None
        if settings.get("voc_root") and context.config_loader["globals"].get("source") == "sample":
            logger.warning(
                "voc_root is used with the settings of the drawn sample: small crops, no ImageNet weights. For the "
                "recipe of real VOC, add --env voc2012."
            )

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Refuse a run whose inputs, device or weights are missing."""
        pipeline = pipeline_to_run(pipeline, catalog, run_params)
        require_inputs(run_params | {"launch": self._launch}, pipeline, catalog)
        _warn_lost_outputs(pipeline, catalog)
        try:
            _warn_unread_keys(run_params, pipeline, catalog)
            _require_device_and_weights(pipeline, catalog)
            _require_best_model(pipeline, catalog)
        except VocSegError as error:
            raise RunStoppedError(f"{error}\nNothing has run.") from error

    @hook_impl
    def on_node_error(self, error: Exception) -> None:
        """Remember that Kedro has logged this error; it does not log those of a generator after its first item."""
        self._logged = error

    @hook_impl
    def on_pipeline_error(self, error: Exception, run_params: dict[str, Any]) -> None:
        """Show errors that the user can fix as a message; others keep their traceback."""
        cause = find_cause(error, VocSegError)
        if cause is None:
            return
        message, exit_code = str(cause), getattr(cause, "exit_code", None)
        if not exit_code:
            raise RunStoppedError(message, logged=cause is self._logged) from error
        if isinstance(cause, InterruptedRunError) and not cause.has_checkpoint:
            raise RunStoppedError(message, False, exit_code) from error  # console.py shows the command
        if process_info().rank:
            raise RunStoppedError(message, True, exit_code) from error  # rank 0 shows the message
        command = resume_command(run_params | {"launch": self._launch})
        message += " A checkpoint has been written. Resume with:"
        raise RunStoppedError(message, False, exit_code, command) from error


def require_inputs(run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Refuse a run that lacks inputs, and name the pipelines that produce them."""
    missing = sorted(name for name in pipeline.inputs() if not _is_available(name, catalog))
    lines = []
    for name in missing:
        producer = producing_pipeline(name)
        source = f"made by: {run_command(producer, run_params)}" if producer else _no_producer(name, name in catalog)
        lines.append(f"  {name}, {source}")
    if lines:
        raise RunStoppedError("Inputs of this run are missing:\n" + "\n".join(lines))


def _warn_lost_outputs(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Warn about outputs without a catalog entry, as in a project whose ``conf/base`` is of an earlier version.

    Nodes of users may pass on what is in no catalog, but the last output of a pipeline would be lost.
    """
    unsaved = {name for name in pipeline.all_outputs() if name not in catalog}
    added = [f"{module}." for name, module in pipeline_modules().items() if name not in NEXT_COMMAND]
    ours = {name for node in pipeline.nodes if _is_ours(node, added) for name in node.outputs}
    if lost := sorted((unsaved - ours) & pipeline.outputs()):
        logger.warning(
            "No catalog*.yml has an entry for %s, and no node reads it, so it is lost. To keep it, add an entry to "
            "conf/base/catalog.yml.", ", ".join(lost),
        )  # fmt: skip
    if lost := sorted(unsaved & ours):
        logger.warning(
            "No catalog*.yml has an entry for %s, so no file is written. If conf/base is of another version of "
            "voc_seg, copy the missing entries from conf/base of version %s, which is installed.",
            ", ".join(lost), __version__,
        )  # fmt: skip


def _is_ours(node: Node, added: list[str]) -> bool:
    """Whether a node is of voc_seg, and not of one of the ``added`` pipelines, which users have put into its folder."""
    module = f"{node.func.__module__}."
    return module.startswith("voc_seg.") and not module.startswith(tuple(added))


def _is_available(name: str, catalog: CatalogProtocol) -> bool:
    if is_parameter(name):
        return name in catalog
    return catalog.exists(name) or getattr(catalog.get(name), "IS_OPTIONAL", False)


def _no_producer(name: str, in_catalog: bool) -> str:
    if name.startswith("params:"):
        return "which is in no parameters file"
    return "which no pipeline produces" + ("" if in_catalog else " and which is in no catalog*.yml")


def _warn_unread_keys(run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Warn about user keys that no node reads and that may be misplaced settings."""
    inputs = set().union(pipeline.inputs(), *(other.inputs() for other in _user_pipelines().values()))
    if "parameters" in inputs:
        return
    read = {name.removeprefix("params:").partition(".")[0] for name in inputs if is_parameter(name)}
    given = run_params["runtime_params"] or {}
    for warning in unread_warnings(catalog.load("parameters"), given, read, Parameters):
        logger.warning("%s", warning)


def get_nested(settings: Any, key: str) -> Any:
    """The value at ``a.b`` in nested settings; None if there is none."""
    for part in key.split("."):
        settings = settings.get(part) if isinstance(settings, dict) else None
    return settings


def _require_device_and_weights(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Check device and weights now, not after hours of other nodes; imports torch only if necessary."""
    inputs = pipeline.inputs()
    if "params:runtime" in inputs:
        runtime = RuntimeConfig.model_validate(catalog.load("params:runtime"))
        if runtime.device not in ("auto", "cpu"):
            from voc_seg.engine.runtime import choose_runtime

            choose_runtime(runtime)
    resumes = "params:training" in inputs and TrainingConfig.model_validate(catalog.load("params:training")).resume
    if "params:model" in inputs and not resumes:
        model = ModelConfig.model_validate(catalog.load("params:model"))
        if model.timm_name or not (model.weights is None or model.downloads_weights):
            from voc_seg.models.registry import require_weights

            data = DataConfig.model_validate(catalog.load("params:data"))
            require_weights(model, data.channels)


def _require_best_model(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Refuse an unusable best model, or one for other classes or channels, before samples or images are read."""
    inputs = pipeline.inputs()
    if not {"best_model", "params:data"} <= inputs:
        return
    from voc_seg.datasets import ModelDataset
    from voc_seg.models.registry import require_trained_for

    dataset = catalog.get("best_model")
    if isinstance(dataset, ModelDataset):
        require_trained_for(dataset.load_checked(), DataConfig.model_validate(catalog.load("params:data")))


def producing_pipeline(dataset: str) -> str | None:
    """The pipeline that produces a dataset; None if there is none."""
    # Imported here, as a run loads only the pipelines it names.
    known = load_pipelines(NEXT_COMMAND) | _user_pipelines()
    return next((name for name, pipeline in known.items() if dataset in pipeline.all_outputs()), None)


def _user_pipelines() -> dict[str, Pipeline]:
    """Pipelines that users have added, except those that cannot be imported, which fail when they are run."""
    found: dict[str, Pipeline] = {}
    for name in pipeline_modules().keys() - NEXT_COMMAND.keys():
        with suppress(Exception):
            found |= load_pipelines([name])
    return found
