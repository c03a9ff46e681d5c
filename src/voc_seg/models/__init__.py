"""Networks and their weights: encoders, decoders, SegmentationNet, reading saved models and exporting them."""
