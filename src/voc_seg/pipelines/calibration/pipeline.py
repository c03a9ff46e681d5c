"""calibration: fit the temperature of the best model on val, and store it in the model."""

from kedro.pipeline import Node, Pipeline

from .nodes import calibrate


def create_pipeline(**kwargs: object) -> Pipeline:
    """The calibration pipeline."""
    return Pipeline(
        [
            Node(
                func=calibrate,
                inputs=["val_samples", "best_model", "params:data", "params:evaluation", "params:runtime"],
                outputs=["calibration", "calibrated_model"],
                name="calibrate",
            ),
        ]
    )
