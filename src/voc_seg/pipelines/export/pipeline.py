"""export: best model -> safetensors, ONNX, model card and a page to try it."""

from kedro.pipeline import Node, Pipeline

from voc_seg.models.exchange import take_model
from voc_seg.system.torchrun import EVERY_RANK

from .nodes import build_demo, export_model


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
                    "export_train_samples",
                    "export_val_samples",
                ],
                outputs=[
                    "exported_onnx",
                    "exported_masks",
                    "exported_int8",
                    "exported_weights",
                    "exported_config",
                    "model_card",
                ],
                name="export_model",
            ),
            Node(
                func=build_demo,
                inputs=["scored_model", "exported_masks", "model_card", "params:data"],
                outputs="demo_page",
                name="build_demo",
            ),
        ]
    )
