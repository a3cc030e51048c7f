"""N-gram language models: estimated, stored and queried."""
