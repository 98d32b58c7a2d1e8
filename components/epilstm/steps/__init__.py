"""One package for each step of the pipeline; none imports another."""
