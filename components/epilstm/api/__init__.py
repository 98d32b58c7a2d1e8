"""Python: load a model, embed and reconstruct signal from arrays, bigWigs or datasets (docs/python.md)."""
