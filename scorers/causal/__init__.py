"""Causal language models, and what documents cost them."""
