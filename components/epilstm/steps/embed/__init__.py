"""Run the encoder over every bin."""
