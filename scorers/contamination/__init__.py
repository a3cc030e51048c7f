"""Evaluation items that stand in documents: an index of them, and how much of each was found where."""
