"""Parameters as nodes receive them."""

import logging
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.validation.exceptions import ParameterValidationError
from kedro.validation.parameter_validator import ParameterValidator

from voc_seg.config import Parameters
from voc_seg.config.user_keys import block_of

from .errors import RunStoppedError

logger = logging.getLogger(__name__)

_BLOCKS = {name: block for name, field in Parameters.model_fields.items() if (block := block_of(field.annotation))}


class ProjectContext(KedroContext):
    """Converts every settings block to its type, whichever pipelines run.

    Kedro itself uses the type hints of the nodes in a run, so a user's node would receive ``params:training`` as a
    ``TrainingConfig`` if the training pipeline runs too, and as a dict otherwise. Kedro still handles the user's keys.
    """

    @property
    def params(self) -> dict[str, Any]:
        """All parameters, validated; raises RunStoppedError if one of the user violates the type hint of its node."""
        raw = self.config_loader["parameters"]
        ours = {name: block.model_validate(raw[name]) for name, block in _BLOCKS.items() if name in raw}
        found = self._user_parameters({name: value for name, value in raw.items() if name not in ours}) | ours
        return {name: found[name] for name in raw}

    def _user_parameters(self, values: dict[str, Any]) -> dict[str, Any]:
        if values.keys() <= Parameters.model_fields.keys():
            return values
        names = self._pipelines_to_validate
        try:
            requested = {name: pipelines[name] for name in (list(pipelines) if names is None else names)}
        except ImportError as error:  # kedro ipython must still start
            logger.warning("A pipeline cannot be imported, so its parameters are not validated: %s", error)
            return values
        try:
            return ParameterValidator(requested).validate_raw_params(values)
        except ParameterValidationError as error:
            raise RunStoppedError(f"Settings are wrong; nothing has run.\n{error}") from None
