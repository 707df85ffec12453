"""From a dataset and a recipe to a run folder (extra: train)."""
