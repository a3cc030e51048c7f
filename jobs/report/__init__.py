"""A run as one page: what was kept, what fell and why, with plots and sampled documents."""
