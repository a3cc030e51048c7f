"""Answers an assistant's questions about finished runs over the Model Context Protocol: tools that only read."""
