"""Mixtures of a finished run: its selection indexed, and its documents moved into the order of training."""
