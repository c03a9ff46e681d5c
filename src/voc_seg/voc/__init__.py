"""VOC data: classes, splits, reading of images and masks, index and statistics. No downloads and no tensors."""
