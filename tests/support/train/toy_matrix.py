"""A tiny matrix to train on."""

from pathlib import Path

import numpy as np

from epilstm.store.arrays import create_array, create_bin_array, create_group
from epilstm.store.manifests import MatrixManifest, Scaler, Split, scaler_digest, write_manifest
from epilstm.tracks.identity import TrackIdentity, TrackSet

TRACKS = 6
REGIONS = [("chr1", 0, 62_500), ("chr1", 100_000, 130_000), ("chr2", 0, 25_000), ("chr3", 0, 25_000)]


def write_matrix(folder: Path, tracks: int = TRACKS, identities: list[TrackIdentity] | None = None) -> Path:
    """Smooth correlated tracks over four regions of three chromosomes; a tenth of the bins is without data."""
    rng = np.random.default_rng(0)
    sizes = {"chr1": 200_000, "chr2": 50_000, "chr3": 50_000}
    folder.mkdir(parents=True)
    values, masks = create_group(folder / "matrix.zarr"), create_group(folder / "mask.zarr")
    mixing = rng.normal(size=(3, tracks))
    counts = {}
    for chrom, size in sizes.items():
        bins = size // 25
        array = create_bin_array(values, chrom, bins, tracks, "float16", "lz4", 0.0)
        mask = create_array(
            masks, chrom, (bins,), "bool", chunks=(10_000,), shards=None, codec="none", fill_value=False
        )
        factors = rng.normal(size=(bins // 20 + 1, 3)).repeat(20, axis=0)[:bins]
        array[:] = (factors @ mixing + 0.1 * rng.normal(size=(bins, tracks))).astype(np.float16)
        for name, start, end in REGIONS:
            if name == chrom:
                mask[start // 25 : end // 25] = rng.random((end - start) // 25) > 0.1
        counts[chrom] = int(np.asarray(mask[:]).sum())
    names = [f"cell-track{i}" for i in range(tracks)]
    if identities is not None:
        names = list(TrackSet.of(identities).names)
    scaler = Scaler(tracks=names, mean=[0.5] * tracks, scale=[1.0] * tracks, identities=identities)
    (folder / "scaler.json").write_text(scaler.model_dump_json())
    write_manifest(
        folder,
        MatrixManifest(
            assembly="toy", bin_size=25, chromosome_sizes=sizes, regions=REGIONS, tracks=names, frame_bins=50,
            split=Split(train=["chr1"], validation=["chr2"], test=["chr3"]), bins_with_data=counts,
            signal_fingerprint="s", scaler_sha256=scaler_digest(scaler), identities=identities,
        ),
    )  # fmt: skip
    return folder
