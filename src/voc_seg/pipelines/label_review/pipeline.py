"""label_review: best model and samples -> label errors as tables and as a page."""

from kedro.pipeline import Node, Pipeline

from .nodes import review


def create_pipeline(**kwargs: object) -> Pipeline:
    """The label_review pipeline."""
    return Pipeline(
        [
            Node(
                func=review,
                inputs=[
                    "train_samples",
                    "val_samples",
                    "test_samples",
                    "best_model",
                    "params:data",
                    "params:evaluation",
                    "params:label_review",
                    "params:runtime",
                ],
                outputs=["label_issues", "label_quality", "label_review"],
                name="review_labels",
            ),
        ]
    )
