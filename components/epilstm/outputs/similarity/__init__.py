"""Regions of the genome whose embeddings are like those of a given region."""
