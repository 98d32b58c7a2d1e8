"""The work of a task: the step's real command line, what it follows from, and where its outputs go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from epilstm.errors import PipelineError
from epilstm.genome.assembly import BUILT_IN_ASSEMBLIES
from epilstm.params import IngestParams, PreprocessParams
from epilstm.pipelines.task.data_root import DataRoot, Wanted, everything
from epilstm.pipelines.task.datasets_kept import BULK, KeptDataset, content_key, manifest_of
from epilstm.pipelines.task.line import StepLine
from epilstm.pipelines.task.mirrored_folder import MirroredFolder
from epilstm.pipelines.task.tracks_version import tracks_version
from epilstm.runtime.code_fingerprint import step_fingerprint
from epilstm.runtime.step_table import Port
from epilstm.store.parts import group_of
from epilstm.tracks.samplesheet import Track

#: Work folders that serve every run; others belong to one run, that is to one content key.
SHARED_WORK = {"cache"}

ASSEMBLY = Port("assembly", "file", "ingest.assembly: hg19, hg38, mm10 or a chrom.sizes file under the data root")


@dataclass(frozen=True)
class Assignment:
    """A step's line, resolved.

    Parameters
    ----------
    paths : dict of str to str
        What the step is given for each port.
    key : str
        Content key: params, version and inputs.
    dataset : KeptDataset or None
        Its output under the data root, if it has one.
    artifacts : dict of str to Path
        Its outputs that are kfp artifacts.
    uri_file : Path or None
        Where kfp wants the dataset's URI.
    """

    root: DataRoot
    line: StepLine
    paths: dict[str, str]
    key: str
    dataset: KeptDataset | None
    artifacts: dict[str, Path]
    uri_file: Path | None
    work: tuple[MirroredFolder, ...]

    def bring(self) -> None:
        """Bring what only the step itself needs: datasets, and what earlier tasks left of the work."""
        for port in self.line.step.inputs:
            if port.kind in BULK and port.name in self.paths:
                self.paths[port.name] = self.root.bring(port, self.paths[port.name], self._wanted(port))
        for folder in self.work:
            folder.bring(self._tracks_wanted() if self._is_track_cache(folder) else everything)

    def argv(self) -> list[str]:
        """The step's command line; its params go into a file of the scratch folder.

        Raises
        ------
        KeyError
            A port has no value.
        """
        import yaml

        params = self.root.scratch / "params.yaml"
        params.write_text(yaml.safe_dump({self.line.step.name: self.line.params.model_dump(mode="json")}))
        return self.line.step.argv(str(params), self.paths, self.line.flags, self.line.part)

    def _wanted(self, port: Port) -> Wanted:
        """Of a dataset in a bucket only the arrays of the group that the task does."""
        params = self.line.params
        # Where parts of chromosomes are held out, what is fitted to the others follows from the signal of all of them.
        by_region = isinstance(params, PreprocessParams) and params.split.by == "region"
        if self.line.part is None or not self.root.remote or by_region:
            return everything
        arrays = set(group_of(self.line.part, manifest_of(self.root, port, self.paths[port.name])))

        def wanted(name: str) -> bool:
            group, _, inside = name.partition(".zarr/")
            # All masks are read together, and are small.
            return "/" not in inside or "/" in group or group == "mask" or inside.split("/")[0] in arrays

        return wanted

    def _tracks_wanted(self) -> Wanted:
        if not self.root.remote:
            return everything
        from epilstm.pipelines.task.track_selection import tracks_wanted

        return tracks_wanted(self.root, self.line, self.paths)

    def _is_track_cache(self, folder: MirroredFolder) -> bool:
        return self.line.step.name == "ingest" and folder.name == self.line.values.get("cache")


def require_code(step: str, planned: str) -> None:
    """Refuse to run a step with other code than its outputs will be named after.

    Parameters
    ----------
    planned : str
        Fingerprint of its code in the image that the plan ran in; empty if it is not known.

    Raises
    ------
    PipelineError
        The code here is another.
    """
    here = step_fingerprint(step).sha256
    if planned and planned != here:
        raise PipelineError(
            f"step {step}: the code of this image ({here[:12]}) is not that of the image that the plan ran in "
            f"({planned[:12]}); build all images from one commit, and compile the pipeline with their digests"
        )


def resolve(root: DataRoot, line: StepLine) -> Assignment:
    """Resolve a step's line; brings the small inputs.

    Raises
    ------
    EpilstmError
        An input is missing or unusable, or the data root cannot be written.
    """
    found = input_fingerprints(root, line)
    key = content_key(line, found.fingerprints)
    dataset, uri_file = _dataset(root, line, key)
    artifacts = _artifacts(line)
    work = _work(root, line, key)
    if dataset is not None or work:
        root.check_writable()
    paths = found.paths | {name: str(path) for name, path in artifacts.items()}
    paths |= {name: folder.name for name, folder in work.items()}
    if dataset is not None:
        paths |= dataset.paths(line.step)
    return Assignment(root, line, paths, key, dataset, artifacts, uri_file, tuple(work.values()))


def _dataset(root: DataRoot, line: StepLine, key: str) -> tuple[KeptDataset | None, Path | None]:
    """The output that stays under the data root, and the file that its URI goes to."""
    for port in line.step.outputs if line.part is None else ():
        value = line.values.get(port.name)
        if port.kind in BULK and value:
            return KeptDataset(root, f"datasets/{port.name}/{key}", port, key), Path(value)
        if port.kind == "folder" and value:
            return KeptDataset(root, value, port, key), None
    return None, None


def _artifacts(line: StepLine) -> dict[str, Path]:
    """Outputs that are kfp artifacts, where kfp wants them."""
    if line.part is not None:
        return {}
    return {
        port.name: Path(line.values[port.name]).absolute()
        for port in line.step.outputs
        if port.name in line.values and port.kind not in BULK and port.kind != "folder"
    }


def _work(root: DataRoot, line: StepLine, key: str) -> dict[str, MirroredFolder]:
    """Work folders by port."""
    given = {port.name: line.values[port.name] for port in line.step.work if port.name in line.values}
    return {
        name: MirroredFolder(root, value if name in SHARED_WORK else f"{value}/{key}") for name, value in given.items()
    }


@dataclass(frozen=True)
class Inputs:
    """Inputs of a step: what it is given for each, fingerprints, and the rows of the samplesheet if there is one."""

    paths: dict[str, str]
    fingerprints: dict[str, str]
    tracks: list[Track]


def input_fingerprints(root: DataRoot, line: StepLine) -> Inputs:
    """Find a step's inputs; datasets are not brought yet, all else is.

    Raises
    ------
    EpilstmError
        One is missing or unusable.
    """
    found = Inputs({}, {}, [])
    for port in line.step.inputs:
        value = line.values.get(port.name)
        if value is None:
            continue
        if port.kind in BULK:
            found.paths[port.name] = value
            found.fingerprints[port.name] = root.fingerprint_of_dataset(port, value)
        elif port.name == "samplesheet":
            found.paths[port.name], found.fingerprints[port.name], tracks = root.tracks(port, value)
            found.fingerprints["tracks"] = tracks_version(tracks, root.local(found.paths[port.name]))
            found.tracks.extend(tracks)
        else:
            found.paths[port.name], found.fingerprints[port.name] = root.bring_small(port, value)
    if isinstance(line.params, IngestParams) and line.params.assembly not in BUILT_IN_ASSEMBLIES:
        _, found.fingerprints["assembly"] = root.bring_small(ASSEMBLY, line.params.assembly)
    return found
