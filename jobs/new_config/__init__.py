"""Writes a first config: finds the inputs in a folder, and puts the steps together for what is wanted."""
