"""Retraining on one machine: refresh, run the pipeline, judge, register, roll out."""
