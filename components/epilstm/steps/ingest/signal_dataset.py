"""The signal data set, put together from binned tracks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from epilstm.steps.ingest.track_cache import Found
from epilstm.store.arrays import MaskWriter, create_group, create_signal_array, shard_file
from epilstm.store.binned_track import SIGNAL, Binning, histograms, moments, read_coverage, unpack_coverage
from epilstm.store.manifests import SignalManifest, TrackEntry, write_manifest
from epilstm.store.signal_histograms import write_histograms
from epilstm.tracks.binning import HISTOGRAM_EDGES
from epilstm.tracks.samplesheet import Track


def write_signal_dataset(
    folder: Path, tracks: Sequence[Track], found: Sequence[Found], binning: Binning
) -> tuple[SignalManifest, int]:
    """Put binned tracks together.

    Parameters
    ----------
    folder : Path
        Written; see `epilstm.store.manifests` for what is in it.
    tracks : sequence of Track
        Rows of the samplesheet, in order.
    found : sequence of Found
        Their binned forms, whose files are hard-linked where the file system allows it, and copied where not.
    binning : Binning
        What was read.

    Returns
    -------
    SignalManifest
        As written.
    int
        Bins of the regions that a file covers; those of the blacklist count as not covered.
    """
    folder.mkdir(parents=True)
    group = create_group(folder / "signal.zarr", binning.places)
    for array in binning.arrays:
        ranges = binning.array_ranges(array)
        create_signal_array(group, array, len(tracks), binning.array_bins(array), binning.codec, ranges)
        for row, track in enumerate(found):
            _link_shards(track.folder / SIGNAL, folder / "signal.zarr", array, row)
    fill_with_zero = any(track.uncovered == "zero" for track in tracks)
    bins_with_data, bins_covered = _write_mask(folder / "mask.zarr", found, binning, fill_with_zero)
    histograms_sha256 = write_histograms(folder, [histograms(each.binned, binning.chromosomes) for each in found])
    manifest = SignalManifest(
        assembly=binning.assembly,
        bin_size=binning.bin_size,
        chromosome_sizes={chrom: binning.sizes[chrom] for chrom in binning.chromosomes},
        regions=[(region.chrom, region.start, region.end) for region in binning.regions],
        tracks=[
            TrackEntry(
                cell_type=row.cell_type,
                assay=row.assay,
                replicate=row.replicate,
                uri=row.uri,
                transform=row.transform,
                uncovered=row.uncovered,
                sha256=track.binned.sha256,
                bytes=track.binned.bytes,
                covered_fraction=track.binned.covered / binning.region_bins,
                moments=moments(track.binned),
                metadata=dict(row.metadata),
            )
            for row, track in zip(tracks, found, strict=True)
        ],
        blacklist_sha256=binning.blacklist_sha256,
        bins_with_data=bins_with_data,
        histogram_edges=HISTOGRAM_EDGES.tolist(),
        histograms_sha256=histograms_sha256,
    )
    write_manifest(folder, manifest)
    return manifest, bins_covered


def _link_shards(source: Path, target: Path, array: str, row: int) -> None:
    """Link a one-track array's shards in as those of one row."""
    source_array, target_array = shard_file(source, array, 0), shard_file(target, array, row)
    target_array.mkdir(parents=True)
    for shard in source_array.iterdir():
        try:
            os.link(shard, target_array / shard.name)
        except OSError:  # another file system, one without links, or too many links
            shutil.copyfile(shard, target_array / shard.name)


def _write_mask(
    path: Path, found: Sequence[Found], binning: Binning, fill_with_zero: bool
) -> tuple[dict[str, int], int]:
    """Write which bins have data in any track; return their number per chromosome, and that of bins that a file covers.

    Bins that no file covers have data, a signal of 0, where `fill_with_zero` says so and they are not blacklisted.
    """
    packed = read_coverage(found[0].folder).copy()
    for track in found[1:]:
        np.bitwise_or(packed, read_coverage(track.folder), out=packed)
    bins_with_data, bins_covered = {}, 0
    writer = MaskWriter(path, binning.places, binning.array_ranges)
    for chrom, covered in unpack_coverage(packed, binning):
        bins_covered += int(covered.sum())
        if fill_with_zero:
            for first, last in binning.bin_ranges(chrom):
                covered[first:last] = True
            for first, last in binning.blacklisted(chrom):
                covered[first:last] = False
        writer.add(chrom, covered)
        bins_with_data[chrom] = int(covered.sum())
    writer.close()
    return bins_with_data, bins_covered
