"""A small matrix as preprocess leaves it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from epilstm.store.arrays import SHARD_BINS, create_bin_array, create_group, create_mask
from epilstm.store.manifests import MatrixManifest, Scaler, Split, scaler_digest, write_manifest

BIN_SIZE, FRAME_BINS = 25, 100

#: chr1 spans two shards, with a region across their border; chr2 ends within a frame, and its region within a bin.
SIZES = {"chr1": (SHARD_BINS + 12_000) * BIN_SIZE, "chr2": 4_150 * BIN_SIZE - 7}
REGIONS = [
    ("chr1", 1_000 * BIN_SIZE, 7_000 * BIN_SIZE),
    ("chr1", 8_000 * BIN_SIZE, 8_100 * BIN_SIZE),
    ("chr1", 94_000 * BIN_SIZE, 108_000 * BIN_SIZE),
    ("chr2", 0, 4_200 * BIN_SIZE),
]


def write_matrix(folder: Path, scaler: Scaler, frame_bins: int = FRAME_BINS) -> Path:
    """Standardised heavy-tailed values; a twentieth of the bins is without data, and so is what completes a frame."""
    rng = np.random.default_rng(0)
    tracks = len(scaler.tracks)
    *whole, (last_chrom, start, _) = REGIONS
    regions = [*whole, (last_chrom, start, -(-4_150 // frame_bins) * frame_bins * BIN_SIZE)]
    folder.mkdir()
    manifest = MatrixManifest(
        assembly="toy", bin_size=BIN_SIZE, chromosome_sizes=SIZES, regions=regions, tracks=scaler.tracks,
        frame_bins=frame_bins, split=Split(train=["chr1"], validation=["chr2"], test=[]), bins_with_data={},
        signal_fingerprint="0" * 64, scaler_sha256=scaler_digest(scaler),
    )  # fmt: skip
    values, masks = create_group(folder / "matrix.zarr"), create_group(folder / "mask.zarr")
    for chrom in SIZES:
        bins = manifest.bins(chrom)
        array = create_bin_array(values, chrom, bins, tracks, "float16", "lz4", float("nan"))
        mask = create_mask(masks, chrom, bins)
        for region in manifest.region_list([chrom]):
            first, last = region.start // BIN_SIZE, region.end // BIN_SIZE
            array[first:last] = rng.gumbel(0, 1, (last - first, tracks)).astype(np.float16)
            mask[first:last] = (rng.random(last - first) > 0.05) & (np.arange(first, last) * BIN_SIZE < SIZES[chrom])
    (folder / "scaler.json").write_text(json.dumps(scaler.model_dump(mode="json")))
    write_manifest(folder, manifest)
    return folder
