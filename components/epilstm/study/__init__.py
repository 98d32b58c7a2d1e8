"""Studies: the pipeline run with one thing changed at a time, as DVC experiments, and their results."""
