"""Recommendation and classification from the modalities of items."""
