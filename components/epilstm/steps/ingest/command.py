"""The ingest step."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from epilstm.console import log, progress
from epilstm.errors import TrackError
from epilstm.files.disk import is_disk_full
from epilstm.files.outputs import remove
from epilstm.genome.assembly import load_assembly, read_blacklist, read_regions
from epilstm.params import IngestParams
from epilstm.runtime.processes import WorkerDied, outcomes
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.steps.ingest.signal_dataset import write_signal_dataset
from epilstm.steps.ingest.track_cache import Found, Source, TrackCache
from epilstm.store.arrays import available_cores
from epilstm.store.binned_track import BinnedTrack, Binning, empty_intervals_skipped
from epilstm.store.manifests import SignalManifest
from epilstm.store.parts import numbered_part
from epilstm.tracks.samplesheet import Track, mixed_assays, read_samplesheet, resolve_uri
from epilstm.tracks.signal_transform import Uncovered

#: Share of bins without data, or covered by no file, above which ingest warns.
MUCH_WITHOUT_DATA = 0.1

#: Chromosomes that a message names at most.
NAMED = 5

#: Servers asked at once whether a file has changed.
LOOKUPS = 16

#: Chromosomes that a message names at most.
NAMED = 5


def run(params: IngestParams, context: StepContext) -> StepResult:
    """Read every track of a samplesheet into mean signal per bin.

    Raises
    ------
    SamplesheetError, GenomeError, TrackError
        An input is unusable.
    """
    sheet = context.inputs["samplesheet"]
    tracks = read_samplesheet(sheet)
    for line in mixed_assays(tracks):
        log.warning(f"{sheet}: {line}")
    binning = _binning(params, context)
    if context.part is not None:
        tracks = shard_of(tracks, context.part)
    sources = [Source(track, _absolute(resolve_uri(track.uri, sheet))) for track in tracks]
    workers = params.workers or available_cores()
    if context.part is not None:
        found = ingest_tracks(sources, binning, TrackCache(context.work["cache"]), workers, params.retries)
        read = sum(track.bytes_read > 0 for track in found)
        summary = f"part {context.part}: {len(tracks)} tracks ({read} read, {len(tracks) - read} reused)"
        return StepResult(summary, bins=binning.region_bins, tracks=read, retries=_retries(found))

    output = context.outputs["signal"]
    kept = context.work.get("cache")
    # Without a cache to keep, one beside the output lets a rerun after a crash resume where the crash was.
    cache = TrackCache(kept or output.with_name(f"{output.name}.cache"))
    try:
        found = ingest_tracks(sources, binning, cache, workers, params.retries)
        manifest, bins_covered = write_signal_dataset(output, tracks, found, binning)
    except Exception as error:
        # On a full disk it would lie in the way of whoever frees some, and hidden.
        if kept is None and (is_disk_full(error) or not cache.holds_anything()):
            remove(cache.folder)
        raise
    if kept is None:
        remove(cache.folder)

    fractions = [track.covered_fraction for track in manifest.tracks]
    with_data = sum(manifest.bins_with_data.values())
    read = sum(track.bytes_read > 0 for track in found)
    metrics = {
        "tracks": len(tracks),
        "tracks_read": read,
        "tracks_reused": len(tracks) - read,
        "bytes_read": sum(track.bytes_read for track in found),
        "bins": binning.region_bins,
        "bins_with_data": with_data,
        "fraction_with_data": with_data / binning.region_bins,
        "fraction_covered": bins_covered / binning.region_bins,
        "covered_fraction_min": min(fractions),
        "covered_fraction_median": median(fractions),
    }
    _log_coverage(manifest, binning, bins_covered)
    summary = (
        f"{len(tracks)} tracks ({read} read, {len(tracks) - read} reused), {binning.region_bins:,} bins, "
        f"{metrics['fraction_with_data']:.1%} with data"
    )
    return StepResult(summary, metrics, bins=binning.region_bins, tracks=len(tracks), retries=_retries(found))


def _log_coverage(manifest: SignalManifest, binning: Binning, bins_covered: int) -> None:
    """Log how many bins no file covers, and what becomes of them; blacklisted bins are left out of account."""
    usable = binning.region_bins - binning.blacklisted_bins
    without_data = usable - sum(manifest.bins_with_data.values())
    if without_data > MUCH_WITHOUT_DATA * usable:
        log.warning(
            f"{without_data / usable:.1%} of the bins have no data in any track, and nothing is learnt there: "
            "if the files leave zeros out, as peaks do, set uncovered to zero in the samplesheet; if these are gaps of "
            "the assembly, leave it as it is"
        )
    not_covered = usable - bins_covered
    if not_covered and not without_data:
        share = f"{not_covered / usable:.1%} of the bins are covered by no file and count as a signal of 0"
        if not_covered > MUCH_WITHOUT_DATA * usable:
            log.warning(
                f"{share}: right for peaks and coverage; if the signal is continuous, these are gaps of the assembly: "
                "set uncovered to gap in the samplesheet, or list them in the blacklist"
            )
        else:
            log.info(share)


def _retries(found: Sequence[Found]) -> int:
    return sum(track.retries for track in found)


def shard_of(tracks: list[Track], part: str) -> list[Track]:
    """Tracks of one shard: of N shards, the I-th has every N-th row of the samplesheet from the I-th on.

    Parameters
    ----------
    tracks : list of Track
        All rows.
    part : str
        ``I/N``, counted from 1. There may be more shards than tracks: the last are then empty.

    Raises
    ------
    ParamsError
        It is not of that form.
    """
    number, shards = numbered_part(part)
    return tracks[number - 1 :: shards]


def _binning(params: IngestParams, context: StepContext) -> Binning:
    assembly = load_assembly(params.assembly)
    regions = assembly.regions()
    if "regions" in context.inputs:
        regions = read_regions(context.inputs["regions"], assembly, params.bin_size)
    blacklist = read_blacklist(context.inputs["blacklist"], assembly) if "blacklist" in context.inputs else []
    return Binning.of(assembly, regions, blacklist, params.bin_size, params.codec)


def _absolute(uri: str) -> str:
    return uri if "://" in uri else str(Path(uri).absolute())


@dataclass(frozen=True)
class _Job:
    source: Source
    binning: Binning
    cache: TrackCache
    retries: int


def _do(job: _Job) -> Found:
    return job.cache.make(job.source, job.binning, job.retries)


def ingest_tracks(
    sources: Sequence[Source], binning: Binning, cache: TrackCache, workers: int, retries: int
) -> list[Found]:
    """Find tracks in the cache, and bin those that are not there, one process per track at a time.

    A track that fails does not stop the others: what they need is then in the cache when the faulty one is fixed.

    Parameters
    ----------
    sources : sequence of Source
        Tracks to read.
    binning : Binning
        What to read of each.
    cache : TrackCache
        Where binned tracks are kept.
    workers : int
        Processes at most.
    retries : int
        Further attempts at a remote read.

    Raises
    ------
    TrackError
        Names the first track that is unavailable, and says how many more there are; each is logged.
    """
    found: list[Found | None] = [None] * len(sources)
    failures: dict[int, str] = {}
    threads = ThreadPoolExecutor(LOOKUPS)
    try:
        lookups = [threads.submit(cache.find, source, binning) for source in sources]
        for index, lookup in enumerate(lookups):
            try:
                found[index] = lookup.result()
            except TrackError as error:
                failures[index] = f"track {sources[index].track.name}: {error}"
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # an interrupt does not wait for servers
    _raise(failures)

    missing = [index for index, track in enumerate(found) if track is None]
    jobs = [_Job(sources[index], binning, cache, retries) for index in missing]
    with progress("binning tracks", len(jobs)) as bar, outcomes(_do, jobs, workers) as done:
        for outcome in done:
            index = missing[outcome.index]
            name = sources[index].track.name
            if isinstance(outcome.error, TrackError):
                failures[index] = f"track {name}: {outcome.error}"
                log.error(failures[index])
            elif isinstance(outcome.error, WorkerDied):
                raise TrackError(f"{sources[index].where}: {outcome.error}")
            else:
                found[index] = outcome.result()
            bar.note(name)
            bar.advance()
    _raise(failures)
    whole = [track for track in found if track is not None]
    for source, track in zip(sources, whole, strict=True):
        for line in _notes_on(track.binned, source.track.uncovered):
            log.warning(f"{source.where}: {line}")
    return whole


def _notes_on(track: BinnedTrack, uncovered: Uncovered) -> list[str]:
    """What a user should know of a track that is taken all the same."""
    notes = []
    absent, empty = track.absent, [chrom for chrom in track.without_data if chrom not in track.absent]
    there = "a signal of 0 there" if uncovered == "zero" else "no data there"
    if absent:
        notes.append(f"no {_named(absent)} in the file: {there}")
    if empty and uncovered == "zero":
        everywhere = len(absent) + len(empty) == len(track.chromosomes)
        notes.append(
            "no signal in any region: 0 everywhere" if everywhere else f"no signal on {_named(empty)}: {there}"
        )
    elif empty:
        notes.append(f"no signal on {_named(empty)}: {there}")
    if track.empty_intervals:
        notes.append(empty_intervals_skipped("the file", track.empty_intervals))
    return notes


def _named(chroms: Sequence[str]) -> str:
    more = f" and {len(chroms) - NAMED:,} more" if len(chroms) > NAMED else ""
    return ", ".join(chroms[:NAMED]) + more


def _raise(failures: dict[int, str]) -> None:
    if failures:
        first = failures[min(failures)]
        more = f" (and {len(failures) - 1} more tracks failed)" if len(failures) > 1 else ""
        raise TrackError(first + more)
