"""Tasks, labels, folds and classifiers: how a representation is scored on held-out data."""
