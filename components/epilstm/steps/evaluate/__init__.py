"""What the embedding is worth: downstream tasks and reconstruction, against baselines, on held-out data."""
