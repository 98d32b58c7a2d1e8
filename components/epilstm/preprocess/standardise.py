"""From raw signal to the values of the matrix: arcsinh, then mean 0 and standard deviation 1 per track."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from epilstm.datasets import ReferenceHistograms, Scaler, SignalManifest, Split
from epilstm.errors import DataError, GenomeError

#: Largest finite float16.
LARGEST = float(np.finfo(np.float16).max)


def split_chromosomes(manifest: SignalManifest, validation: Sequence[str], test: Sequence[str]) -> Split:
    """Say what each chromosome with regions is used for; those that are not held out train.

    Raises
    ------
    GenomeError
        A held-out chromosome has no regions or no data, or nothing is left to train on.
    """
    with_data = [chrom for chrom in manifest.chromosomes if manifest.bins_with_data[chrom]]
    for key, chromosomes in (("validation", validation), ("test", test)):
        for chrom in chromosomes:
            if chrom not in with_data:
                why = "has no data in any track" if chrom in manifest.chromosomes else "is not in the signal"
                raise GenomeError(
                    f"preprocess.split.{key}: chromosome {chrom!r} {why}; those with data are {', '.join(with_data)}"
                )
    held_out = {*validation, *test}
    train = [chrom for chrom in with_data if chrom not in held_out]
    if not train:
        raise GenomeError(
            f"preprocess.split: no chromosome is left to train on; those with data are {', '.join(with_data)}, "
            "and all are held out"
        )
    return Split(train=train, validation=list(validation), test=list(test))


def fit_scaler(manifest: SignalManifest, split: Split) -> Scaler:
    """Mean and population standard deviation of arcsinh(signal) per track.

    Over the training chromosomes' bins with data in any track; a track without data in such a bin counts as a raw
    signal of 0 there. Computed from the moments that ingest left in the manifest.

    Raises
    ------
    DataError
        A track has no data on the training chromosomes, or the same value everywhere.
    """
    bins = sum(manifest.bins_with_data[chrom] for chrom in split.train)
    # (track, chromosome, moment)
    moments = np.array([[track.moments[chrom] for chrom in split.train] for track in manifest.tracks])
    covered, total, squares = moments.sum(axis=1).T
    mean = total / bins
    variance = squares / bins - np.square(mean)
    for track, count, spread, size in zip(manifest.tracks, covered, variance, squares / bins, strict=True):
        where = f"track {track.name}: {track.uri}"
        if not count:
            raise DataError(f"{where}: no data on the training chromosomes; leave the track out or train on others")
        if spread <= 1e-12 * size:  # what rounding leaves of a difference of equal numbers
            raise DataError(f"{where}: the same value in every bin of the training chromosomes; leave the track out")
    return Scaler(
        tracks=[track.name for track in manifest.tracks], mean=mean.tolist(), scale=np.sqrt(variance).tolist()
    )


def standardise(signal: npt.NDArray[np.float32], scaler: Scaler, tracks: slice) -> npt.NDArray[np.float16]:
    """``(arcsinh(x) - mean) / scale``, with no data as a raw signal of 0, clipped to what float16 holds.

    Parameters
    ----------
    signal : (track, bin) float32 array
        Raw; NaN where there is no data.
    scaler : Scaler
        Of all tracks.
    tracks : slice
        The rows' places among them.

    Returns
    -------
    (track, bin) float16 array
    """
    mean = np.array(scaler.mean[tracks], np.float32)[:, None]
    scale = np.array(scaler.scale[tracks], np.float32)[:, None]
    values = np.where(np.isnan(signal), np.float32(0), signal)
    np.arcsinh(values, out=values)
    values -= mean
    values /= scale
    np.clip(values, -LARGEST, LARGEST, out=values)
    return values.astype(np.float16)


def reference_histograms(
    manifest: SignalManifest, split: Split, histograms: npt.NDArray[np.int64]
) -> ReferenceHistograms:
    """Histogram of each track over what `fit_scaler` takes its statistics of.

    Parameters
    ----------
    manifest : SignalManifest
        Of the signal.
    split : Split
        Its chromosomes.
    histograms : (track, chromosome, histogram bin) int64 array
        The signal's, over covered bins.
    """
    chosen = [manifest.chromosomes.index(chrom) for chrom in split.train]
    counts = histograms[:, chosen].sum(axis=1)
    bins = sum(manifest.bins_with_data[chrom] for chrom in split.train)
    zero = int(np.searchsorted(manifest.histogram_edges, 0.0, side="right")) - 1
    counts[:, zero] += bins - counts.sum(axis=1)
    return ReferenceHistograms(
        tracks=[track.name for track in manifest.tracks], edges=manifest.histogram_edges, counts=counts.tolist()
    )
