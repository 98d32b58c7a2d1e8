"""Parameters of the pipelines: each described once, those of steps by the step table."""

# kfp reads annotations as objects: no `from __future__ import annotations` here.
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from epilstm.steps import STEPS
from pipelines.components import POSITIONAL, with_signature

#: Name -> description. What is not a text is in `TYPES`.
DESCRIPTIONS = {
    "data_root": "Place of bulk data: a folder on the mounted volume, or s3://bucket/prefix. Paths are relative to it.",
    "samplesheet": "CSV of the tracks: cell_type, assay, uri and optionally replicate, sha256, transform, uncovered.",
    "regions": "BED of the regions to read; empty for whole chromosomes.",
    "blacklist": "BED of bins to treat as without data; empty for none.",
    "tasks": "Tasks file (YAML) of the evaluation; empty, with labels, to evaluate the reconstruction only.",
    "labels": "Folder that the tasks' label files are relative to.",
    "ingest_shards": "Largest number of shards of the tracks that are read at the same time.",
    "genome_parts": "Largest number of groups of chromosomes that are preprocessed and embedded at the same time.",
    **{name: f"Params of {name}, as its section of params.yaml." for name in STEPS},
    "promote": "Params of the gate, as section promote of params.yaml; its key force is a reason to promote anyway.",
    "registry": "URL of the git repository that is the registry; pipeline training publishes nothing if it is empty.",
    "branch": "Branch of the registry that a promoted model is committed to; created if it does not exist.",
    "ir_sha256": "SHA-256 of this pipeline's compiled file, for the provenance; `epilstm pipeline` fills it in.",
    "encoder": "Encoder folder: relative to the data root, absolute, or s3://bucket/prefix; brings tracks and scaler.",
    "matrix": "Address of the matrix that the model was trained on, as preprocess reported it (`datasets/matrix/KEY`).",
    "max_age_days": "Train again, though nothing is new, if the champion was registered longer ago; 0 for never.",
    "canary_percent": "Share of the traffic for a new champion, the previous one serving the rest; 100 for all.",
    "inference_service": "InferenceService to patch in the run's namespace; empty if serving follows the branch.",
    "rollback": "Reason to restore the previous champion, at once and for all traffic; empty to leave it.",
}

TYPES = {
    **dict.fromkeys(STEPS, dict),
    **dict.fromkeys(("ingest_shards", "genome_parts", "max_age_days", "canary_percent"), int),
}

#: Parameters of every pipeline that reads tracks, and of those that evaluate on labels.
TRACKS, LABELS = ("samplesheet", "regions", "blacklist"), ("tasks", "labels")

#: Defaults that come from no params file.
DEFAULTS = {
    "registry": "",
    "ir_sha256": "",
    "max_age_days": 0,
    "canary_percent": 100,
    "inference_service": "",
    "rollback": "",
}


def pipeline_of(
    title: str,
    summary: str,
    names: Sequence[str],
    defaults: Mapping[str, Any],
    tasks: Callable[..., None],
    required: Sequence[str] = (),
) -> GraphComponent:
    """What ``@dsl.pipeline`` makes of a function with parameters of `DESCRIPTIONS`.

    Parameters
    ----------
    title : str
        Of the pipeline; its name follows from it.
    summary : str
        One line.
    names, required : sequence of str
        Parameters with a default, and before them those that a run must give.
    defaults : mapping of str to Any
        Defaults from the params file, by parameter.
    tasks : callable
        Creates the tasks; takes the parameters by name.
    """
    values = {**DEFAULTS, **defaults}
    parameters = [
        inspect.Parameter(
            each,
            POSITIONAL,
            annotation=TYPES.get(each, str),
            default=inspect.Parameter.empty if each in required else values[each],
        )
        for each in (*required, *names)
    ]
    lines = [f"{parameter.name}\n    {DESCRIPTIONS[parameter.name]}" for parameter in parameters]
    doc = "\n".join([summary, "", "Parameters", "----------", *lines])
    name = f"epilstm-{title.replace('-', '')}"
    return dsl.pipeline(name=name, display_name=f"Epi-LSTM {title}")(with_signature(name, doc, parameters, tasks))
