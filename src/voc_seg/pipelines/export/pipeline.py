"""export: best model -> safetensors, ONNX and model card, to take away."""

from kedro.pipeline import Node, Pipeline

from .nodes import export_model


def create_pipeline(**kwargs: object) -> Pipeline:
    """The export pipeline."""
    return Pipeline(
        [
            Node(
                func=export_model,
                inputs=["best_model", "evaluation_facts", "metrics", "params:data", "params:inference"],
                outputs=["earlier_model_card", "exported_onnx", "exported_weights", "model_card"],
                name="export_model",
            ),
        ]
    )
