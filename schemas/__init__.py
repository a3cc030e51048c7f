"""Arrow schemas of every table, the config model, the manifest model and the error tree. Imports nothing of ours."""
