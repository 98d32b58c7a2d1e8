"""Data to measure on: as large as wanted, quickly made, and as hard to compress as real signal.

Every writer leaves what is there already, so that cases share their data.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from epilstm.files.outputs import MANIFEST, sha256_file, write_json
from epilstm.genome.assembly import bin_count
from epilstm.store.manifests import MatrixManifest, Scaler, SignalManifest, Split, TrackEntry, write_manifest

if TYPE_CHECKING:
    from epilstm.params import Codec

BIN_SIZE, FRAME_BINS = 25, 100

#: Human chromosome 21, hg19.
CHROMOSOME, CHROMOSOME_SIZE = "chr21", 48_129_895

#: Rows of synthetic signal that are drawn; a longer chromosome repeats them, which no chunk of a store is aware of.
DRAWN_BINS = 100_000  # one shard of a matrix

#: Threads that write stores.
WRITERS = 4


def write_bigwigs(folder: Path, size: int, count: int) -> list[Path]:
    """BigWig files of one chromosome in runs of 20 to 60 bp, a twentieth of them without signal.

    The files differ in their last bytes, which no reader looks at, so that each has a digest of its own.

    Parameters
    ----------
    folder : Path
    size : int
        Length of the chromosome in base pairs.
    count : int
        Number of files.
    """
    import pyBigWig

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"track-{number}.bigwig" for number in range(count)]
    if not paths[0].is_file():
        rng = np.random.default_rng(0)
        ends = np.cumsum(rng.integers(20, 61, size // 40))
        ends = ends[ends < size]
        starts = np.concatenate([[0], ends[:-1]])
        values = np.round(rng.exponential(1.0, len(ends)), 3)
        kept = rng.random(len(ends)) > 0.05
        bigwig = pyBigWig.open(str(paths[0]), "w")
        bigwig.addHeader([(CHROMOSOME, size)])
        chosen = np.flatnonzero(kept)
        for part in np.array_split(chosen, max(1, len(chosen) // 100_000)):
            bigwig.addEntries(
                [CHROMOSOME] * len(part), starts[part].tolist(), ends=ends[part].tolist(), values=values[part].tolist()
            )
        bigwig.close()
    content = paths[0].read_bytes()
    for number, path in enumerate(paths[1:], 1):
        if not path.is_file():
            path.write_bytes(content + number.to_bytes(4, "little"))
    return paths


def _drawn_signal(tracks: int, bins: int) -> NDArray[np.float32]:
    """Raw signal (track, bin): correlated tracks, smooth along the chromosome, never negative, three decimals."""
    rng = np.random.default_rng(tracks)
    factors = rng.standard_normal((8, bins // 8 + 1), dtype=np.float32).repeat(8, axis=1)[:, :bins]
    mixing = rng.standard_normal((tracks, 8), dtype=np.float32)
    signal = mixing @ factors
    signal += rng.standard_normal(signal.shape, dtype=np.float32)
    np.abs(signal, out=signal)
    return np.round(signal, 3)


def _standardised(bins: int, tracks: int) -> NDArray[np.float16]:
    """Rows (bin, track) of a matrix."""
    signal = np.arcsinh(_drawn_signal(tracks, bins))
    signal -= signal.mean(axis=1, keepdims=True)
    signal /= signal.std(axis=1, keepdims=True)
    return np.ascontiguousarray(signal.astype(np.float16).T)


def track_names(tracks: int) -> list[str]:
    """Name of each track, of a cell type of its own and the one assay."""
    return [f"cell{number}-assay" for number in range(tracks)]


def write_signal(folder: Path, tracks: int, bins: int) -> Path:
    """Signal dataset of three chromosomes; the second and third, a fiftieth each, are there to be held out."""
    from epilstm.store.arrays import create_group, create_mask, create_signal_array
    from epilstm.tracks.binning import HISTOGRAM_EDGES, SignalSummary

    if (folder / MANIFEST).is_file():
        return folder
    held_out = max(FRAME_BINS, bins // 50)
    lengths = {"chr1": bins - 2 * held_out, "chr2": held_out, "chr3": held_out}
    folder.mkdir(parents=True)
    signal, masks = create_group(folder / "signal.zarr"), create_group(folder / "mask.zarr")
    drawn = _drawn_signal(tracks, min(DRAWN_BINS, bins))
    summaries: list[dict[str, Any]] = [{} for _ in range(tracks)]
    for chrom, length in lengths.items():
        array = create_signal_array(signal, chrom, tracks, length, "lz4")
        create_mask(masks, chrom, length)[:] = True

        def write(track: int, chrom: str = chrom, length: int = length, array: Any = array) -> None:
            row = np.resize(drawn[track], length)
            array[track] = row
            summary = SignalSummary.empty()
            summary.add(row)
            summaries[track][chrom] = summary

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(write, range(tracks)))
    np.save(folder / "histograms.npy", np.array([[s[c].histogram for c in lengths] for s in summaries], np.int64))
    write_manifest(
        folder,
        SignalManifest(
            assembly="synthetic",
            bin_size=BIN_SIZE,
            chromosome_sizes={chrom: length * BIN_SIZE for chrom, length in lengths.items()},
            regions=[(chrom, 0, length * BIN_SIZE) for chrom, length in lengths.items()],
            tracks=[
                TrackEntry(
                    cell_type=f"cell{number}",
                    assay="assay",
                    uri=name,
                    sha256=name,
                    bytes=0,
                    covered_fraction=1.0,
                    moments={chrom: (s[chrom].covered, s[chrom].total, s[chrom].squares) for chrom in lengths},
                )
                for number, (name, s) in enumerate(zip(track_names(tracks), summaries, strict=True))
            ],
            blacklist_sha256="",
            bins_with_data=lengths,
            histogram_edges=HISTOGRAM_EDGES.tolist(),
        ),
    )
    return folder


def write_matrix(folder: Path, tracks: int, bins: int, codec: Codec = "lz4") -> Path:
    """Matrix dataset of one chromosome, all of it for training."""
    from epilstm.store.arrays import SHARD_BINS, create_bin_array, create_group, create_mask
    from epilstm.store.shards import open_bins

    if (folder / MANIFEST).is_file():
        return folder
    bins = bin_count(bins, FRAME_BINS) * FRAME_BINS
    folder.mkdir(parents=True)
    values, masks = create_group(folder / "matrix.zarr"), create_group(folder / "mask.zarr")
    create_bin_array(values, "chr1", bins, tracks, "float16", codec, float("nan"))
    array = open_bins(folder / "matrix.zarr")["chr1"]
    create_mask(masks, "chr1", bins)[:] = True
    drawn = _standardised(min(DRAWN_BINS, bins), tracks)

    def write(number: int) -> None:
        array.write_shard(number, drawn[: bins - number * SHARD_BINS])

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(bin_count(bins, SHARD_BINS))))
    scaler = Scaler(tracks=track_names(tracks), mean=[0.5] * tracks, scale=[1.0] * tracks)
    write_json(folder / "scaler.json", scaler.model_dump(mode="json"))
    write_manifest(
        folder,
        MatrixManifest(
            assembly="synthetic",
            bin_size=BIN_SIZE,
            chromosome_sizes={"chr1": bins * BIN_SIZE},
            regions=[("chr1", 0, bins * BIN_SIZE)],
            tracks=scaler.tracks,
            frame_bins=FRAME_BINS,
            split=Split(train=["chr1"], validation=[], test=[]),
            bins_with_data={"chr1": bins},
            signal_fingerprint="",
            scaler_sha256=sha256_file(folder / "scaler.json"),
        ),
    )
    return folder


def write_encoder(folder: Path, tracks: int, network: dict[str, Any]) -> Path:
    """Encoder folder of an untrained network that belongs to the matrix of `write_matrix`."""
    from benchmarks.pipeline import run_step
    from epilstm.model.config import ModelConfig
    from epilstm.model.folder import ModelManifest, TrainingSummary, save_model, save_weights
    from epilstm.model.networks import build
    from epilstm.params import ExportParams

    if (folder / MANIFEST).is_file():
        return folder
    model = folder.with_name(f"{folder.name}-model")
    config = ModelConfig(tracks=tracks, **network)
    scaler = Scaler(tracks=track_names(tracks), mean=[0.5] * tracks, scale=[1.0] * tracks)
    nothing: dict[str, Any] = {
        name: {} if str(field.annotation).startswith("dict") else "cpu" if field.annotation is str else 0
        for name, field in TrainingSummary.model_fields.items()
        if field.is_required()
    }
    save_model(
        model,
        ModelManifest(
            config=config,
            scaler=scaler,
            assembly="synthetic",
            bin_size=BIN_SIZE,
            frame_bins=FRAME_BINS,
            split=Split(train=["chr1"], validation=[], test=[]),
            seed=1,
            matrix_fingerprint="",
            weights_sha256=save_weights(model, build(config, 1)),
            training=TrainingSummary(**nothing),
        ),
    )
    run_step("export", ExportParams(triton=False), {"model": model}, {"encoder": folder})
    return folder
