"""Export the encoder to ONNX."""
