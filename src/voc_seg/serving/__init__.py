"""A server that segments uploaded images: ``voc-seg serve``. It knows nothing of Kedro."""
