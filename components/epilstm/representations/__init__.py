"""What embeddings are compared with: raw signal, means over windows, PCA, NMF."""
