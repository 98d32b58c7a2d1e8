"""The steps as Kubeflow pipelines: how they are containerised, wired, compiled and sent to a cluster."""
