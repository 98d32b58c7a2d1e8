"""Compact vectors for every 25-bp bin of the genome, from epigenomic signal tracks."""

import os

# onnxruntime (1.31) otherwise keeps a device id and a database under ~/.cache and reports usage over the network.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
