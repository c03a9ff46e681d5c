"""training: samples -> checkpoints, best model, history and its curves, and augmented samples."""

import base64
import io
import warnings
from pathlib import Path

from kedro.config import OmegaConfigLoader
from kedro.framework.project import settings
from kedro.pipeline import Node, Pipeline
from kedro.pipeline.preview_contract import ImagePreview
from kedro.utils import KedroExperimentalWarning, find_kedro_project

from voc_seg.config import DataConfig, ModelConfig
from voc_seg.system.torchrun import EVERY_RANK

from .nodes import draw_augmented, draw_history, train


def preview_network() -> ImagePreview:
    """A drawing of the network, from the settings in conf/base and conf/local, for Kedro-Viz."""
    from voc_seg.reporting.architecture import plot_network  # imports torch; only for Kedro-Viz

    conf = (find_kedro_project(Path.cwd()) or Path.cwd()) / settings.CONF_SOURCE
    parameters = OmegaConfigLoader(str(conf), **settings.CONFIG_LOADER_ARGS)["parameters"]
    data = DataConfig.model_validate(parameters["data"])
    drawing = io.BytesIO()
    network = ModelConfig.model_validate(parameters["model"])
    plot_network(network, len(data.class_table), data.channels).savefig(drawing, format="svg")
    return ImagePreview(f"data:image/svg+xml;base64,{base64.b64encode(drawing.getvalue()).decode()}")


def create_pipeline(**kwargs: object) -> Pipeline:
    """The training pipeline."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KedroExperimentalWarning)  # previews are experimental
        return _pipeline()


def _pipeline() -> Pipeline:
    return Pipeline(
        [
            Node(
                func=train,
                inputs=[
                    "train_samples",
                    "val_samples",
                    "resume_checkpoint",
                    "encoder_features",
                    "params:seed",
                    "params:data",
                    "params:augmentation",
                    "params:model",
                    "params:training",
                    "params:evaluation",
                    "params:inference",
                    "params:runtime",
                ],
                outputs=["best_model", "training_history", "checkpoints"],
                name="train",
                tags=EVERY_RANK,
                preview_fn=preview_network,
            ),
            Node(
                func=draw_augmented,
                inputs=[
                    "train_samples",
                    "params:seed",
                    "params:data",
                    "params:augmentation",
                    "params:model",
                    "params:training",
                    "params:evaluation",
                ],
                outputs="augmented_samples",
                name="draw_augmented",
            ),
            Node(func=draw_history, inputs="training_history", outputs="training_curves", name="draw_history"),
        ]
    )
