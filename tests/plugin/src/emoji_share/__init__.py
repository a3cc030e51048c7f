"""The share of emoji in a text: a step of another distribution."""
