"""From pipelines to the files that Kubeflow Pipelines runs."""
