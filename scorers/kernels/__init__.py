"""Numba kernels over UTF-8 buffers: each is a loop that Python would be too slow for, and nothing else."""
