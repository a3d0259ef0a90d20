"""Factorisation of listening counts, and nearest neighbours."""
