"""From decoded images to batches: the packed store, augmentation and loading; VOC files are read in voc."""
