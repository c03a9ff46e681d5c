"""Fetches data sets: archives with checksums, mirrors, safe unpacking, SBD; nothing here reads a mask for training."""
