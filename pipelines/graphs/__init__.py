"""The pipelines: their steps as container components, wired and placed."""
