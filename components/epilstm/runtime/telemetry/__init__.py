"""What a step tells of itself while it runs and at its end: metrics for Prometheus, and the trace it is part of."""
