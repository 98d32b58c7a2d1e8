"""A signal data set from plain arrays, without ingest."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from epilstm.store.arrays import create_group, create_mask, create_signal_array
from epilstm.store.manifests import SignalManifest, TrackEntry, write_manifest

EDGES = np.linspace(-4, 12, 33)


def random_signal(rng: np.random.Generator, tracks: int, bins: int, missing: float = 0.3) -> np.ndarray:
    """Heavy-tailed signal; some bins without data in some tracks, and an interval without any."""
    signal = rng.gamma(0.4, 30, (tracks, bins)).astype(np.float32) * np.arange(1, tracks + 1, dtype=np.float32)[:, None]
    signal[rng.random(signal.shape) < missing] = np.nan
    signal[:, bins // 4 : bins // 3] = np.nan
    return signal


def write_signal(
    folder: Path,
    signal: dict[str, np.ndarray],
    *,
    regions: list[tuple[str, int, int]] | None = None,
    bin_size: int = 25,
    sizes: dict[str, int] | None = None,
) -> Path:
    """Write (track, bin) float32 arrays per chromosome as ingest would; bins outside the regions must be NaN."""
    sizes = sizes or {chrom: array.shape[1] * bin_size for chrom, array in signal.items()}
    groups = create_group(folder / "signal.zarr"), create_group(folder / "mask.zarr")
    covered = {chrom: ~np.isnan(array) for chrom, array in signal.items()}
    for chrom, array in signal.items():
        create_signal_array(groups[0], chrom, *array.shape, "lz4")[:] = array
        create_mask(groups[1], chrom, array.shape[1])[:] = covered[chrom].any(axis=0)
    tracks, counts = [], []
    for row in range(len(next(iter(signal.values())))):
        values = {chrom: np.arcsinh(array[row][covered[chrom][row]].astype(float)) for chrom, array in signal.items()}
        moments = {chrom: (len(x), float(x.sum()), float((x**2).sum())) for chrom, x in values.items()}
        counts.append([np.histogram(x.clip(-4, 12), EDGES)[0] for x in values.values()])
        tracks.append(
            TrackEntry(
                cell_type=f"cell{row}",
                assay="DNase",
                uri=f"track{row}.bigwig",
                sha256="0" * 64,
                bytes=1,
                covered_fraction=0.5,
                moments=moments,
            )
        )
    np.save(folder / "histograms.npy", np.array(counts, np.int64))
    manifest = SignalManifest(
        assembly="toy",
        bin_size=bin_size,
        chromosome_sizes=sizes,
        regions=regions or [(chrom, 0, size) for chrom, size in sizes.items()],
        tracks=tracks,
        blacklist_sha256="",
        bins_with_data={chrom: int(mask.any(axis=0).sum()) for chrom, mask in covered.items()},
        histogram_edges=EDGES.tolist(),
    )
    write_manifest(folder, manifest)
    return folder
