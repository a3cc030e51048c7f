"""Where a run's files lie: file systems, column files, row states."""
