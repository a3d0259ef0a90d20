"""Training records: the format, and how tracks become shards."""
