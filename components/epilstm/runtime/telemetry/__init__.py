"""Metrics of a step for Prometheus, while it runs and at its end, and the trace it is part of."""
