"""PreSelect (Shum et al. 2025): predictive strength of documents, and its classifier."""
