"""comparison: what all runs have left -> one table."""

from kedro.pipeline import Node, Pipeline

from .nodes import compare_runs


def create_pipeline(**kwargs: object) -> Pipeline:
    """The comparison pipeline."""
    return Pipeline(
        [Node(func=compare_runs, inputs=["runs", "params:comparison"], outputs="runs_table", name="compare_runs")]
    )
