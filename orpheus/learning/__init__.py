"""Losses, metrics, the training engine and inference."""
