"""A segmentation of the genome from embeddings: states, where they are, what they hold, what they lie on."""
