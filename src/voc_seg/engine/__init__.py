"""Plain PyTorch on tensors: training, evaluation, inference and what they need of the machine; no Kedro, no files."""
