"""Influence of documents on a reference loss, and the bandit that spends a budget by it."""
