"""Arrays on disk, their manifests, and what reads and writes them."""
