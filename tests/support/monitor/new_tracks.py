"""Signal datasets made from another: the same bins, some tracks changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from epilstm.genome.assembly import bins_of
from epilstm.store.arrays import create_group, create_mask, create_signal_array, open_group
from epilstm.store.manifests import SignalManifest, TrackEntry, read_manifest, write_manifest

#: From the genome's signal (bin,) of one track, and that of all tracks by name, to another.
Change = Callable[[np.ndarray, dict[str, np.ndarray]], np.ndarray]


def read_signal(folder: Path, chromosomes: list[str] | None = None) -> dict[str, np.ndarray]:
    """Signal of every track over all regions (or those of some chromosomes), end to end."""
    manifest = read_manifest(folder, SignalManifest)
    group = open_group(folder / "signal.zarr")
    pieces = [
        np.asarray(group[region.chrom][:, slice(*bins_of(region, manifest.bin_size))])
        for region in manifest.region_list(chromosomes)
    ]
    return dict(zip([track.name for track in manifest.tracks], np.concatenate(pieces, axis=1), strict=True))


def write_signal_like(
    source: Path, folder: Path, signal: dict[str, np.ndarray], chromosomes: list[str] | None = None
) -> Path:
    """Write tracks over the regions of another dataset, all or those of some chromosomes."""
    manifest = read_manifest(source, SignalManifest)
    regions = manifest.region_list(chromosomes)
    groups = create_group(folder / "signal.zarr"), create_group(folder / "mask.zarr")
    names, at = list(signal), 0
    with_data: dict[str, int] = {}
    moments: dict[str, dict[str, tuple[int, float, float]]] = {name: {} for name in names}
    for chrom in dict.fromkeys(region.chrom for region in regions):
        array = create_signal_array(groups[0], chrom, len(names), manifest.bins(chrom), "lz4")
        mask = create_mask(groups[1], chrom, manifest.bins(chrom))
        known = np.zeros(len(names), int)
        with_data[chrom] = 0
        for region in regions:
            if region.chrom == chrom:
                first, last = bins_of(region, manifest.bin_size)
                piece = np.stack([signal[name][at : at + last - first] for name in names])
                array[:, first:last] = piece
                mask[first:last] = ~np.isnan(piece).all(axis=0)
                known += (~np.isnan(piece)).sum(axis=1)
                with_data[chrom] += int((~np.isnan(piece).all(axis=0)).sum())
                at += last - first
        for name, count in zip(names, known.tolist(), strict=True):
            moments[name][chrom] = count, 0.0, 0.0
    write_manifest(
        folder,
        manifest.model_copy(
            update={
                "regions": [(region.chrom, region.start, region.end) for region in regions],
                "bins_with_data": with_data,
                "tracks": [
                    TrackEntry(
                        cell_type=name.split("-")[0],
                        assay=name.split("-")[1],
                        uri="",
                        sha256="",
                        bytes=0,
                        covered_fraction=1.0,
                        moments=moments[name],
                    )
                    for name in names
                ],
            }
        ),
    )
    return folder


def replicate(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same sample measured again: noise of a factor of 1.3 over some 200 bp, and a depth within a tenth."""
    kernel = np.exp(-0.5 * (np.arange(-16, 17) / 4) ** 2)
    noise = np.convolve(rng.standard_normal(len(signal)), kernel, "same")
    return (signal * np.exp(0.25 * noise / noise.std()) * rng.uniform(0.9, 1.1)).astype(np.float32)


def shuffled(signal: np.ndarray, others: dict[str, np.ndarray]) -> np.ndarray:
    """Every chromosome has the signal of others: the whole genome's, moved by half its length."""
    return np.roll(signal, len(signal) // 2 + 137)


def transformed(signal: np.ndarray, others: dict[str, np.ndarray]) -> np.ndarray:
    """Values that are arcsinh(signal) already."""
    return np.arcsinh(signal)


def half_depth(signal: np.ndarray, others: dict[str, np.ndarray]) -> np.ndarray:
    """-log10 of a p-value is about proportional to depth."""
    return signal * np.float32(0.5)


def swapped_with(name: str) -> Change:
    """The signal of another track."""
    return lambda signal, others: others[name]
