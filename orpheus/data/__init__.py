"""Audio, records, tags and the input pipeline."""
