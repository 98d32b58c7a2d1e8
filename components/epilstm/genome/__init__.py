"""Coordinates and annotation: assemblies, intervals, bins, GTF, FASTA."""
