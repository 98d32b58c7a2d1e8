"""Tasks of a pipeline around the registry: fetch the champion, detect changes, publish, roll out.

``python -m epilstm.pipelines.lifecycle`` is what the containers run, in the image `pipeline`.
"""

from __future__ import annotations

from epilstm.pipelines.graphs.defaults import PATH_KEYS

#: Parameters of the pipelines that name files.
FILES = (*PATH_KEYS["ingest"], *PATH_KEYS["evaluate"])

#: Params sections of a run.
RUN_SECTIONS = ("ingest", "preprocess", "train", "export", "embed", "evaluate", "report", "promote")

#: Steps whose metrics the registry keeps.
METRICS = ("ingest", "preprocess", "train", "export", "embed", "evaluate")

#: Name of an output that conditions read: kfp.local evaluates one on an output of any other name as false.
VERDICT = "Output"
