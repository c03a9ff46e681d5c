"""export: best model -> safetensors, ONNX and model card, to take away."""

from kedro.pipeline import Node, Pipeline

from .nodes import export_onnx, export_weights, write_card


def create_pipeline(**kwargs: object) -> Pipeline:
    """The export pipeline."""
    return Pipeline(
        [
            Node(
                func=export_weights,
                inputs=["best_model", "params:data"],
                outputs="exported_weights",
                name="export_weights",
            ),
            Node(
                func=export_onnx,
                inputs=["best_model", "params:data"],
                outputs=["exported_onnx", "onnx_facts"],
                name="export_onnx",
            ),
            Node(
                func=write_card,
                inputs=[
                    "best_model",
                    "exported_weights",
                    "exported_onnx",
                    "onnx_facts",
                    "evaluation_facts",
                    "metrics",
                    "params:data",
                ],
                outputs="model_card",
                name="write_card",
            ),
        ]
    )
