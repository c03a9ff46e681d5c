"""lr_finder: a learning-rate range test with the settings of training."""

from kedro.pipeline import Node, Pipeline

from .nodes import find_learning_rate


def create_pipeline(**kwargs: object) -> Pipeline:
    """The lr_finder pipeline."""
    return Pipeline(
        [
            Node(
                func=find_learning_rate,
                inputs=[
                    "train_samples",
                    "params:seed",
                    "params:data",
                    "params:augmentation",
                    "params:model",
                    "params:training",
                    "params:runtime",
                    "params:lr_finder",
                ],
                outputs=["lr_finder_table", "lr_finder_suggestion", "lr_finder_figure"],
                name="find_learning_rate",
            ),
        ]
    )
