"""Draws the embedded sample data set: images with exact masks. Only the sample uses this package."""
