"""What a line for people is made of, see `tamis.jobs.text`."""

from tamis.jobs.text import counted, duration, figure, file_size, harmless, one_line

__all__ = ["counted", "duration", "figure", "file_size", "harmless", "one_line"]
