"""Embeddings of documents, their clusters, and what the clusters are about."""
