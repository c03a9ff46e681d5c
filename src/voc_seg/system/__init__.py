"""Files, locks, processes, progress and errors; nothing here knows about segmentation."""
