"""Perplexity under n-gram models, for quality and against harmful content."""
