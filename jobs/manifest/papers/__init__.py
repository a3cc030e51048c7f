"""The papers of a data set, each made from a run's manifest, its shards and what its owner says about it."""
