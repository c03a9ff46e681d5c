"""comparison: outputs of all runs -> their scores and differences, as tables and figures."""

from kedro.pipeline import Node, Pipeline

from .nodes import compare_runs


def create_pipeline(**kwargs: object) -> Pipeline:
    """The comparison pipeline."""
    return Pipeline(
        [
            Node(
                func=compare_runs,
                inputs=["runs", "params:comparison"],
                outputs=["runs_table", "runs_figure", "differences", "differences_figure"],
                name="compare_runs",
            )
        ]
    )
