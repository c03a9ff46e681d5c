"""folds: runs on the folds of train -> their pooled scores, as tables and a figure."""

from kedro.pipeline import Node, Pipeline

from .nodes import pool_folds


def create_pipeline(**kwargs: object) -> Pipeline:
    """The folds pipeline."""
    return Pipeline(
        [
            Node(
                func=pool_folds,
                inputs=["runs", "params:comparison"],
                outputs=["folds_table", "folds_class_scores", "folds_figure"],
                name="pool_folds",
            )
        ]
    )
