"""What people take away: browser tracks, segmentations, plots, imported checkpoints."""
