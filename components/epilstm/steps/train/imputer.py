"""Training of the imputer: each training cell type takes part as if it were new, some of its assays hidden.

The reference of a cell type leaves its own tracks out. In each example from none to all but one of its assays are
shown; all that were measured are targets, those that are hidden with ten times the weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from epilstm.console import Progress as ProgressBar
from epilstm.errors import DataError, ParamsError
from epilstm.genome.bin_range import BinRange
from epilstm.model.cell_types import CellTypes
from epilstm.model.config import ModelConfig
from epilstm.model.imputer import Imputer, ImputerInputs, imputer_inputs
from epilstm.model.imputer_config import (
    NINE_TENTHS,
    ImputerConfig,
    assay_scale,
    by_assay,
    one_of_each_assay,
    reference_of,
)
from epilstm.params import ImputerParams, TrainParams
from epilstm.steps.train.sampling import cut_evenly, spread_evenly
from epilstm.store.manifests import Scaler
from epilstm.store.matrix import Matrix

#: Bins of a range that examples are drawn from, and how many times as many bins as examples are read.
RANGE_BINS, DRAWN_FROM = 4_000, 4

#: Weight of an assay that is shown, beside 1 for one that is hidden.
SHOWN_WEIGHT = 0.1

#: Weight of the likelihood, which fits the deviation, beside the squared error, which fits the mean.
LIKELIHOOD_WEIGHT = 0.1

WARMUP_STEPS, CLIP_NORM = 50, 1.0


@dataclass(frozen=True)
class TrainedImputer:
    """An imputer after training: its network, and its shape with the fitted spread."""

    network: Imputer
    config: ImputerConfig
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Examples:
    """Bins of single cell types: what they are imputed from, and their values (bin, assay), NaN where not measured."""

    inputs: ImputerInputs
    values: Tensor


def require_imputable(cell_types: CellTypes | None, scaler: Scaler) -> None:
    """Refuse a model that cannot learn to impute, before it is trained.

    Raises
    ------
    ParamsError
        It is of another kind, of too few cell types, or an assay's tracks are not of one transform.
    """
    if cell_types is None:
        raise ParamsError("train.imputation needs train.kind: cell_types; set the kind, or enabled to false")
    if cell_types.count < 2:
        raise ParamsError(
            f"train.imputation learns from how cell types differ, and there is only {cell_types.names[0]}; add tracks "
            "of another cell type, or set train.imputation.enabled to false"
        )
    one_of_each_assay(scaler.transforms, cell_types, "transform")
    one_of_each_assay(binned_alike(scaler), cell_types, "uncovered")


def binned_alike(scaler: Scaler) -> list[str]:
    """What uncovered bases of each track are, `zero` and `gap` as one: they differ in which bins have data only."""
    measured = "gap" if "gap" in scaler.uncovered_bases else "zero"
    return ["missing" if each == "missing" else measured for each in scaler.uncovered_bases]


def imputer_config(params: ImputerParams, scaler: Scaler, cell_types: CellTypes) -> ImputerConfig:
    """Shape of the imputer that the params ask for, before its spread is fitted."""
    mean, scale = assay_scale(scaler, cell_types)
    return ImputerConfig.model_validate(
        {
            "assays": cell_types.assays,
            "mean": mean,
            "scale": scale,
            "transform": one_of_each_assay(scaler.transforms, cell_types, "transform"),
            "uncovered": one_of_each_assay(binned_alike(scaler), cell_types, "uncovered"),
            "clip": scaler.clip,
            "window": params.window,
            "hidden_size": params.hidden_size,
            "layers": params.layers,
            "spread": [1.0] * len(cell_types.assays),
        }
    )


def train_imputer(
    matrix: Matrix, scaler: Scaler, model: ModelConfig, params: TrainParams, bar: ProgressBar
) -> TrainedImputer:
    """Train on the training places, then fit the spread on the validation places.

    Raises
    ------
    DataError
        Either of them has no bin with data.
    """
    assert model.cell_types is not None
    wanted = params.imputation
    config = imputer_config(wanted, scaler, model.cell_types)
    split = matrix.manifest.split
    examples = draw_examples(matrix, scaler, model.cell_types, config, split.train, wanted.bins, params.seed)
    network = fit(config, examples, wanted, params.seed, bar)
    held_out = draw_examples(
        matrix, scaler, model.cell_types, config, split.validation, max(1, wanted.bins // 4), params.seed
    )
    spread, error, inside = fitted_spread(network, held_out)
    config = config.model_copy(update={"spread": spread})
    network.config = config
    metrics = {
        "examples": len(examples.values),
        "validation_mse": dict(zip(config.assays, error, strict=True)),
        "inside_90_before_fit": dict(zip(config.assays, inside, strict=True)),
    }
    return TrainedImputer(network.eval(), config, metrics)


def draw_examples(
    matrix: Matrix,
    scaler: Scaler,
    cell_types: CellTypes,
    config: ImputerConfig,
    places: Sequence[str],
    count: int,
    seed: int,
) -> Examples:
    """About so many bins with data of some places, spread over them and over the cell types."""
    ranges = spread_evenly(cut_evenly(matrix.regions_in(places), RANGE_BINS), DRAWN_FROM * count // cell_types.count)
    known = sum(int(matrix.mask(each).sum()) for each in ranges)
    if not known:
        raise DataError(f"train.imputation: no bin of {', '.join(places)} has data; check preprocess.split")
    random = np.random.default_rng(seed)
    share = min(1.0, count / (known * cell_types.count))
    parts = [part for each in ranges for part in _examples_of(matrix, each, scaler, cell_types, config, share, random)]
    inputs, values = zip(*parts, strict=True)
    joined = (torch.cat([getattr(part, each.name) for part in inputs]) for each in fields(ImputerInputs))
    return Examples(ImputerInputs(*joined), torch.cat(values))


def _examples_of(
    matrix: Matrix,
    bins: BinRange,
    scaler: Scaler,
    cell_types: CellTypes,
    config: ImputerConfig,
    share: float,
    random: np.random.Generator,
) -> Iterator[tuple[ImputerInputs, Tensor]]:
    wide = matrix.widened(bins, max(config.window, default=0))
    keep = slice(bins.first - wide.first, bins.last - wide.first)
    values = by_assay(matrix.rows(wide), scaler, cell_types, config)
    mask = matrix.mask(bins)
    for place in range(cell_types.count):
        drawn = torch.from_numpy(np.flatnonzero(mask & (random.random(bins.bins) < share)))
        own = values[:, place]
        inputs = imputer_inputs(own, reference_of(values, place), keep, config)
        yield inputs.select(drawn), torch.from_numpy(own[keep])[drawn]


def fit(config: ImputerConfig, examples: Examples, params: ImputerParams, seed: int, bar: ProgressBar) -> Imputer:
    """Train a network from its first weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Imputer(config)
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=params.learning_rate)
    assays = len(config.assays)
    for step in range(params.steps):
        drawn = torch.randint(len(examples.values), (params.batch,), generator=random)
        shown = draw_shown(params.batch, assays, random)
        inputs, values = examples.inputs.select(drawn), examples.values[drawn]
        loss = loss_of(network, inputs.showing(shown), values)
        # Up over the first steps, and down to zero over the second half.
        share = min(1.0, (step + 1) / WARMUP_STEPS, 2 * (params.steps - step) / params.steps)
        optimizer.param_groups[0]["lr"] = params.learning_rate * share
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_(network.parameters(), CLIP_NORM)
        optimizer.step()
        bar.advance(1)
    return network.eval()


def draw_shown(examples: int, assays: int, random: torch.Generator) -> Tensor:
    """Which assays are shown, (example, assay): of each example none to all but one, every number as often."""
    count = torch.randint(assays, (examples, 1), generator=random)
    rank = torch.rand(examples, assays, generator=random).argsort(1).argsort(1)
    return (rank < count).float()


def loss_of(network: Imputer, inputs: ImputerInputs, values: Tensor) -> Tensor:
    """Squared error of the mean, and the likelihood of that error under the deviation."""
    mean, deviation = network(inputs)
    measured = ~values.isnan()
    weight = torch.where(inputs.observed > 0, SHOWN_WEIGHT, 1.0) * measured
    squared = (mean - values.nan_to_num()).square()
    likelihood = squared.detach() / deviation.square() / 2 + deviation.log()
    total: Tensor = (weight * (squared + LIKELIHOOD_WEIGHT * likelihood)).sum() / weight.sum().clamp(min=1)
    return total


def fitted_spread(network: Imputer, examples: Examples) -> tuple[list[float], list[float], list[float]]:
    """What the validation places say of each assay when it alone is hidden.

    Returns
    -------
    spread : list of float
        Factor of the deviation with which nine tenths of the values lie within 1.645 of them; 1 where no cell type
        has the assay.
    error : list of float
        Mean squared error.
    inside : list of float
        Share of values within 1.645 deviations, before the factor.
    """
    spread: list[float] = []
    errors: list[float] = []
    inside: list[float] = []
    assays = examples.values.shape[1]
    with torch.inference_mode():
        for place in range(assays):
            there = torch.nonzero(~examples.values[:, place].isnan())[:, 0]
            if not len(there):
                spread, errors, inside = [*spread, 1.0], [*errors, 0.0], [*inside, 0.0]
                continue
            shown = torch.ones(assays)
            shown[place] = 0
            mean, deviation = network(examples.inputs.select(there).showing(shown))
            error = (mean[:, place] - examples.values[there, place]).numpy()
            away = np.abs(error) / deviation[:, place].numpy()
            spread.append(float(_round(np.quantile(away, 0.9) / NINE_TENTHS)))
            errors.append(float(_round(np.mean(np.square(error)))))
            inside.append(float(_round(np.mean(away < NINE_TENTHS))))
    return spread, errors, inside


def _round(value: NDArray[np.floating] | float) -> float:
    return float(f"{float(value):.6g}")
