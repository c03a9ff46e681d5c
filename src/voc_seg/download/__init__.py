"""Downloads data sets: archives with checksums, mirrors, safe unpacking, SBD. No training data is read here."""
