"""Grafana dashboards as code; ``python -m manifests.monitoring.dashboards`` writes them as JSON beside it."""
