"""Experiments: does a selection teach? Proxy models on equal tokens, paired over seeds."""
