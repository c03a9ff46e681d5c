"""training: samples -> checkpoints, best model, history and its curves."""

from kedro.pipeline import Node, Pipeline

from .nodes import draw_history, train


def create_pipeline(**kwargs: object) -> Pipeline:
    """The training pipeline."""
    return Pipeline(
        [
            Node(
                func=train,
                inputs=[
                    "train_samples",
                    "val_samples",
                    "resume_checkpoint",
                    "params:seed",
                    "params:data",
                    "params:augmentation",
                    "params:model",
                    "params:training",
                    "params:evaluation",
                    "params:runtime",
                ],
                outputs=["best_model", "training_history", "checkpoints"],
                name="train",
            ),
            Node(func=draw_history, inputs="training_history", outputs="training_curves", name="draw_history"),
        ]
    )
