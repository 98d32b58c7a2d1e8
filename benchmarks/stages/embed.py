"""The encoder over the matrix: onnxruntime alone, and the whole step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks import floors, reference, synthetic
from benchmarks.case import Case, Measurement, Rate, Setting, Size
from benchmarks.pipeline import run_step
from benchmarks.stages.train import BOTTLENECK, PUBLISHED
from benchmarks.timing import PeakMemory, in_turn, rate

#: Bins that the plain loop embeds.
REFERENCE_BINS = 1_000


def cases(size: Size, device: str) -> list[Case]:
    if device == "cuda":
        return []
    if size == "scaling":
        sizes = [(400_000, 25), (2_000_000, 25), (10_000_000, 25), (600_000, 25), (600_000, 250), (600_000, 1014)]
        return [Case("embed", "published, whole step", bins, tracks, {"network": PUBLISHED}) for bins, tracks in sizes]
    if size == "quick":
        return [Case("embed", "published, whole step", 20_000, 25, {"network": PUBLISHED})]
    return [
        Case("embed", f"{network['architecture']}, {what}", bins, tracks, {"network": network, "alone": alone})
        for bins, tracks in ((4_000_000, 25), (600_000, 1014))
        for network in (PUBLISHED, BOTTLENECK)
        for what, alone in (("onnxruntime alone", True), ("whole step", False))
    ]


def _matrix(case: Case, folder: Path) -> Path:
    return folder / f"matrix-{case.tracks}-{case.bins}"


def _encoder(case: Case, folder: Path) -> Path:
    return folder / f"encoder-{case.options['network']['architecture']}-{case.tracks}"


def prepare(case: Case, folder: Path) -> None:
    synthetic.write_matrix(_matrix(case, folder), case.tracks, case.bins)
    synthetic.write_encoder(_encoder(case, folder), case.tracks, case.options["network"])


def measure(case: Case, setting: Setting) -> Measurement:
    whole = not case.options.get("alone", False)
    ours = _whole_step(case, setting) if whole else _alone(case, setting)
    with PeakMemory() as peak:
        ours()
    measured = [ours, _plain(case)]
    if whole:
        measured.append(rate(case.bins, lambda: _storage_alone(case, setting)))
    rates = in_turn(setting.repeats, *measured)
    network = case.options["network"]
    return Measurement(
        bins_per_second=rates[0],
        bytes_per_bin=2 * case.tracks + 4 * network["embedding_size"],
        operations_per_bin=floors.encoding_operations(case.tracks, network),
        peak_memory=peak.bytes,
        reference_bins_per_second=rates[1],
        storage_bins_per_second=rates[2] if whole else None,
        note=f"{setting.threads} threads" + ("" if whole else ", from memory"),
    )


def _whole_step(case: Case, setting: Setting) -> Rate:
    from epilstm.params import EmbedParams

    inputs = {"matrix": _matrix(case, setting.folder), "encoder": _encoder(case, setting.folder)}
    outputs = {"embeddings": setting.folder / "embeddings"}
    params = EmbedParams(threads=setting.threads, provider="cpu")
    return rate(case.bins, lambda: run_step("embed", params, inputs, outputs))


def _alone(case: Case, setting: Setting) -> Rate:
    """The encoder on windows held in memory, `threads` calls at a time; only bins that are kept count."""
    from epilstm.files.outputs import ENCODER
    from epilstm.model.core_encoder import load_core
    from epilstm.params import EmbedParams
    from epilstm.steps.embed.command import default_batch

    params = EmbedParams()
    core = load_core(_encoder(case, setting.folder) / ENCODER, "cpu")
    bins = params.warmup_bins + params.chunk_bins
    batch = default_batch("cpu", bins * case.tracks)
    shape = (bins, batch, case.tracks)
    window = np.random.default_rng(0).standard_normal(shape, dtype=np.float32).astype(np.float16)
    calls = max(2 * setting.threads, case.bins // (params.chunk_bins * batch) // 2)
    pool = ThreadPoolExecutor(setting.threads)

    def run() -> None:
        for _ in pool.map(lambda _: core(window), range(calls)):
            pass

    return rate(calls * params.chunk_bins * batch, run)


def _plain(case: Case) -> Rate:
    """The plain loop: batch 1, one bin at a time."""
    import torch

    from epilstm.model.config import ModelConfig
    from epilstm.model.networks import build

    network = build(ModelConfig(tracks=case.tracks, **case.options["network"]), 1)
    weights, state = network.state_dict(), network.zero_state(1)
    x = list(torch.randn(REFERENCE_BINS, 1, case.tracks))

    def loop() -> None:
        torch.set_num_threads(1)
        with torch.no_grad():
            reference.encode(network.config.architecture, weights, x, state)

    return rate(REFERENCE_BINS, loop)


def _storage_alone(case: Case, setting: Setting) -> None:
    """Read the matrix and write the finished embeddings again, shard by shard, in as many threads as the step."""
    from epilstm.store.arrays import SHARD_BINS, create_bin_array, create_group
    from epilstm.store.shards import open_bins

    source = open_bins(_matrix(case, setting.folder) / "matrix.zarr")["chr1"]
    finished = open_bins(setting.folder / "embeddings" / "embeddings.zarr")["chr1"]
    bins, size = finished.shape
    copy = setting.folder / "storage-alone.zarr"
    create_bin_array(create_group(copy), "chr1", bins, size, "float32", "lz4", float("nan"))
    target = open_bins(copy)["chr1"]
    block = finished[:SHARD_BINS]

    def shard(number: int) -> None:
        first, last = number * SHARD_BINS, min((number + 1) * SHARD_BINS, bins)
        for start in range(first, last, SHARD_BINS // 10):
            source[start : min(start + SHARD_BINS // 10, last)]
        target.write_shard(number, block[: last - first])

    with ThreadPoolExecutor(setting.threads) as pool:
        list(pool.map(shard, range(-(-bins // SHARD_BINS))))
