"""ensemble: the best models of several runs -> one model, the mean of their probabilities."""

from kedro.pipeline import Node, Pipeline

from .nodes import join_runs


def create_pipeline(**kwargs: object) -> Pipeline:
    """The ensemble pipeline."""
    return Pipeline(
        [Node(func=join_runs, inputs=["run_models", "params:ensemble"], outputs="best_model", name="join_runs")]
    )
