"""Parameters of the pipelines: each described once, those of steps by the step table."""

# kfp reads annotations as objects: no `from __future__ import annotations` here.
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from epilstm.pipelines.graphs.defaults import PATH_KEYS
from epilstm.pipelines.graphs.step_components import POSITIONAL, with_signature
from epilstm.pipelines.graphs.step_tasks import TaskMaker
from epilstm.runtime.step_table import STEPS

#: Builds a pipeline for kfp to compile: with what makes its tasks, and the default of each parameter.
Build = Callable[[TaskMaker, Mapping[str, Any]], GraphComponent]


@dataclass(frozen=True)
class PipelineParameter:
    """A parameter of pipelines; its `default` is None if it comes from a params file or there is none."""

    description: str
    type: type = str
    default: str | int | None = None


PIPELINE_PARAMETERS = {
    "data_root": PipelineParameter(
        "Place of bulk data: a folder on the mounted volume, or s3://bucket/prefix. Paths are relative to it."
    ),
    "samplesheet": PipelineParameter(
        "CSV of the tracks: cell_type, assay, uri and optionally replicate, sha256, transform, uncovered."
    ),
    "regions": PipelineParameter("BED of the regions to read; empty for whole chromosomes."),
    "blacklist": PipelineParameter("BED of bins to treat as without data; empty for none."),
    "tasks": PipelineParameter(
        "Tasks file (YAML) of the evaluation; empty, with labels, to evaluate the reconstruction only."
    ),
    "labels": PipelineParameter("Folder that the tasks' label files are relative to."),
    "ingest_shards": PipelineParameter("Largest number of shards of the tracks that are read at the same time.", int),
    "genome_parts": PipelineParameter(
        "Largest number of groups of chromosomes that are preprocessed and embedded at the same time.", int
    ),
    **{name: PipelineParameter(f"Params of {name}, as its section of params.yaml.", dict) for name in STEPS},
    "promote": PipelineParameter(
        "Params of the gate, as section promote of params.yaml; its key force is a reason to promote anyway.", dict
    ),
    "registry": PipelineParameter(
        "URL of the git repository that is the registry; pipeline training publishes nothing if it is empty.",
        default="",
    ),
    "branch": PipelineParameter(
        "Branch of the registry that a promoted model is committed to; created if it does not exist."
    ),
    "ir_sha256": PipelineParameter(
        "SHA-256 of this pipeline's compiled file, for the provenance; `epilstm pipeline` fills it in.", default=""
    ),
    "encoder": PipelineParameter(
        "Encoder folder: relative to the data root, absolute, or s3://bucket/prefix; brings tracks and scaler."
    ),
    "matrix": PipelineParameter(
        "Address of the matrix that the model was trained on, as preprocess reported it (`datasets/matrix/KEY`)."
    ),
    "max_age_days": PipelineParameter(
        "Train again, though nothing is new, if the champion was registered longer ago; 0 for never.", int, 0
    ),
    "canary_percent": PipelineParameter(
        "Share of the traffic for a new champion, the previous one serving the rest; 100 for all.", int, 100
    ),
    "inference_service": PipelineParameter(
        "InferenceService to patch in the run's namespace; empty if serving follows the branch.", default=""
    ),
    "rollback": PipelineParameter(
        "Reason to restore the previous champion, at once and for all traffic; empty to leave it.", default=""
    ),
}

#: Parameters of every pipeline that reads tracks, and of those that evaluate on labels.
TRACKS, LABELS = PATH_KEYS["ingest"], PATH_KEYS["evaluate"]


def pipeline(
    title: str, summary: str, names: Sequence[str], required: Sequence[str] = ()
) -> Callable[[Callable[[TaskMaker, Mapping[str, Any]], None]], Build]:
    """Make a pipeline of a function, as ``@dsl.pipeline`` does, with parameters of `PIPELINE_PARAMETERS`.

    The function creates the tasks, from a `TaskMaker` and the parameters by name. The pipeline takes the task maker,
    and the defaults from the params file by parameter.

    Parameters
    ----------
    title
        Of the pipeline; its name follows from it.
    summary
        One line.
    names, required
        Parameters with a default, and before them those that a run must give.
    """

    def decorate(tasks: Callable[[TaskMaker, Mapping[str, Any]], None]) -> Build:
        def build(make: TaskMaker, defaults: Mapping[str, Any]) -> GraphComponent:
            parameters, lines = [], []
            for each in (*required, *names):
                about = PIPELINE_PARAMETERS[each]
                default: Any = inspect.Parameter.empty
                if each not in required:
                    default = defaults[each] if about.default is None else about.default
                parameters.append(inspect.Parameter(each, POSITIONAL, annotation=about.type, default=default))
                lines.append(f"{each}\n    {about.description}")
            doc = "\n".join([summary, "", "Parameters", "----------", *lines])
            name = f"epilstm-{title.replace('-', '')}"
            traced = with_signature(name, doc, parameters, lambda **given: tasks(make, given))
            return dsl.pipeline(name=name, display_name=f"Epi-LSTM {title}")(traced)

        return build

    return decorate
