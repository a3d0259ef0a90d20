"""Commands that prepare and inspect data: `python -m tools.NAME --help`."""
