"""SQL over a finished run, by DuckDB."""
