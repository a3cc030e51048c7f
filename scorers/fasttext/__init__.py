"""fastText classifiers, read, scored and trained."""
