"""Remote tracks, brought in with where they came from."""
