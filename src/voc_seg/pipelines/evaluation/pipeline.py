"""evaluation: best model and samples -> scores, masks, figures and a report."""

from kedro.pipeline import Node, Pipeline

from voc_seg.models.exchange import take_model
from voc_seg.system.torchrun import EVERY_RANK

from .nodes import choose_split, draw_predictions, draw_scores, evaluate, summarise, write_report


def create_pipeline(**kwargs: object) -> Pipeline:
    """The evaluation pipeline."""
    return Pipeline(
        [
            Node(
                func=choose_split,
                inputs=["train_samples", "val_samples", "test_samples", "scored_model", "params:evaluation"],
                outputs="evaluation_samples",
                name="choose_split",
                tags=EVERY_RANK,
            ),
            Node(
                func=take_model,
                inputs="best_model",
                outputs="scored_model",
                name="take_model",
                tags=EVERY_RANK,
            ),
            Node(
                func=evaluate,
                inputs=["evaluation_samples", "scored_model", "params:data", "params:evaluation", "params:runtime"],
                outputs=[
                    "predictions",
                    "confusion_matrix",
                    "image_scores",
                    "image_confusions",
                    "confidence_bins",
                    "evaluation_facts",
                ],
                name="evaluate",
                tags=EVERY_RANK,
            ),
            Node(
                func=summarise,
                inputs=["confusion_matrix", "evaluation_facts", "image_confusions", "confidence_bins"],
                outputs=["metrics", "class_scores"],
                name="summarise",
            ),
            Node(
                func=draw_scores,
                inputs=["class_scores", "metrics", "confusion_matrix", "confidence_bins"],
                outputs=["class_iou", "confusion_figure", "confidence_figure"],
                name="draw_scores",
            ),
            Node(
                func=draw_predictions,
                inputs=["evaluation_samples", "predictions", "image_scores", "params:data", "params:evaluation"],
                outputs=["prediction_gallery", "prediction_figures"],
                name="draw_predictions",
            ),
            Node(
                func=write_report,
                inputs=[
                    "evaluation_samples",
                    "predictions",
                    "image_scores",
                    "class_scores",
                    "confusion_matrix",
                    "metrics",
                    "scored_model",
                    "model_history",
                    "params:data",
                    "params:evaluation",
                    "confidence_bins",
                    "train_samples",
                ],
                outputs="report",
                name="write_report",
            ),
        ]
    )
