"""From bigWig tracks to mean signal per bin."""
