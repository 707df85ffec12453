"""Datasets: reading, splitting, auditing, augmenting."""
