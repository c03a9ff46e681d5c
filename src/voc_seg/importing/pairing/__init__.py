"""Which mask belongs to which image, and to which split, by the names and paths of files and folders."""
