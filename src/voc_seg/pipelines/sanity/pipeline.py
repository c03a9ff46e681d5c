"""sanity: overfit a single image; the run fails if that does not work."""

from kedro.pipeline import Node, Pipeline

from .nodes import judge, overfit_sample, pick_sample


def create_pipeline(**kwargs: object) -> Pipeline:
    """The sanity pipeline."""
    return Pipeline(
        [
            Node(
                func=pick_sample,
                inputs=["train_samples", "params:data", "params:sanity"],
                outputs="sanity_sample",
                name="pick_sample",
            ),
            Node(
                func=overfit_sample,
                inputs=[
                    "sanity_sample",
                    "train_samples",
                    "params:seed",
                    "params:data",
                    "params:model",
                    "params:sanity",
                    "params:runtime",
                ],
                outputs=["sanity_history", "sanity_metrics", "sanity_figure"],
                name="overfit_sample",
            ),
            Node(func=judge, inputs=["sanity_metrics", "params:sanity"], outputs=None, name="judge"),
        ]
    )
