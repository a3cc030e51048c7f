"""The graph of passes, and what carries it out: Beam, and a pool of local processes."""
