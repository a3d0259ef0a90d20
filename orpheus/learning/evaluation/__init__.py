"""Metrics: exact formulas, intervals, baselines."""
