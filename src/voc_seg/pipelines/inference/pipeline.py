"""inference: best model, the user's images and videos -> masks, overlays, class fractions, and what to label next."""

from kedro.pipeline import Node, Pipeline

from .nodes import check_pictures, draw_gallery, export_masks, measure_shares, segment, suggest_images


def create_pipeline(**kwargs: object) -> Pipeline:
    """The inference pipeline."""
    return Pipeline(
        [
            Node(
                func=check_pictures,
                inputs=["inference_pictures", "params:data"],
                outputs=["readable_pictures", "readable_videos", "unreadable_pictures"],
                name="check_pictures",
            ),
            Node(
                func=segment,
                inputs=[
                    "readable_pictures",
                    "readable_videos",
                    "best_model",
                    "params:data",
                    "params:evaluation",
                    "params:inference",
                    "params:runtime",
                ],
                outputs=["inference_segmentations", "inference_videos"],
                name="segment",
            ),
            Node(
                func=measure_shares,
                inputs=[
                    "readable_pictures",
                    "inference_segmentations",
                    "readable_videos",
                    "inference_videos",
                    "unreadable_pictures",
                    "params:data",
                    "params:inference",
                ],
                outputs=["inference_shares", "inference_rejected"],
                name="measure_shares",
            ),
            Node(
                func=export_masks,
                inputs=["readable_pictures", "inference_segmentations", "params:data", "params:inference"],
                outputs="inference_annotations",
                name="export_masks",
            ),
            Node(
                func=suggest_images,
                inputs=["readable_pictures", "inference_segmentations", "params:data", "params:inference"],
                outputs=["label_next", "label_next_page"],
                name="suggest_images",
            ),
            Node(
                func=draw_gallery,
                inputs=[
                    "readable_pictures",
                    "inference_segmentations",
                    "inference_shares",
                    "inference_rejected",
                    "readable_videos",
                    "params:data",
                ],
                outputs="inference_gallery",
                name="draw_gallery",
            ),
        ]
    )
