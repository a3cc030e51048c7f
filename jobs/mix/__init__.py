"""Mixtures of finished runs: estimated or set, materialised, compared, exported."""
