"""Somebody's folder of music: scanned, measured, listed."""
