"""Stored records to batches: order, windows, augmentation, triplets."""
