"""Video files to clips: found, scanned, split, decoded, cut, augmented."""
