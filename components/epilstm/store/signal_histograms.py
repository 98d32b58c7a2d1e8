"""The signal's histograms: how often each track's signal has which value, chromosome by chromosome."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
import numpy.typing as npt

from epilstm.errors import DataError
from epilstm.files.outputs import sha256_file
from epilstm.store.manifests import SignalManifest

#: Counts that are not 0, (count, 4) int64: track, chromosome, histogram bin, count. Nearly all of a small chromosome's
#: are 0.
HISTOGRAMS = "histograms.npz"

#: All counts, (track, chromosome, histogram bin) int64, as datasets had them before.
ALL_COUNTS = "histograms.npy"

AGAIN = "pull the dataset again or run ingest again"


def write_histograms(folder: Path, tracks: Sequence[npt.NDArray[np.int64]]) -> str:
    """Write the counts of each track, (count, 3): chromosome, histogram bin, count; return the file's SHA-256.

    The file's bytes follow from the counts alone: what `numpy.savez_compressed` writes differs between versions of
    Python and of zlib, and so would the dataset's fingerprint.
    """
    rows = np.concatenate([np.insert(counts, 0, row, axis=1) for row, counts in enumerate(tracks)])
    entry = ZipInfo("counts.npy")  # dated 1980, stored as it is
    entry.create_system = 3  # else the one of the machine
    entry.file_size = rows.nbytes  # nearly; decides about ZIP64, which versions of Python write differently
    with ZipFile(folder / HISTOGRAMS, "w") as archive, archive.open(entry, "w") as stream:
        np.lib.format.write_array(stream, rows)
    return sha256_file(folder / HISTOGRAMS)


def read_histograms(folder: Path, manifest: SignalManifest, chromosomes: Sequence[str]) -> npt.NDArray[np.int64]:
    """Counts over some chromosomes together.

    Parameters
    ----------
    folder : Path
        Signal dataset.
    manifest : SignalManifest
        Its manifest.
    chromosomes : sequence of str
        Those to count.

    Returns
    -------
    (track, histogram bin) int64 array

    Raises
    ------
    DataError
        The file is missing, damaged or not the manifest's.
    """
    size = len(manifest.tracks), len(manifest.chromosomes), len(manifest.histogram_edges) - 1
    places = {chrom: place for place, chrom in enumerate(manifest.chromosomes)}
    chosen = np.zeros(size[1], bool)
    chosen[[places[chrom] for chrom in chromosomes]] = True
    if manifest.histograms_sha256 is None:
        summed: npt.NDArray[np.int64] = _all_counts(folder / ALL_COUNTS, size)[:, chosen].sum(axis=1)
        return summed
    path = folder / HISTOGRAMS
    if not path.is_file() or sha256_file(path) != manifest.histograms_sha256:
        raise DataError(f"{path}: missing, damaged or replaced; {AGAIN}")
    with np.load(path, allow_pickle=False) as content:
        track, chrom, place, count = content["counts"].T
    together = np.zeros((size[0], size[2]), np.int64)
    known = chosen[chrom]
    np.add.at(together, (track[known], place[known]), count[known])
    return together


def _all_counts(path: Path, expected: tuple[int, int, int]) -> npt.NDArray[np.int64]:
    try:
        counts: npt.NDArray[np.int64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; {AGAIN}") from error
    if counts.shape != expected:
        raise DataError(f"{path}: of shape {counts.shape}, the manifest says {expected}; {AGAIN}")
    return counts
