"""The samplesheet: which tracks there are and where their signal lies."""
