"""The checks of `voc_seg.importing.checks`, by what they look at."""
