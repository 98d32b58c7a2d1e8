"""Defaults of the parameters of a compiled pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from epilstm.params import SECTIONS, load_section

#: Keys of a section that dvc.yaml puts on a command line; pipelines take them as parameters of their own.
PATH_KEYS = {"ingest": ("samplesheet", "regions", "blacklist"), "evaluate": ("tasks", "labels")}

#: Paths by which params.yaml says "no blacklist", "all regions" or "no tasks" (and so no labels) to DVC, which knows no
#: optional dependency.
STAND_INS = {
    "regions": "regions/whole-genome.bed",
    "blacklist": "regions/no-blacklist.bed",
    "tasks": "tasks/no-tasks.yaml",
    "labels": "tasks",
}

#: Shards of the tracks that are ingested at the same time, at most.
INGEST_SHARDS = 4

#: Groups of chromosomes that are preprocessed and embedded at the same time, at most.
GENOME_PARTS = 8

#: Branch of the registry that pipelines commit to; not the default one, since its commits only name models.
BRANCH = "retraining"


def default_parameters(params: Path | None) -> dict[str, Any]:
    """Values of the parameters of pipelines, from a params file; without one, every default.

    Returns
    -------
    dict
        ``ingest_shards``, ``genome_parts``, ``branch``, those of `PATH_KEYS` (str), and a dict per section;
        a pipeline takes some.

    Raises
    ------
    ParamsError
        The file is unusable.
    """
    values: dict[str, Any] = {"ingest_shards": INGEST_SHARDS, "genome_parts": GENOME_PARTS, "branch": BRANCH}
    for name, model in SECTIONS.items():
        section = load_section(params, name, model) if params else model()
        values[name] = section.model_dump(mode="json")
        for key in PATH_KEYS.get(name, ()):
            values[key] = path_parameter(values[name][key])
    return values


def path_parameter(path: str) -> str:
    """A path of the params file as a pipeline takes it: empty where it stands for no file."""
    return "" if path in STAND_INS.values() else path
