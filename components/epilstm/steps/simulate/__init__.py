"""Make a small epigenome with tracks, labels and tasks, for trying and testing the pipeline."""
