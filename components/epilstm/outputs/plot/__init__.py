"""Figures as files: scores, curves, and what an embedding looks like."""
