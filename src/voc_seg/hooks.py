"""What happens around a run: settings checked first, missing inputs explained, errors without a traceback."""

import logging
from importlib import import_module
from pathlib import Path
from typing import IO, Any, get_args

from click import ClickException
from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from pydantic import BaseModel, ValidationError

from voc_seg.config import Parameters
from voc_seg.errors import VocSegError

logger = logging.getLogger(__name__)

NEXT = {
    "data_processing": "kedro run --pipelines sanity",
    "sanity": "kedro run --pipelines training",
    "training": "kedro run --pipelines evaluation",
    "evaluation": "kedro viz",
}
"""What to type after each pipeline, in the order in which they build on each other."""


class RunStoppedError(ClickException):
    """Ends ``kedro run`` with exit code 1 and no traceback; the message has been logged by then.

    Args:
        message: What is wrong and what to do.
        logged: Kedro has logged the message already.
    """

    def __init__(self, message: str, logged: bool = False) -> None:
        super().__init__(message)
        if not logged:
            logger.error("%s", message)

    def show(self, file: IO[Any] | None = None) -> None:
        """Nothing more: the log, on the console and in the file, has it."""


class ProjectHooks:
    """The hooks of this project; see ``settings.py``."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check every setting at once, before anything is loaded."""
        try:
            settings = context.config_loader["parameters"]
        except MissingConfigException as error:
            conf = Path(context.config_loader.conf_source)
            known = sorted(folder.name for folder in conf.iterdir() if folder.is_dir())
            raise RunStoppedError(f"{error}. Environments (--env) are: {', '.join(known)}.") from None
        # The catalog cannot see the parameters, so there they would be passed over in silence.
        for key, place in (("voc_root", "put it into conf/base/globals.yml"), ("voc_archive", "give it with --params")):
            if settings.get(key) and key not in (context.config_loader.runtime_params or {}):
                raise RunStoppedError(f"{key} in a parameters file has no effect: {place}.")
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
        """Say which pipeline makes an input that is missing."""
        missing = sorted(
            name for name in pipeline.inputs() if not name.startswith("param") and not catalog.exists(name)
        )
        if missing:
            lines = [f"  {name}, made by: {command(_maker(name), run_params)}" for name in missing]
            raise RunStoppedError("This run needs what is not there yet:\n" + "\n".join(lines))

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Show errors that the user can put right as a message; others keep their traceback."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, VocSegError):
                # An error of the node itself has been logged by Kedro, one of a dataset comes wrapped up.
                raise RunStoppedError(str(cause), logged=cause is error) from error
            cause = cause.__cause__

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Say what to type next."""
        ran = [name for name in NEXT if name in (run_params["pipeline_names"] or ["evaluation"])]
        if ran:
            logger.info("Done. Next: %s", NEXT[ran[-1]] + _environment(run_params))


def command(pipeline: str, run_params: dict[str, Any]) -> str:
    """How to run a pipeline in the environment of a run."""
    return f"kedro run --pipelines {pipeline}{_environment(run_params)}"


def _environment(run_params: dict[str, Any]) -> str:
    environment = run_params["env"]
    return f" --env {environment}" if environment not in (None, "base", "local") else ""


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
