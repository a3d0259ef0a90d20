"""Retrieval: tags and songs in one space."""
