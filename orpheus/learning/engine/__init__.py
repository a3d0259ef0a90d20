"""The training engine: a Job in, a trained run out."""
