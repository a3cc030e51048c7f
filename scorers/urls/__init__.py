"""Addresses and lists of them."""
