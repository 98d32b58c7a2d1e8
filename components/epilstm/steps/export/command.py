"""``epilstm export``: the encoder as ONNX, compared with the model it came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from epilstm import __version__
from epilstm.console import log
from epilstm.errors import ModelError
from epilstm.files.outputs import ENCODER, fingerprint, sha256_file
from epilstm.model.chosen_codes import choose_codes
from epilstm.model.chunks import context_bins
from epilstm.model.config import ModelConfig
from epilstm.model.encoder_folder import STATEFUL_ENCODER, EncoderManifest
from epilstm.model.encoder_graph import OPSET, build_encoder
from epilstm.model.encoder_session import TIMED_SHAPE, cpu_session, median_milliseconds
from epilstm.model.folder import ModelManifest, load_model
from epilstm.params import ExportParams
from epilstm.runtime.runner import StepContext, StepResult
from epilstm.steps.export import parity, triton
from epilstm.store.manifests import scaler_digest, write_manifest


def run(params: ExportParams, context: StepContext) -> StepResult:
    """Write the encoder folder, or fail if an encoder does not compute what the model does."""
    model_folder, folder = context.inputs["model"], context.outputs["encoder"]
    network, manifest = load_model(model_folder)
    model_fingerprint = fingerprint(model_folder)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    metadata = metadata_of(manifest, model_fingerprint)
    names = [ENCODER, STATEFUL_ENCODER][: 2 if manifest.config.streams else 1]

    folder.mkdir(parents=True)
    for name in names:
        model = build_encoder(manifest.config, weights, manifest.scaler, metadata, stateful=name == STATEFUL_ENCODER)
        (folder / name).write_bytes(model.SerializeToString(deterministic=True))

    network.double()
    seed = int(model_fingerprint[:12], 16)
    sessions = {name: cpu_session(folder / name) for name in names}
    compare = {ENCODER: parity.largest_difference, STATEFUL_ENCODER: parity.largest_streaming_difference}
    differences = {name: compare[name](network, manifest.scaler, sessions[name], seed) for name in names}
    for name, difference in differences.items():
        require_parity(name, difference, params.parity_tolerance)

    if params.triton:
        write_triton_repository(folder, names, manifest)
    write_manifest(
        folder,
        EncoderManifest(
            config=manifest.config,
            scaler=manifest.scaler,
            scaler_sha256=scaler_digest(manifest.scaler),
            assembly=manifest.assembly,
            bin_size=manifest.bin_size,
            model_fingerprint=model_fingerprint,
            matrix_fingerprint=manifest.matrix_fingerprint,
            split=manifest.split if manifest.split.train else None,
            package_version=__version__,
            opset=OPSET,
            parity={name: float(f"{difference.relative:.1e}") for name, difference in differences.items()},
            files={
                str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()
            },
        ),
    )
    worst = max(difference.relative for difference in differences.values())
    metrics: dict[str, Any] = {
        "largest_difference": worst,
        "opset": OPSET,
        "bytes": {name: (folder / name).stat().st_size for name in names},
        "parameters": parameter_count(onnx.load(folder / ENCODER)),
    }
    # Logged, not kept among the metrics: it is another one in every run.
    milliseconds = median_milliseconds(sessions[ENCODER], len(manifest.tracks))
    log.info(f"{ENCODER}: {milliseconds:.2f} ms for {TIMED_SHAPE[0]} x {TIMED_SHAPE[1]} bins on one CPU thread")
    summary = (
        f"{' and '.join(names)}: {len(manifest.tracks)} tracks to {manifest.config.embedding_size} numbers per bin, "
        f"equal to the model within {worst:.1e} of a standard deviation"
    )
    return StepResult(summary, metrics, tracks=len(manifest.tracks), threads=1)


def metadata_of(manifest: ModelManifest, model_fingerprint: str) -> dict[str, str]:
    """What an encoder file says of itself (ONNX ``metadata_props``); `tracks` is a JSON list in input order.

    So are `cell_types` and `assays` of the tracks, where they are known, and `replicates`, where there are any; and
    `transform` and `uncovered`, which are left out where all are arcsinh and zero. Of a model that cell types share,
    `dimensions` are the names of the embedding's numbers.
    """
    scaler, names = manifest.scaler, choose_codes(manifest.config, None, "").names
    transforms = {"transform": scaler.transforms, "uncovered": scaler.uncovered_bases}
    usual = scaler.transform == "arcsinh" and scaler.uncovered == "zero"
    return {
        "tracks": json.dumps(manifest.tracks),
        **triton.field_metadata(manifest.track_set),
        **({} if usual else {key: json.dumps(values) for key, values in transforms.items()}),
        "bin_size": str(manifest.bin_size),
        "assembly": manifest.assembly,
        "architecture": manifest.config.architecture,
        "embedding_size": str(manifest.config.embedding_size),
        **({} if names is None else {"dimensions": json.dumps(names)}),
        **context_metadata(manifest.config),
        "model_fingerprint": model_fingerprint,
        "matrix_fingerprint": manifest.matrix_fingerprint,
        "epilstm_version": __version__,
    }


def context_metadata(config: ModelConfig) -> dict[str, str]:
    """What a caller of an encoder with a context level must know: where frames begin, and how many bins it looks at."""
    if not config.context_size:
        return {}
    return {
        "context_size": str(config.context_size),
        "frame_bins": str(config.frame_bins),
        "context_bins": str(context_bins(config)),
    }


def require_parity(name: str, difference: parity.Difference, tolerance: float) -> None:
    """Refuse an encoder that is too far from the model.

    Raises
    ------
    ModelError
        Names the value, the shape of the signal and the difference.
    """
    if not difference.relative <= tolerance:
        raise ModelError(
            f"{name}: {difference.value} of a signal of {difference.batch} x {difference.time} bins differs from the "
            f"model's by {difference.relative:.2g} standard deviations, more than export.parity_tolerance "
            f"({tolerance:g}); raise it if that is good enough, else train again: the weights may be extreme"
        )


def write_triton_repository(folder: Path, names: list[str], manifest: ModelManifest) -> None:
    """Lay the encoders out as Triton wants them, under ``triton/``."""
    configs = {ENCODER: triton.encoder_config, STATEFUL_ENCODER: triton.stateful_encoder_config}
    for name in names:
        place = folder / "triton" / Path(name).stem
        (place / "1").mkdir(parents=True)
        (place / "1" / "model.onnx").write_bytes((folder / name).read_bytes())
        (place / "config.pbtxt").write_text(configs[name](manifest.config, manifest.track_set), encoding="utf-8")


def parameter_count(model: onnx.ModelProto) -> int:
    """Numbers in the encoder's weights: those of its layers, not its scaler or shapes."""
    return sum(
        int(np.prod(tensor.dims))
        for tensor in model.graph.initializer
        if "weight" in tensor.name or "bias" in tensor.name
    )
