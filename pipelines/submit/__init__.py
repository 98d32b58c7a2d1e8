"""Talking to a Kubeflow Pipelines server: upload, submit, follow, schedule."""
