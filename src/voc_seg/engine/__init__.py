"""Training, evaluation, inference, and the device and memory handling behind them: PyTorch without Kedro or files."""
