"""Scores computed from predictions and targets; nothing here reads files or draws."""
