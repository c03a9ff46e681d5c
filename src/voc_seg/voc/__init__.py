"""What VOC data is: classes, splits, reading of images and masks, index and statistics; no downloads, no tensors."""
