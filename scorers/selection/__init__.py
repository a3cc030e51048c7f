"""Rules, and exact selections over a corpus of any size."""
