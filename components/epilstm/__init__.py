"""Compact vectors for every 25-bp bin of the genome, from epigenomic signal tracks."""

__version__ = "0.1.0"
