"""Fits the models that steps use."""
