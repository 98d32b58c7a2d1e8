"""Runs on a user's own data: a project outside the clone, and one command from a samplesheet to a report."""
