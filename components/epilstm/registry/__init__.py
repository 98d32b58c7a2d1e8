"""The model registry: versions and stages as git tags (gto), content in the DVC remote."""
