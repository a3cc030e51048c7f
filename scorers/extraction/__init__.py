"""From pages to text, within limits of time and size."""
