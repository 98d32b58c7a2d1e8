"""The plan of a run, made before it: how ingest is split, and which version of the user's data it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from epilstm.errors import ParamsError
from epilstm.files.outputs import sha256_json
from epilstm.pipelines.task.assignment import input_fingerprints
from epilstm.pipelines.task.data_root import DataRoot
from epilstm.pipelines.task.line import StepLine, parse_section
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.step_table import STEPS, Port
from epilstm.tracks.samplesheet import is_local, resolve_uri

#: Version of the labels of a run that is given none.
NO_LABELS = "none"


#: Values (bins x tracks) that a part is to have at least: some 10 to 20 s of one core's work, so that a pod is worth
#: its start.
INGEST_VALUES = 500_000_000
GENOME_VALUES = 500_000_000


@dataclass(frozen=True)
class Plan:
    """What a pipeline needs to know before its first step.

    Parameters
    ----------
    ingest_parts, genome_parts : list of str
        Values of ingest's ``--part``: at most as many as asked for, at most one per track.
    versions : dict of str to str
        ``data_version`` changes when the tracks do, ``labels_version`` when tasks or labels do (`NO_LABELS` where
        none are given), ``encoder_version`` when the encoder does; the last is there where one is given.
    code : dict of str to str
        Fingerprint of the code that is installed here, by step.
    """

    ingest_parts: list[str]
    genome_parts: list[str]
    versions: dict[str, str]
    code: dict[str, str]

    @property
    def summary(self) -> str:
        """How the work is split, for the log."""
        return f"ingest {len(self.ingest_parts) or 1}, preprocess and embed {len(self.genome_parts) or 1}"


def parts_of(most: int, values: int, worth: int) -> list[str]:
    """Parts of some work: as many as it is worth, at most `most`; none where one task does it all.

    Parameters
    ----------
    most : int
        Parts at most.
    values : int
        Values (bins x tracks) to work on.
    worth : int
        Values that a part should have at least.
    """
    parts = min(most, values // worth)
    return [f"{number}/{parts}" for number in range(1, parts + 1)] if parts > 1 else []


def make_plan(root: DataRoot, params: str, values: Mapping[str, str], shards: int, groups: int) -> Plan:
    """Read everything that the user gives but the tracks themselves, and plan.

    Parameters
    ----------
    params : str
        Ingest's section, JSON.
    values : mapping of str to str
        Value of each input port of ingest, ``tasks``, ``labels`` and ``encoder``; optional ones may be absent.
    shards, groups : int
        Parts of ingest, and of preprocess and embed, at most.

    Raises
    ------
    EpilstmError
        Something is missing or unusable: what ingest and evaluate would say, hours earlier.
    """
    if shards < 1:
        raise ParamsError(f"--ingest-shards {shards}: must be at least 1")
    if groups < 1:
        raise ParamsError(f"--genome-parts {groups}: must be at least 1")
    ports = {port.name: port for port in STEPS["ingest"].inputs}
    line = StepLine(
        STEPS["ingest"], parse_section("ingest", params), {name: values[name] for name in ports if name in values}
    )
    found = input_fingerprints(root, line)
    from epilstm.pipelines.task.track_selection import binning_of

    binning = binning_of(root, line, found.paths)
    amount = binning.region_bins * len(found.tracks)
    sheet = root.local(found.paths["samplesheet"])
    # What a server sends is worth a task for each shard, however little of it is binned.
    local = all(is_local(resolve_uri(track.uri, sheet)) for track in found.tracks)
    ingest_parts = parts_of(min(shards, len(found.tracks)), amount, INGEST_VALUES if local else 1)
    genome_parts = parts_of(min(groups, len(binning.arrays)), amount, GENOME_VALUES)
    bins = line.params.model_dump(mode="json", include={"assembly", "bin_size"})
    versions = {"data_version": sha256_json([found.fingerprints, bins])}
    versions["labels_version"] = _labels_version(root, values)
    if "encoder" in values:
        [port] = [port for port in STEPS["embed"].inputs if port.name == "encoder"]
        versions["encoder_version"] = root.bring_small(port, values["encoder"])[1]
    code = {step: step_fingerprint(step).sha256 for step in STEPS}
    return Plan(ingest_parts, genome_parts, versions, code)


def _labels_version(root: DataRoot, values: Mapping[str, str]) -> str:
    ports: list[Port] = [port for port in STEPS["evaluate"].inputs if port.name in ("tasks", "labels")]
    from epilstm.scoring.tasks import given_tasks

    brought = {port.name: root.bring_small(port, values[port.name]) for port in ports if port.name in values}
    given_tasks({name: root.local(path) for name, (path, _) in brought.items()})
    if not brought:
        return NO_LABELS
    return sha256_json({name: fingerprint for name, (_, fingerprint) in brought.items()})
