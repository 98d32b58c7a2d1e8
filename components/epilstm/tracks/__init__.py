"""What a track is: its identity, samplesheet, signal transform, files and their readers."""
