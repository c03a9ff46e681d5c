"""Runs several settings, one after another or in parallel, each as a named Kedro run."""
