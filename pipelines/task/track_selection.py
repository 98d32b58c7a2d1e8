"""Which binned tracks of a shared track cache a task needs: those of its samplesheet, binned as its params say."""

from __future__ import annotations

import json
from pathlib import Path

from epilstm.genome.assembly import BUILT_IN_ASSEMBLIES, load_assembly, read_blacklist, read_regions
from epilstm.params import IngestParams
from epilstm.pipelines.task import storage
from epilstm.pipelines.task.data_root import DataRoot, Wanted
from epilstm.pipelines.task.line import StepLine
from epilstm.store.binned_track import Binning
from epilstm.tracks.fetching import name_of
from epilstm.tracks.samplesheet import Track, read_samplesheet, resolve_uri


def tracks_wanted(root: DataRoot, line: StepLine, paths: dict[str, str]) -> Wanted:
    """What to bring of a track cache in a bucket.

    Parameters
    ----------
    line : StepLine
        Of ingest.
    paths : dict of str to str
        Its samplesheet, regions and blacklist, brought.
    """
    sheet = root.local(paths["samplesheet"])
    binning = binning_of(root, line, paths)
    keys = {
        binning.key(digest, track.transform, track.uncovered)
        for track in read_samplesheet(sheet)
        if (digest := track.sha256 or noted_digest(root, line.values["cache"], track, sheet))
    }

    def wanted(name: str) -> bool:
        kind, _, inside = name.partition("/")
        return kind != "tracks" or inside.partition("/")[0] in keys

    return wanted


def binning_of(root: DataRoot, line: StepLine, paths: dict[str, str]) -> Binning:
    """What ingest reads of each track.

    Raises
    ------
    GenomeError
        The assembly, the regions or the blacklist are unusable.
    """
    params = line.params
    assert isinstance(params, IngestParams)
    built_in = params.assembly in BUILT_IN_ASSEMBLIES
    assembly = load_assembly(params.assembly if built_in else str(root.local(params.assembly)))
    regions = assembly.regions()
    if "regions" in paths:
        regions = read_regions(root.local(paths["regions"]), assembly, params.bin_size)
    blacklist = read_blacklist(root.local(paths["blacklist"]), assembly) if "blacklist" in paths else []
    return Binning.of(assembly, regions, blacklist, params.bin_size, params.codec)


def noted_digest(root: DataRoot, cache: str, track: Track, sheet: Path) -> str | None:
    """SHA-256 that the cache has noted for a track's file, whether or not the file has changed since."""
    note = storage.read(root.absolute(f"{cache}/sources/{name_of(resolve_uri(track.uri, sheet))}.json"))
    try:
        return None if note is None else str(json.loads(note)["sha256"])
    except (ValueError, KeyError, TypeError):
        return None
