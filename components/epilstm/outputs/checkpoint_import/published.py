"""The published files: what is in them, and what they become.

``encoder.pth`` and ``decoder.pth`` are state dicts. Of each LSTM they hold ``lstm.params.0.i2h`` and ``h2h``, weight
and bias, with the gates in the order input, forget, output, candidate; and the parameters of three conditional layer
norms (``ln_i2h``, ``ln_h2h``, ``ln_cell``), which the published code passes by, since it never gives them a condition.
The decoder has a linear layer ``out`` besides. No code in the files is ever run.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from epilstm.errors import ModelError, ParamsError, SamplesheetError
from epilstm.files.text import read_text
from epilstm.params import read_yaml
from epilstm.tracks.identity import TrackSet
from epilstm.tracks.samplesheet import REQUIRED_COLUMNS, read_samplesheet

#: Parameters of the layer norms, which take no part.
UNUSED = re.compile(
    r"lstm\.params\.0\.ln_(i2h|h2h|cell)\.(alpha|beta|fc_alpha\.weight|fc_alpha\.bias|fc_beta\.weight|fc_beta\.bias)"
)

#: Published name -> name in `epilstm.model.networks.PublishedSoftsign`, of one LSTM.
LSTM_WEIGHTS = {
    "lstm.params.0.i2h.weight": "weight_ih_l0",
    "lstm.params.0.h2h.weight": "weight_hh_l0",
    "lstm.params.0.i2h.bias": "bias_ih_l0",
    "lstm.params.0.h2h.bias": "bias_hh_l0",
}
READOUT_WEIGHTS = {"out.weight": "weight", "out.bias": "bias"}

#: The published order of gates is input, forget, output, candidate; here it is torch's: input, forget, candidate,
#: output.
PUBLISHED_GATES_IN_TORCH = (0, 1, 3, 2)

#: A track's name: it becomes part of file names and labels.
TRACK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")

#: Larger files are no checkpoint of this kind.
MAX_BYTES = 4 << 30


class PublishedConfig(BaseModel):
    """What is needed of the published ``config.yaml``; its further keys are about the published code's own training."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    input_size_encoder: PositiveInt
    hidden_size_encoder: PositiveInt
    input_size_decoder: PositiveInt
    hidden_size_decoder: PositiveInt
    output_size_decoder: PositiveInt
    base_pair_resolution: PositiveInt = 25
    cut_seq_len: PositiveInt = 100


def read_config(path: Path) -> tuple[PublishedConfig, dict[str, Any]]:
    """Read the published configuration.

    Raises
    ------
    ParamsError
        Missing, not YAML, or a key is missing or unusable.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: not a mapping of settings; give the published config.yaml")
    try:
        config = PublishedConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise ParamsError(
            f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}; give the config.yaml that lies beside the "
            "weights"
        ) from error
    if not config.hidden_size_encoder == config.hidden_size_decoder == config.input_size_decoder:
        raise ParamsError(
            f"{path}: hidden_size_encoder {config.hidden_size_encoder}, input_size_decoder "
            f"{config.input_size_decoder} and hidden_size_decoder {config.hidden_size_decoder} must be equal: the "
            "published decoder goes on from the encoder's state"
        )
    if config.output_size_decoder != config.input_size_encoder:
        raise ParamsError(
            f"{path}: output_size_decoder {config.output_size_decoder} is not input_size_encoder "
            f"{config.input_size_encoder}: an autoencoder gives back what it is shown"
        )
    return config, {str(key): value for key, value in content.items() if isinstance(value, bool | int | float | str)}


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a ``.pth`` file, by name; a pickle that would run code is refused.

    Raises
    ------
    ModelError
        Missing, or anything but a state dict of finite floating-point tensors.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file; give the published encoder.pth and decoder.pth")
    if path.stat().st_size > MAX_BYTES:
        raise ModelError(f"{path}: {path.stat().st_size:,} bytes are too many for a published checkpoint")
    try:
        with warnings.catch_warnings():  # of torch, about files that it is going to refuse
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: not a file of plain tensors (it may hold code, which is never run); give the state dict that the "
            "published code saved"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise ModelError(f"{path}: not a checkpoint of torch: {_first_line(error)}") from error
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path}: holds {type(content).__name__}, not a state dict; give the published file")
    for name, value in content.items():
        if not (isinstance(name, str) and isinstance(value, torch.Tensor) and value.is_floating_point()):
            raise ModelError(f"{path}: {name!r} is no floating-point tensor; give the published file")
        if not torch.isfinite(value).all():
            raise ModelError(f"{path}: {name} holds values that are not finite")
    return dict(content)


def published_weights(encoder: Path, decoder: Path, config: PublishedConfig) -> dict[str, torch.Tensor]:
    """Weights of the published files as `PublishedSoftsign` names and orders them, float32.

    Raises
    ------
    ModelError
        A tensor is missing, unknown, or of another shape than the configuration says.
    """
    hidden, tracks = config.hidden_size_encoder, config.input_size_encoder
    weights = _lstm(encoder, read_state_dict(encoder), "encoder", tracks, hidden, {})
    return weights | _lstm(
        decoder,
        read_state_dict(decoder),
        "decoder",
        hidden,
        hidden,
        {"out.weight": (tracks, hidden), "out.bias": (tracks,)},
    )


def _lstm(
    path: Path,
    state: dict[str, torch.Tensor],
    part: str,
    inputs: int,
    hidden: int,
    more: dict[str, tuple[int, ...]],
) -> dict[str, torch.Tensor]:
    shapes: dict[str, tuple[int, ...]] = {
        "lstm.params.0.i2h.weight": (4 * hidden, inputs),
        "lstm.params.0.h2h.weight": (4 * hidden, hidden),
        "lstm.params.0.i2h.bias": (4 * hidden,),
        "lstm.params.0.h2h.bias": (4 * hidden,),
        **more,
    }
    for name, shape in shapes.items():
        if name not in state:
            raise ModelError(f"{path}: has no {name}; is it the published {part}.pth?")
        if tuple(state[name].shape) != shape:
            raise ModelError(f"{path}: {name} is of shape {tuple(state[name].shape)}, by the configuration {shape}")
    unknown = [name for name in state if name not in shapes and not UNUSED.fullmatch(name)]
    if unknown:
        raise ModelError(
            f"{path}: {unknown[0]} is no part of the published {part}, so what it computes is not known; one layer, "
            "one direction and no more are read"
        )
    weights = {}
    for published, ours in LSTM_WEIGHTS.items():
        gates = state[published].float().chunk(4)
        weights[f"{part}.{ours}"] = torch.cat([gates[gate] for gate in PUBLISHED_GATES_IN_TORCH])
    for published in more:
        weights[f"readout.{READOUT_WEIGHTS[published]}"] = state[published].float().clone()
    return weights


def tensors_to_test(weights: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Weights as arrays, by name."""
    return {name: tensor.numpy() for name, tensor in weights.items()}


def read_tracks(path: Path, count: int) -> TrackSet:
    """The model's tracks, in its order; of a list of names, only names are known.

    Parameters
    ----------
    path : Path
        A samplesheet, or text with one name a line.
    count : int
        Tracks of the model.

    Raises
    ------
    SamplesheetError
        Unreadable, not so many names, one is there twice, or one cannot be part of a file name.
    """
    lines = read_text(path, "a samplesheet or a list of names", SamplesheetError).splitlines()
    if set(REQUIRED_COLUMNS) <= set(re.split("[,;\t]", (lines or [""])[0])):
        tracks = TrackSet.of([track.identity for track in read_samplesheet(path)])
        _require_count(path, len(tracks), count)
        return tracks
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    for number, name in enumerate(names, 1):
        if not TRACK_NAME.fullmatch(name):
            raise SamplesheetError(f"{path}: name {number} is {name[:60]!r}; a name is cell_type-assay, one a line")
    _require_count(path, len(names), count)
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < count else None
    if twice is not None:
        raise SamplesheetError(f"{path}: {twice} is there twice; each track has a name of its own")
    return TrackSet.of_names(names)


def _require_count(path: Path, found: int, count: int) -> None:
    if found != count:
        raise SamplesheetError(f"{path}: names {found} tracks, the checkpoint has {count}; name each, in its order")


def placeholder_names(count: int) -> list[str]:
    """``track_0001``, ``track_0002``, ...: the checkpoint does not name its tracks."""
    return [f"track_{number:04}" for number in range(1, count + 1)]


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
