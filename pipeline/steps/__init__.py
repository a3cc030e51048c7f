"""The steps of a config: one module a verb, and the registry that finds them."""
