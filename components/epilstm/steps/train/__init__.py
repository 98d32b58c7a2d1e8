"""Train the LSTM autoencoder by truncated back-propagation over contiguous streams."""
