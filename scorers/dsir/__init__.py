"""Data selection by importance resampling (Xie et al. 2023)."""
