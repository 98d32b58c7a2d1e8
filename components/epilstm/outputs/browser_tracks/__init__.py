"""Embeddings, reconstructed and imputed tracks in the formats of genome browsers and of analysis tools."""
