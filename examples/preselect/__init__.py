"""A family of tiny language models, and the classifier that PreSelect trains from them."""
