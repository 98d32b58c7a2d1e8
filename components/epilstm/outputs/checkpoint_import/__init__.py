"""Import of the weights published with Epi-LSTM."""
