"""Your own pipelines; one with the name of a pipeline of voc_seg replaces it."""
