"""The autoencoder: architectures, their recurrences, and the model folder."""
