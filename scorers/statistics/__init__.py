"""Text statistics, and the published rules over them."""
