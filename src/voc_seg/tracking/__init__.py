"""What a run leaves in MLflow or TensorBoard, where that is installed and asked for."""

from .hooks import TrackingHooks

__all__ = ["TrackingHooks"]
