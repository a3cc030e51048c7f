"""Personal data and secrets in texts: where they are, and what may stand in their place."""
