"""Settings: one frozen pydantic model for each block of ``parameters*.yml``.

A hook validates them before any node runs (``voc_seg.hooks.validation``): a run with an unknown key, a wrong type or a
value out of range is refused. Nodes receive these models (``voc_seg.hooks.context``). Other top-level keys are the
user's.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from voc_seg.system.names import listed

from .augmentation import AugmentationConfig
from .block import Block, filled, flattened
from .data import ClassConfig, DataConfig
from .loss import LossConfig
from .model_input import ModelInput
from .network import RESNET_STAGES, RESNETS, ModelConfig
from .optimisation import LrFinderConfig, OptimizerConfig, ScheduleConfig
from .results import ComparisonConfig, EnsembleConfig, EvaluationConfig, InferenceConfig, LabelReviewConfig
from .running import RunName, RuntimeConfig, TrackingConfig
from .training import CheckpointConfig, SanityConfig, TrainingConfig
from .user_keys import project_parameters

__all__ = [
    "AugmentationConfig", "CheckpointConfig", "ClassConfig", "ComparisonConfig", "DataConfig", "EnsembleConfig",
    "EvaluationConfig", "InferenceConfig", "LabelReviewConfig", "LossConfig", "LrFinderConfig", "ModelConfig",
    "ModelInput", "OptimizerConfig", "Parameters", "RuntimeConfig", "SanityConfig", "ScheduleConfig", "TrackingConfig",
    "TrainingConfig", "filled", "flattened",
]  # fmt: skip


class Parameters(Block):
    """All settings of this project in ``parameters*.yml`` and ``--params``."""

    run: RunName = Field(
        None,
        description="name of the run: outputs go to data/runs/NAME instead of data; only with --params",
    )
    seed: int = Field(
        0, ge=0, le=2**63 - 1, description="random seed for initial weights, sample order, augmentation and dropout"
    )
    voc_root: Path | None = Field(
        None,
        description="path of an unpacked VOCdevkit, which is only read; null downloads or draws the data; with "
        "--params, or in globals.yml",
    )
    voc_archive: Path | None = Field(
        None,
        description="path of a downloaded archive, or of a folder of archives; null downloads them; only with --params",
    )
    data: DataConfig = DataConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    sanity: SanityConfig = SanityConfig()
    lr_finder: LrFinderConfig = LrFinderConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    inference: InferenceConfig = InferenceConfig()
    label_review: LabelReviewConfig = LabelReviewConfig()
    comparison: ComparisonConfig = ComparisonConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _monitored_class_exists(self) -> "Parameters":
        names = self.data.class_table.names
        wanted = self.training.monitored_class
        if wanted and wanted not in names:
            close = "".join(f" Did you mean class:{name}?" for name in get_close_matches(wanted, names, 1))
            raise ValueError(
                f"training.monitor is class:{wanted}, but there is no class {wanted}.{close} There are: {listed(names)}"
            )
        return self

    @model_validator(mode="after")
    def _numbers_fit_classes_and_stages(self) -> "Parameters":
        weights, classes = self.training.loss.class_weights, len(self.data.class_table)
        if isinstance(weights, tuple) and len(weights) != classes:
            raise ValueError(
                f"training.loss.class_weights has {len(weights)} of {classes} numbers. Give one for each of "
                "data.classes, in their order, or balanced"
            )
        stages = self.training.frozen_stages
        if self.model.encoder in RESNETS and stages != "all" and stages > RESNET_STAGES:
            raise ValueError(
                f"training.frozen_stages is {stages}, but {self.model.encoder} has {RESNET_STAGES} stages. Set it to "
                f"{RESNET_STAGES} at most, or to all, which stores the encoder's features"
            )
        return self

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Parameters":
        """Validate this project's settings; parameters of the user are ignored.

        Raises:
            pydantic.ValidationError: A setting is invalid, or a key is probably a misspelling of one.
        """
        return cls.model_validate(project_parameters(settings, cls))
