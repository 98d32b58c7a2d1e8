"""Small models as train leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from epilstm.model.cell_types import CellTypes
from epilstm.model.config import ModelConfig
from epilstm.model.folder import ModelManifest, TrainingSummary, save_model, save_weights
from epilstm.model.networks import Autoencoder, build
from epilstm.store.manifests import Scaler, Split

TRACKS = 7
SCALER = Scaler(
    tracks=[f"E{i:03}-DNase" for i in range(TRACKS)],
    mean=[0.1 * i for i in range(TRACKS)],
    scale=[0.5 + 0.1 * i for i in range(TRACKS)],
)


#: Three cell types with seven tracks of four assays: none was measured in all of them.
CELL_TYPES = CellTypes(
    names=["E003", "E116", "E123"],
    assays=["DNase", "H3K27ac", "H3K4me3", "CTCF"],
    tracks=[[0, 1, -1, -1], [2, -1, 3, 4], [-1, 5, 6, -1]],
)


def _config(architecture: str, embedding: int, hidden: int, **more: Any) -> ModelConfig:
    return ModelConfig(
        architecture=architecture, tracks=TRACKS, embedding_size=embedding, hidden_size=hidden, **more
    )  # fmt: skip


CONFIGS = {
    "bottleneck": _config("bottleneck", 3, 8),
    "bottleneck of two layers": _config("bottleneck", 3, 8, layers=2),
    "bottleneck of both directions": _config("bottleneck", 3, 8, layers=2, directions=2),
    "bottleneck of one number": _config("bottleneck", 1, 8),
    "bottleneck with layer norm": _config("bottleneck", 3, 8, layers=2, layer_norm=True),
    "bottleneck with context": _config("bottleneck", 5, 8, context_size=2, context_hidden=6, frame_bins=10),
    "by cell type": _config("bottleneck", 6, 8, cell_types=CELL_TYPES),
    "by cell type with context": _config(
        "bottleneck",
        18,
        8,
        cell_types=CELL_TYPES,
        context_size=12,
        context_hidden=6,
        frame_bins=10,
        linear_size=1,
        consensus_size=1,
        context_reaches=(1, 4),
    ),
    "by cell type with a recurrent context": _config(
        "bottleneck",
        9,
        8,
        cell_types=CELL_TYPES,
        context_size=6,
        context_hidden=6,
        frame_bins=10,
    ),
    "published": _config("published", 5, 5, layers=2),
    "published_softsign": _config("published_softsign", 5, 5),
}
ONE_DIRECTION = [name for name, config in CONFIGS.items() if config.streams]


def network_of(name: str, scale: float = 3.0) -> Autoencoder:
    """A network whose weights are multiplied by `scale`: as large as trained ones, so that gates saturate."""
    network = build(CONFIGS[name], seed=3).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(scale)
    return network


def write_model(folder: Path, network: Autoencoder, scaler: Scaler = SCALER) -> Path:
    weights_sha256 = save_weights(folder, network)
    summary = TrainingSummary(
        epochs=1, best_epoch=1, steps=1, bins_seen=1, train_mse=1, validation_mse=1, validation_r2=0,
        validation_mse_per_track={}, validation_r2_per_track={}, weights_moved=0, device="cpu",
    )  # fmt: skip
    manifest = ModelManifest(
        config=network.config, scaler=scaler, assembly="toy", bin_size=25, frame_bins=100,
        split=Split(train=["chr1"], validation=["chr2"], test=["chr3"]), seed=3, matrix_fingerprint="0" * 64,
        weights_sha256=weights_sha256, training=summary,
    )  # fmt: skip
    save_model(folder, manifest)
    return folder
