"""Files, locks, processes, progress and errors. Nothing about segmentation belongs here."""
