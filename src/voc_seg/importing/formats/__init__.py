"""Files of annotation tools: lists, tables, JSON and class names are read here, and annotations drawn into masks."""
