"""Synthetic music with tags that can be heard."""
