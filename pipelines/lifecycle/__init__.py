"""What a pipeline asks of the registry: who is champion, whether anything is new, to publish, to roll out.

``python -m pipelines.lifecycle`` is what the containers run, in the image `pipeline`.
"""

from __future__ import annotations

#: Parameters of the pipelines that name files.
FILES = ("samplesheet", "regions", "blacklist", "tasks", "labels")

#: Params sections of a run.
RUN_SECTIONS = ("ingest", "preprocess", "train", "export", "embed", "evaluate", "report", "promote")

#: Steps whose metrics the registry keeps.
METRICS = ("ingest", "preprocess", "train", "export", "embed", "evaluate")

#: Name of an output that conditions look at: kfp.local takes one on an output of any other name for false.
VERDICT = "Output"
