"""Continuous mode: new input files become increments of one corpus, each a run of its own."""
