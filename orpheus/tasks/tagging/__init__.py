"""Tagging: tracks to tags."""
