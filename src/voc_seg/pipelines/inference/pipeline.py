"""inference: best model and the user's images -> masks, overlays and class fractions."""

from kedro.pipeline import Node, Pipeline

from .nodes import check_pictures, draw_gallery, measure_shares, segment


def create_pipeline(**kwargs: object) -> Pipeline:
    """The inference pipeline."""
    return Pipeline(
        [
            Node(
                func=check_pictures,
                inputs=["inference_pictures", "params:data"],
                outputs=["readable_pictures", "unreadable_pictures"],
                name="check_pictures",
            ),
            Node(
                func=segment,
                inputs=[
                    "readable_pictures",
                    "best_model",
                    "params:data",
                    "params:evaluation",
                    "params:inference",
                    "params:runtime",
                ],
                outputs="inference_segmentations",
                name="segment",
            ),
            Node(
                func=measure_shares,
                inputs=["readable_pictures", "inference_segmentations", "unreadable_pictures", "params:data"],
                outputs=["inference_shares", "inference_rejected"],
                name="measure_shares",
            ),
            Node(
                func=draw_gallery,
                inputs=[
                    "readable_pictures",
                    "inference_segmentations",
                    "inference_shares",
                    "inference_rejected",
                    "params:data",
                ],
                outputs="inference_gallery",
                name="draw_gallery",
            ),
        ]
    )
