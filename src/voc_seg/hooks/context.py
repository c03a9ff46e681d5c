"""Parameters as nodes take them."""

import logging
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.validation.exceptions import ParameterValidationError
from kedro.validation.parameter_validator import ParameterValidator

from voc_seg.config import Parameters
from voc_seg.config.foreign import block_of

from .validation import RunStoppedError

logger = logging.getLogger(__name__)

_BLOCKS = {name: block for name, field in Parameters.model_fields.items() if (block := block_of(field.annotation))}


class ProjectContext(KedroContext):
    """Gives every block of ours its type, whichever pipelines run.

    Kedro looks at the hints of the nodes that run, so that a node of the user's would get ``params:training`` as a
    ``TrainingConfig`` beside the pipeline training and as a dict without it. Keys of the user's own are left to Kedro.
    """

    @property
    def params(self) -> dict[str, Any]:
        """All parameters, checked.

        Raises:
            RunStoppedError: One of the user's own does not fit the hint of its node.
        """
        raw = self.config_loader["parameters"]
        ours = {name: block.model_validate(raw[name]) for name, block in _BLOCKS.items() if name in raw}
        found = self._foreign({name: value for name, value in raw.items() if name not in ours}) | ours
        return {name: found[name] for name in raw}

    def _foreign(self, values: dict[str, Any]) -> dict[str, Any]:
        if values.keys() <= Parameters.model_fields.keys():
            return values
        names = self._pipelines_to_validate
        try:
            looked_at = {name: pipelines[name] for name in (list(pipelines) if names is None else names)}
        except ImportError as error:  # kedro ipython opens all the same
            logger.warning("A pipeline cannot be imported, so its parameters are not checked: %s", error)
            return values
        try:
            return ParameterValidator(looked_at).validate_raw_params(values)
        except ParameterValidationError as error:
            raise RunStoppedError(f"Settings are wrong; nothing has run.\n{error}") from None
