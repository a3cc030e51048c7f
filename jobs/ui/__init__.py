"""A run as a local page: documents with their scores and fate, thresholds to move, SQL, the manifest."""
