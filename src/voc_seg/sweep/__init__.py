"""Runs several settings, one after the other or side by side, each as a named Kedro run."""
