"""From the published files to a model folder and an encoder folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from epilstm import __version__
from epilstm.console import log
from epilstm.errors import ParamsError
from epilstm.files.outputs import fingerprint, sha256_file, write_json
from epilstm.genome.assembly import load_assembly
from epilstm.model.config import ModelConfig
from epilstm.model.folder import ModelManifest, TrainingSummary
from epilstm.model.initial_weights import compare_with_initial, least_movement
from epilstm.model.networks import build, load_weights
from epilstm.model.origin import Origin
from epilstm.model.python_interface import Model
from epilstm.outputs.checkpoint_import.published import (
    placeholder_names,
    published_weights,
    read_config,
    read_tracks,
    tensors_to_test,
)
from epilstm.runtime.runner import record_path, run_step
from epilstm.runtime.step_table import STEPS
from epilstm.store.manifests import Scaler, Split
from epilstm.tracks.identity import TrackSet

#: Seed in the manifest, which asks for one; that of the published weights is not known.
UNKNOWN_SEED = 0


@dataclass(frozen=True)
class PublishedFiles:
    """What is imported.

    Parameters
    ----------
    encoder, decoder : Path
        State dicts.
    config : Path
        The published ``config.yaml``.
    tracks : Path or None
        Names of the tracks, as the files have none.
    """

    encoder: Path
    decoder: Path
    config: Path
    tracks: Path | None = None

    @property
    def given(self) -> dict[str, Path]:
        """Those that are read, by role."""
        found = {"encoder": self.encoder, "decoder": self.decoder, "config": self.config, "tracks": self.tracks}
        return {role: path for role, path in found.items() if path is not None}


def imported_model(files: PublishedFiles, assembly: str = "hg19") -> Model:
    """The published autoencoder.

    Its scaler leaves arcsinh of the signal as it is: the published preprocessing has no more.

    Parameters
    ----------
    assembly : str
        That of the tracks, which the files do not name.

    Raises
    ------
    EpilstmError
        A file is missing or is not what was published.
    """
    config, settings = read_config(files.config)
    weights = published_weights(files.encoder, files.decoder, config)
    tracks = config.input_size_encoder
    load_assembly(assembly)
    named: Literal["given", "placeholder"] = "placeholder" if files.tracks is None else "given"
    names = TrackSet.of_names(placeholder_names(tracks))
    if files.tracks is not None:
        names = read_tracks(files.tracks, tracks)

    shape = ModelConfig(
        architecture="published_softsign",
        tracks=tracks,
        embedding_size=config.hidden_size_encoder,
        hidden_size=config.hidden_size_encoder,
    )
    network = build(shape, UNKNOWN_SEED).eval()
    load_weights(network, weights)
    arrays = tensors_to_test(weights)
    test = compare_with_initial(arrays, config.hidden_size_encoder)
    manifest = ModelManifest(
        config=shape,
        scaler=Scaler(
            tracks=list(names.names),
            identities=list(names.identities) if names.known else None,
            mean=[0.0] * tracks,
            scale=[1.0] * tracks,
        ),
        assembly=assembly,
        bin_size=config.base_pair_resolution,
        frame_bins=config.cut_seq_len,
        split=Split(train=[], validation=[], test=[]),
        seed=UNKNOWN_SEED,
        matrix_fingerprint="",
        weights_sha256="",
        # Nothing is known of a training: zeros, by which the promotion gate refuses what is not known to have moved.
        training=TrainingSummary(
            epochs=0,
            best_epoch=0,
            steps=0,
            bins_seen=0,
            train_mse=0.0,
            validation_mse=0.0,
            validation_r2=0.0,
            validation_mse_per_track={},
            validation_r2_per_track={},
            weights_moved=least_movement(arrays, test.bound) if test.differs else 0.0,
            device="imported",
        ),
    )
    origin = Origin(
        files={path.name: sha256_file(path) for path in files.given.values()},
        settings=settings,
        track_names=named,
        initial_weights=test,
    )
    return Model(network, manifest, origin)


def run(files: PublishedFiles, model_folder: Path, encoder_folder: Path, assembly: str) -> Model:
    """Import, export, and report what a user has to know.

    Parameters
    ----------
    model_folder, encoder_folder : Path
        Written, each whole or not at all, with a record beside it.

    Raises
    ------
    EpilstmError
        A file is not what was published, or the exported encoder does not compute what the model does.
    """
    if model_folder.resolve() == encoder_folder.resolve():
        raise ParamsError(f"--model and --encoder are both {model_folder}; give each a folder of its own")
    started = time.perf_counter()
    model = imported_model(files, assembly)
    model.save(model_folder)
    assert model.origin is not None
    record = {
        "command": "import-checkpoint",
        "version": __version__,
        "inputs": {role: {"path": str(path), "sha256": sha256_file(path)} for role, path in files.given.items()},
        "outputs": {"model": {"path": str(model_folder), "fingerprint": fingerprint(model_folder)}},
        "initial_weights": model.origin.initial_weights.model_dump(mode="json"),
        "warnings": model.origin.warnings,
        "seconds": round(time.perf_counter() - started, 3),
    }
    write_json(record_path(model_folder), record)
    exported = run_step(STEPS["export"], None, {"model": model_folder, "encoder": encoder_folder}, frozenset())
    log.info(f"{model_folder}: {len(model.tracks):,} tracks to {model.embedding_size} numbers per bin")
    log.info(f"{encoder_folder}: {exported.summary}")
    for warning in model.origin.warnings:
        log.warning(warning)
    return model
