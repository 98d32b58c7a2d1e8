"""``python -m benchmarks.segmentation``: ways to find chromatin states, compared by the genes that they know."""
