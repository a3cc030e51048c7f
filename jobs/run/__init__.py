"""A run: planned from its inputs, executed as one graph of passes, accounted for."""
