"""The work of one shard in each kind of pass: read, annotate, decide, write."""
