"""Turns results into figures, tables, report pages and model cards; it computes no scores."""
