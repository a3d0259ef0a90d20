"""Run folders: made, found, opened at a URL, and what of them can be compared."""
