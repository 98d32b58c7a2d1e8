"""Hold new tracks against the data that the model was trained on."""
