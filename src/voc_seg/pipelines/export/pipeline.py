"""export: best model -> safetensors, ONNX and model card."""

from kedro.pipeline import Node, Pipeline

from voc_seg.models.exchange import take_model
from voc_seg.system.torchrun import EVERY_RANK

from .nodes import export_model


def create_pipeline(**kwargs: object) -> Pipeline:
    """The export pipeline."""
    return Pipeline(
        [
            Node(
                func=take_model,
                inputs="best_model",
                outputs="scored_model",
                name="take_model",
                tags=EVERY_RANK,
            ),
            Node(
                func=export_model,
                inputs=[
                    "scored_model",
                    "evaluation_facts",
                    "metrics",
                    "params:data",
                    "params:evaluation",
                    "params:inference",
                ],
                outputs=["exported_onnx", "exported_masks", "exported_weights", "model_card"],
                name="export_model",
            ),
        ]
    )
