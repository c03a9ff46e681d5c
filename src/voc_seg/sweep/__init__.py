"""Several settings tried in turn or side by side, each as a run of its own with a name."""
