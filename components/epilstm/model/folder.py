"""The model folder: ``weights.safetensors`` and ``manifest.json``; no pickle.

torch is imported where a network is built, not where a manifest or weights are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from epilstm.errors import ModelError
from epilstm.files.outputs import sha256_file
from epilstm.model.config import ModelConfig
from epilstm.model.imputer_config import ImputerConfig
from epilstm.store.manifests import Scaler, Split, read_manifest, write_manifest
from epilstm.tracks.identity import TrackSet

if TYPE_CHECKING:
    from torch import nn

    from epilstm.model.networks import Autoencoder

WEIGHTS = "weights.safetensors"

#: What the imputer's weights are named with, beside those of the network.
IMPUTER = "imputer."


class ContextSummary(BaseModel):
    """Results of the training of the context level; R2 is of the validation chromosomes' standardised tokens.

    `surroundings_bp` is how far on either side of its frame the code was trained to predict the mean signal; empty
    where it was not, or where the manifest does not say.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int
    best_epoch: int
    frames: int
    train_mse: float
    validation_mse: float
    validation_r2: float
    surroundings_bp: list[int] = []


class TrainingSummary(BaseModel):
    """Results of the training.

    Errors are in the standardised space of the matrix; R2 is over all bins and tracks of the validation chromosomes,
    and None for a track that does not vary there. Errors and R2 are those of the bin level. `track_dropout`, `dropout`
    and `peak_weight` are the params by which the training error differs from the validation error; None where they are
    not known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int
    best_epoch: int
    steps: int
    bins_seen: int
    train_mse: float
    validation_mse: float
    validation_r2: float
    validation_mse_per_track: dict[str, float]
    validation_r2_per_track: dict[str, float | None]
    weights_moved: float
    device: str
    track_dropout: float | None = None
    dropout: float | None = None
    peak_weight: float | None = None
    rotation: str = "none"
    context: ContextSummary | None = None


class ModelManifest(BaseModel):
    """Everything needed to run the model and to know where it comes from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["epilstm.model/1"] = "epilstm.model/1"
    config: ModelConfig
    scaler: Scaler
    assembly: str
    bin_size: int
    frame_bins: int
    split: Split
    seed: int
    matrix_fingerprint: str
    weights_sha256: str
    training: TrainingSummary
    imputer: ImputerConfig | None = None

    @property
    def tracks(self) -> list[str]:
        """Track names in input order."""
        return self.scaler.tracks

    @property
    def track_set(self) -> TrackSet:
        """The tracks with their fields, in input order."""
        return self.scaler.track_set


def save_weights(folder: Path, network: Autoencoder, imputer: nn.Module | None = None) -> str:
    """Write a network's weights into a new folder, and those of its imputer with them.

    Returns
    -------
    str
        SHA-256 of the file, for the manifest.
    """
    import safetensors.torch

    folder.mkdir(parents=True, exist_ok=True)
    named = {**network.state_dict()}
    if imputer is not None:
        named |= {IMPUTER + name: tensor for name, tensor in imputer.state_dict().items()}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
    # Not save_file, which makes the file unreadable to other users whatever the umask.
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(weights))
    return sha256_file(folder / WEIGHTS)


def save_model(folder: Path, manifest: ModelManifest) -> None:
    """Write the manifest beside the weights, which makes the folder whole."""
    write_manifest(folder, manifest)


def read_model_manifest(folder: Path) -> ModelManifest:
    """Manifest of a model folder.

    Raises
    ------
    DataError
        Missing, or not a model folder.
    """
    return read_manifest(folder, ModelManifest)


def load_model(folder: Path) -> tuple[Autoencoder, ModelManifest]:
    """The trained network, in evaluation mode, and its manifest.

    Raises
    ------
    DataError
        Missing, or not a model folder.
    ModelError
        The weights are not those that the manifest names.
    """
    manifest = read_model_manifest(folder)
    path = checked_weights(folder, manifest)
    try:
        network = network_of(manifest, read_weights(path))
    except RuntimeError as error:
        raise unfitting(path) from error
    return network, manifest


def network_of(manifest: ModelManifest, weights: Mapping[str, NDArray[np.float32]]) -> Autoencoder:
    """The network with these weights, in evaluation mode.

    Raises
    ------
    RuntimeError
        They are not those of the network that the manifest describes.
    """
    import torch

    from epilstm.model.networks import load_weights

    network = untrained_model(manifest)
    load_weights(network, {name: torch.tensor(values) for name, values in weights.items()})
    return network


def checked_weights(folder: Path, manifest: ModelManifest) -> Path:
    """Path of a model's weights.

    Raises
    ------
    ModelError
        They are missing, or not those that the manifest names.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{path}: the weights are missing; train the model again or pull it with dvc")
    if sha256_file(path) != manifest.weights_sha256:
        raise ModelError(f"{path}: damaged or replaced (its checksum differs from the manifest's); train or pull again")
    return path


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Weights by their names in the network's ``state_dict``, without torch and without the imputer's."""
    import safetensors.numpy

    weights: dict[str, NDArray[np.float32]] = safetensors.numpy.load_file(path)
    return {name: values for name, values in weights.items() if not name.startswith(IMPUTER)}


def unfitting(path: Path) -> ModelError:
    """What is wrong where weights have another shape than the manifest says."""
    return ModelError(f"{path}: the weights are not of the shape that the manifest says; train or pull again")


def untrained_model(manifest: ModelManifest) -> Autoencoder:
    """The same network with the weights it had before training, in evaluation mode."""
    from epilstm.model.networks import build

    network = build(manifest.config, manifest.seed)
    return network.eval()
