"""One module per layout. Each has ``TITLE``, ``SPECIFIC`` and ``find``; `voc_seg.importing.layout` finds them here."""
