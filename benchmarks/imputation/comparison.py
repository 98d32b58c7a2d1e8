"""Errors of imputing one cell type that was left out, by method, assay and block of genome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import xgboost
from numpy.typing import NDArray

from epilstm.console import progress
from epilstm.genome.bin_range import BinRange
from epilstm.model.cell_types import CellTypes, cell_types_of
from epilstm.model.imputer import Imputer, ImputerInputs, imputer_inputs
from epilstm.model.imputer_config import NINE_TENTHS, ImputerConfig, by_assay, reference_of
from epilstm.params import ImputerParams
from epilstm.scoring.bootstrap import cluster_draws, interval
from epilstm.steps.train.imputer import RANGE_BINS, Examples, draw_examples, fit, fitted_spread, imputer_config
from epilstm.steps.train.sampling import cut_evenly, spread_evenly
from epilstm.store.manifests import read_scaler
from epilstm.store.matrix import Matrix

#: Share of bins that "the top" is.
TOP_SHARE = 0.01

#: Weight of the squared coefficients of ridge, beside the summed squared error of standardised assays.
RIDGE_PENALTY = 10.0

NETWORK, ASSAY_MEAN, RIDGE, TREES = "network", "assay_mean", "ridge", "trees"


@dataclass(frozen=True)
class Settings:
    """What is compared, and how much of the data is taken.

    Parameters
    ----------
    training : ImputerParams
        Of the network; ridge and trees take its examples.
    test_bins : int
    trees, depth : int
    blocks_bp : int
        Blocks that the bootstrap resamples.
    resamples : int
    """

    training: ImputerParams
    test_bins: int
    trees: int
    depth: int
    blocks_bp: int
    resamples: int


class SomeTracks(Matrix):
    """A matrix of some of the tracks of another.

    Parameters
    ----------
    folder : Path
    tracks : sequence of int
    """

    def __init__(self, folder: Path, tracks: Sequence[int]) -> None:
        super().__init__(folder)
        self.columns = list(tracks)

    def rows(self, block: BinRange) -> NDArray[np.float32]:
        """Rows of these tracks."""
        return super().rows(block)[:, self.columns]


@dataclass(frozen=True)
class Predicted:
    """One assay of a cell type, imputed in several ways, in the space of the tracks' transform.

    Parameters
    ----------
    truth : (bin,) array
    block : (bin,) array of int
        Of the genome, from 0.
    means : mapping of str to (bin,) array
    deviation : (bin,) array
        The network's.
    """

    truth: NDArray[np.float64]
    block: NDArray[np.int64]
    means: Mapping[str, NDArray[np.float64]]
    deviation: NDArray[np.float64]


def impute_left_out(
    folder: Path, cell_type: str, settings: Settings, seed: int
) -> tuple[dict[str, Predicted], dict[int, dict[str, float]]]:
    """Impute every assay of a cell type by models that learn from the others alone.

    Returns
    -------
    dict of str to Predicted
        By assay, each imputed from all the others that the cell type has.
    dict of int to dict of str to float
        By number of assays shown: mean squared error of the network and of the assay's mean, over the assays.
    """
    whole = Matrix(folder)
    tracks = whole.manifest.track_set
    kept = [place for place, each in enumerate(tracks.cell_types) if each != cell_type]
    new = [place for place, each in enumerate(tracks.cell_types) if each == cell_type]
    order = [*kept, *new]
    matrix, scaler = SomeTracks(folder, kept), read_scaler(folder, whole.manifest)
    cell_types = cell_types_of(tracks.select(kept))
    config = imputer_config(settings.training, scaler.select(kept), cell_types)
    split = whole.manifest.split
    examples = draw_examples(matrix, scaler.select(kept), cell_types, config, split.train, settings.training.bins, seed)
    with progress("training the imputer", settings.training.steps) as bar:
        network = fit(config, examples, settings.training, seed, bar)
    held_out = draw_examples(
        matrix, scaler.select(kept), cell_types, config, split.validation, settings.training.bins // 4, seed
    )
    spread = np.array(fitted_spread(network, held_out)[0])

    everything = SomeTracks(folder, order)
    layout = _laid_out(cell_types, [tracks.assays[place] for place in new], cell_type)
    test, block = _test_examples(everything, scaler.select(order), layout, config, settings)
    there = [place for place, assay in enumerate(config.assays) if layout.tracks[-1][place] >= 0]
    scale, mean = np.array(config.scale), np.array(config.mean)
    predicted = {}
    for place in there:
        shown = torch.tensor([float(each != place) for each in range(len(config.assays))])
        guess, deviation = _of_network(network, test.inputs.showing(shown), place)
        means = {
            NETWORK: guess,
            ASSAY_MEAN: test.inputs.around[:, 0, place].numpy(),
            **_of_baselines(examples, test.inputs, place, there, settings, seed),
        }
        predicted[config.assays[place]] = Predicted(
            test.values[:, place].numpy().astype(float) * scale[place] + mean[place],
            block,
            {name: values.astype(float) * scale[place] + mean[place] for name, values in means.items()},
            deviation * spread[place] * scale[place],
        )
    return predicted, _by_number_shown(network, test, there, config, seed)


def _laid_out(cell_types: CellTypes, assays: Sequence[str], cell_type: str) -> CellTypes:
    """Cell types with a new one behind them, whose tracks are the last columns."""
    first = sum(column >= 0 for row in cell_types.tracks for column in row)
    row = [first + list(assays).index(assay) if assay in assays else -1 for assay in cell_types.assays]
    return CellTypes(names=[*cell_types.names, cell_type], assays=cell_types.assays, tracks=[*cell_types.tracks, row])


def _test_examples(
    matrix: Matrix, scaler: object, layout: CellTypes, config: ImputerConfig, settings: Settings
) -> tuple[Examples, NDArray[np.int64]]:
    """Bins of the last cell type on the test places, and the block of genome that each is in."""
    manifest = matrix.manifest
    ranges = spread_evenly(cut_evenly(matrix.regions_in(manifest.split.test), RANGE_BINS), settings.test_bins)
    last = layout.count - 1
    inputs, values, blocks = [], [], []
    for each in ranges:
        wide = matrix.widened(each, max(config.window))
        keep = slice(each.first - wide.first, each.last - wide.first)
        rows = by_assay(matrix.rows(wide), scaler, layout, config)  # type: ignore[arg-type]
        there = torch.from_numpy(np.flatnonzero(matrix.mask(each)))
        found = imputer_inputs(rows[:, last], reference_of(rows, last), keep, config)
        inputs.append(found.select(there))
        values.append(torch.from_numpy(rows[keep, last].copy())[there])
        number = (each.first + there.numpy()) * manifest.bin_size // settings.blocks_bp
        blocks.append(np.char.add(f"{each.chrom}:", number.astype(str)))
    joined = ImputerInputs(
        *(torch.cat([getattr(part, each.name) for part in inputs]) for each in fields(ImputerInputs))
    )
    _, block = np.unique(np.concatenate(blocks), return_inverse=True)
    return Examples(joined, torch.cat(values)), block.astype(np.int64)


def _of_network(network: Imputer, inputs: ImputerInputs, place: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    with torch.inference_mode():
        mean, deviation = network(inputs)
    return mean[:, place].numpy(), deviation[:, place].numpy().astype(float)


def _of_baselines(
    examples: Examples, test: ImputerInputs, place: int, there: Sequence[int], settings: Settings, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Ridge and trees of one assay, which learn with the assays shown that the cell type shows."""
    measured = ~examples.values[:, place].isnan()
    target = examples.values[measured, place].numpy()
    training = _columns(examples.inputs.select(torch.nonzero(measured)[:, 0]), place, there)
    columns = _columns(test, place, there)
    centre, level = training.mean(0), target.mean()
    about = (training - centre).astype(float)
    weights = np.linalg.solve(about.T @ about + RIDGE_PENALTY * np.eye(len(centre)), about.T @ (target - level))
    options = {
        "objective": "reg:squarederror", "tree_method": "hist", "max_bin": 64, "max_depth": settings.depth,
        "learning_rate": 0.1, "colsample_bytree": 0.3, "seed": seed, "nthread": 1,
    }  # fmt: skip
    data = xgboost.QuantileDMatrix(training, label=target, max_bin=64, nthread=1)
    trees = xgboost.train(options, data, num_boost_round=settings.trees)
    return {
        RIDGE: ((columns - centre) @ weights + level).astype(np.float32),
        TREES: trees.inplace_predict(columns),
    }


def _columns(inputs: ImputerInputs, place: int, there: Sequence[int]) -> NDArray[np.float32]:
    """What the network sees, as columns: own assays but one, the reference's means and spread."""
    others = [each for each in there if each != place]
    own = inputs.own[:, :, others] * inputs.observed[:, None, others]
    parts = [own.flatten(1), inputs.around.flatten(1), inputs.spread, inputs.observed[:, others]]
    return torch.cat(parts, 1).numpy()


def _by_number_shown(
    network: Imputer, test: Examples, there: Sequence[int], config: ImputerConfig, seed: int
) -> dict[int, dict[str, float]]:
    """Error by number of assays shown, each assay imputed from assays that are drawn at random."""
    random = np.random.default_rng(seed)
    found: dict[int, dict[str, float]] = {}
    for count in range(len(there)):
        errors: dict[str, list[float]] = {NETWORK: [], ASSAY_MEAN: []}
        for place in there:
            shown = torch.zeros(len(config.assays))
            shown[random.permutation([each for each in there if each != place])[:count]] = 1
            truth, scale = test.values[:, place].numpy(), config.scale[place]
            guess, _ = _of_network(network, test.inputs.showing(shown), place)
            for name, mean in ((NETWORK, guess), (ASSAY_MEAN, test.inputs.around[:, 0, place].numpy())):
                errors[name].append(float(np.mean(np.square((mean - truth) * scale))))
        found[count] = {name: float(np.mean(each)) for name, each in errors.items()}
    return found


def top(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The bins with the largest values, `TOP_SHARE` of all, (bin,)."""
    chosen = np.zeros(len(values), bool)
    chosen[np.argsort(-values, kind="stable")[: max(1, round(TOP_SHARE * len(values)))]] = True
    return chosen


def measures(predicted: Predicted, method: str) -> dict[str, tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Squared errors of a method (bin,), and the bins that each measure is over."""
    guess = predicted.means[method]
    squared = np.square(guess - predicted.truth)
    chosen = {"global": np.ones(len(squared), bool), "1obs": top(predicted.truth), "1imp": top(guess)}
    return {name: (squared, bins) for name, bins in chosen.items()}


def inside(predicted: Predicted) -> dict[str, float]:
    """Share of values within 1.645 of the network's deviations: of all, in observed peaks, in imputed peaks."""
    within = np.abs(predicted.means[NETWORK] - predicted.truth) < NINE_TENTHS * predicted.deviation
    chosen = {name: bins for name, (_, bins) in measures(predicted, NETWORK).items()}
    return {name: float(within[bins].mean()) for name, bins in chosen.items()}


def errors_by_deviation(predicted: Sequence[Predicted], parts: int = 5) -> list[float]:
    """Mean squared error in parts of equal size, from where the network's deviation is least to where it is largest."""
    deviation = np.concatenate([each.deviation for each in predicted])
    squared = np.concatenate([measures(each, NETWORK)["global"][0] for each in predicted])
    return [float(part.mean()) for part in np.array_split(squared[np.argsort(deviation)], parts)]


def table(predicted: Mapping[str, Predicted], settings: Settings, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """By method and measure: the mean over assays and, of baselines, the network's difference with its interval."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    resampled: dict[tuple[str, str], NDArray[np.float64]] = {}
    for method in next(iter(predicted.values())).means:
        found[method] = {}
        for measure in ("global", "1obs", "1imp"):
            sums = [_by_block(each, method, measure) for each in predicted.values()]
            draws = cluster_draws(len(sums[0][0]), settings.resamples, seed)
            means = [_mean(*each, draws) for each in sums]
            resampled[method, measure] = np.nanmean(means, axis=0)
            once = np.ones((1, len(sums[0][0])), np.float32)
            found[method][measure] = {"mse": float(np.mean([_mean(*each, once)[0] for each in sums]))}
    for method, by_measure in found.items():
        for measure, cell in by_measure.items():
            if method != NETWORK:
                ci = interval(resampled[NETWORK, measure] - resampled[method, measure], 0.95)
                cell |= {"delta": found[NETWORK][measure]["mse"] - cell["mse"], "low": ci.low, "high": ci.high}
    return found


def _by_block(predicted: Predicted, method: str, measure: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    squared, bins = measures(predicted, method)[measure]
    blocks = int(predicted.block.max()) + 1
    block = predicted.block[bins]
    return np.bincount(block, squared[bins], blocks), np.bincount(block, minlength=blocks).astype(float)


def _mean(sums: NDArray[np.float64], counts: NDArray[np.float64], draws: NDArray[np.float32]) -> NDArray[np.float64]:
    total, bins = draws @ sums, draws @ counts
    return np.divide(total, bins, out=np.full(len(draws), np.nan), where=bins > 0)
