"""What each track is standardised with, from the counts that ingest left, and which tracks there are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from epilstm.console import log
from epilstm.errors import DataError
from epilstm.steps.preprocess.training_counts import TrainingCounts
from epilstm.store.manifests import ReferenceHistograms, Scaler, SignalManifest
from epilstm.tracks.identity import TrackSet, missing_tracks

#: Tracks that a message names at most.
NAMED = 10


def fit_scaler(manifest: SignalManifest, chromosomes: Sequence[str], clip: float | None = None) -> Scaler:
    """Mean and population standard deviation of the transformed signal per track.

    Over the bins with data in any track; a track without data in such a bin counts as a raw signal of 0 there or, where
    its uncovered bases are missing, is left out. Computed from moments.

    Parameters
    ----------
    manifest : SignalManifest
        Its moments and `bins_with_data` are those of the training bins.
    chromosomes : sequence of str
        Those that train.
    clip : float, optional
        Of the scaler.

    Raises
    ------
    DataError
        A track has no data in the training bins, or the same value everywhere.
    """
    # (track, chromosome, moment)
    moments = np.array([[track.moments[chrom] for chrom in chromosomes] for track in manifest.tracks])
    covered, total, squares = moments.sum(axis=1).T
    with_data = sum(manifest.bins_with_data[chrom] for chrom in chromosomes)
    left_out = np.array([track.uncovered == "missing" for track in manifest.tracks])
    bins = np.where(left_out, np.maximum(covered, 1), with_data)
    mean = total / bins
    variance = squares / bins - np.square(mean)
    for track, count, spread, size in zip(manifest.tracks, covered, variance, squares / bins, strict=True):
        where = f"track {track.name}: {track.uri}"
        if not count and track.uncovered != "zero":
            raise DataError(f"{where}: no data on the training chromosomes; leave the track out or train on others")
        if spread <= 1e-12 * size:  # what rounding leaves of a difference of equal numbers
            value = "a signal of 0" if not size else "the same value"
            raise DataError(
                f"{where}: {value} in every bin of the training chromosomes; leave the track out, or train on others"
            )
    tracks = manifest.track_set
    return Scaler(
        tracks=list(tracks.names),
        identities=list(tracks.identities),
        transform=[track.transform for track in manifest.tracks],
        uncovered=[track.uncovered for track in manifest.tracks],
        mean=mean.tolist(),
        scale=np.sqrt(variance).tolist(),
        clip=clip,
    )


def require_bin_size(manifest: SignalManifest, bin_size: int) -> None:
    """Refuse signal of other bins than an encoder's.

    Raises
    ------
    DataError
        They differ.
    """
    if manifest.bin_size != bin_size:
        raise DataError(
            f"bins are {manifest.bin_size} bp in the signal, {bin_size} bp in the encoder; "
            f"ingest again with ingest.bin_size: {bin_size}"
        )


def rows_of(scaler: Scaler, manifest: SignalManifest) -> tuple[int, ...]:
    """Row of the signal for each track of a scaler; those of the signal that are no track of it are logged.

    Raises
    ------
    DataError
        Names the scaler's tracks that the signal lacks.
    """
    tracks, wanted = manifest.track_set, scaler.track_set
    missing = missing_tracks(tracks, wanted)
    if missing:
        raise DataError(
            f"the signal lacks {len(missing)} of the encoder's {len(wanted)} tracks: {_named(missing)}; add them to "
            "the samplesheet, with the same cell types and assays, and ingest again"
        )
    extra = missing_tracks(wanted, tracks)
    if extra:
        log.warning(f"{len(extra)} tracks of the signal are none of the encoder's and left out: {_named(extra)}")
    return tuple(place for place in tracks.places_of(wanted) if place is not None)


def _named(tracks: Sequence[str]) -> str:
    shown = ", ".join(tracks[:NAMED])
    return shown if len(tracks) <= NAMED else f"{shown} and {len(tracks) - NAMED} more"


def reference_histograms(counted: TrainingCounts, rows: Sequence[int], tracks: TrackSet) -> ReferenceHistograms:
    """Histogram of each track over bins with data in any track, or in itself where its uncovered bases are missing.

    Parameters
    ----------
    counted : TrainingCounts
        Of the bins that a scaler is fitted to; of all, where none is.
    rows : sequence of int
        Tracks, by their row in the signal.
    tracks : TrackSet
        What these are.
    """
    manifest, counts = counted.manifest, counted.histograms[list(rows)]
    bins = sum(manifest.bins_with_data[chrom] for chrom in counted.chromosomes)
    zero = int(np.searchsorted(manifest.histogram_edges, 0.0, side="right")) - 1
    zeros = np.array([manifest.tracks[row].uncovered != "missing" for row in rows])
    counts[zeros, zero] += bins - counts[zeros].sum(axis=1)
    return ReferenceHistograms(
        tracks=list(tracks.names),
        identities=list(tracks.identities),
        edges=manifest.histogram_edges,
        counts=counts.tolist(),
    )
