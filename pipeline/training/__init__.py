"""Passes that fit models rather than select documents."""
