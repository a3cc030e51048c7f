"""Where models come from, and how a folder describes the one that it holds."""
