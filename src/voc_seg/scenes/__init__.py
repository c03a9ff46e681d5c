"""Draws the embedded sample data set, images with exact masks; nothing outside the sample uses it."""
