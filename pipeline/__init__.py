"""Beam transforms over Arrow record batches, one verb a file, thin over the pure functions in `scorers`."""
