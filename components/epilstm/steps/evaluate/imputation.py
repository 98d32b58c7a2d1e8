"""Imputation of tracks that are hidden at the network's input, on chromosomes that training never saw.

Tracks are hidden in folds that take at most one track per cell type and assay, as far as there are enough folds. Every
method sees the same other tracks on the test chromosomes. What methods know of the hidden tracks elsewhere differs
(`IMPUTATION_METHODS`): the network, PCA, the linear models and the trees have seen them on the training chromosomes, as
has the second factorisation; the mean of the assay and the first factorisation never do, as is usual in the field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.genome.bin_range import BinRange
from epilstm.genome.coverage import intervals_of
from epilstm.genome.name_matching import listed
from epilstm.params import EvaluateParams
from epilstm.scoring.bootstrap import cluster_draws, interval, verdict_of
from epilstm.scoring.gene_regions import GeneRegions
from epilstm.steps.evaluate.block_errors import BlockErrors, Sums
from epilstm.steps.evaluate.excerpts import RowsInContext
from epilstm.steps.evaluate.measures import SignalErrors, unstandardised
from epilstm.steps.evaluate.neighbour_imputers import DRAWN_FROM, RidgeImputer, TreesImputer, training_features
from epilstm.store.evaluation_results import (
    FEW_REGIONS,
    IMPUTATION_MEASURES,
    IMPUTATION_METHODS,
    NO_VERDICT,
    Imputation,
    Interval,
    MeasureDifference,
    TrackDifference,
    Verdict,
)
from epilstm.store.manifests import Scaler
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments

if TYPE_CHECKING:
    from epilstm.steps.evaluate.factorisation import Factorisation

#: Why PCA is left out where it would have no fewer components than there are tracks.
ALL_COMPONENTS = "as many components as there are tracks: that is the best linear prediction"

#: Bins of a bin range, which is scored as a whole: 100 kb at 25 bp.
RANGE_BINS = 4_000


class Imputer(Protocol):
    """Gives hidden tracks."""

    def __call__(self, excerpt: RowsInContext, hidden: NDArray[np.int64]) -> NDArray[np.floating]:
        """(bins, hidden) signal, in the space of the tracks' transform; hidden tracks are not looked at."""


@dataclass(frozen=True)
class NetworkImputer:
    """A network's reconstruction of tracks that are hidden at its input.

    Parameters
    ----------
    reconstruct : callable
        From consecutive (bins, tracks) rows to their reconstruction.
    context_bins : int
        Bins on either side after which the network's state no longer depends on where it started.
    scaler : Scaler
        Of the matrix.
    hidden_value : float
        What stands for a hidden track.
    """

    reconstruct: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    context_bins: int
    scaler: Scaler
    hidden_value: float = 0.0

    def __call__(self, excerpt: RowsInContext, hidden: NDArray[np.int64]) -> NDArray[np.floating]:
        """Reconstruct."""
        rows = excerpt.rows.copy()
        rows[:, hidden] = self.hidden_value
        return unstandardised(self.reconstruct(rows)[excerpt.keep], self.scaler)[:, hidden]


@dataclass(frozen=True)
class AssayMean:
    """Mean signal of the same assay in the other cell types, in the space of the transform ("average activity").

    Parameters
    ----------
    names : sequence of (str, str)
        Cell type and assay of each track.
    scaler : Scaler
    """

    names: Sequence[tuple[str, str]]
    scaler: Scaler

    def others(self, track: int, hidden: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tracks of the same assay that are seen."""
        out = {track, *hidden.tolist()}
        return np.array(
            [
                number
                for number, (_, assay) in enumerate(self.names)
                if assay == self.names[track][1] and number not in out
            ],
            dtype=np.int64,
        )

    def __call__(self, excerpt: RowsInContext, hidden: NDArray[np.int64]) -> NDArray[np.floating]:
        """Average."""
        signal = unstandardised(excerpt.rows[excerpt.keep], self.scaler)
        return np.stack([signal[:, self.others(int(track), hidden)].mean(axis=1) for track in hidden], axis=1)


@dataclass(frozen=True)
class GaussianImputer:
    """Conditional mean of the hidden tracks under a Gaussian over the tracks of one bin.

    With the training chromosomes' covariance it is the best linear prediction; with that of a probabilistic PCA
    (Tipping and Bishop 1999) it is PCA's imputation: the components' scores are fitted to the observed tracks by least
    squares, shrunk by the variance that the components leave.

    Parameters
    ----------
    mean : (tracks,) float64 array
    covariance : (tracks, tracks) float64 array
    scaler : Scaler
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    scaler: Scaler

    @classmethod
    def fitted(cls, moments: Moments, scaler: Scaler, components: int | None = None) -> GaussianImputer:
        """From the moments of training bins; with so many principal components, all without."""
        covariance = moments.about(moments.mean) / max(moments.count - 1, 1)
        values, vectors = np.linalg.eigh(covariance)
        if components is not None and components < len(values):
            kept, rest = vectors[:, -components:], max(float(values[:-components].mean()), 0.0)
            covariance = (kept * (values[-components:] - rest)) @ kept.T + rest * np.eye(len(values))
        return cls(moments.mean, covariance + 1e-6 * np.eye(len(values)), scaler)

    def __call__(self, excerpt: RowsInContext, hidden: NDArray[np.int64]) -> NDArray[np.floating]:
        """Predict linearly."""
        seen = np.setdiff1d(np.arange(len(self.mean)), hidden)
        weights = np.linalg.solve(self.covariance[np.ix_(seen, seen)], self.covariance[np.ix_(seen, hidden)])
        found = (excerpt.rows[excerpt.keep][:, seen] - self.mean[seen]) @ weights + self.mean[hidden]
        scaler = self.scaler.select(hidden.tolist())
        return unstandardised(found.astype(np.float32), scaler)


class AvocadoImputer:
    """Factorisations learnt on bin ranges of the training chromosomes.

    Parameters
    ----------
    names : sequence of (str, str)
        Cell type and assay of each track.
    training : sequence of (bins, tracks) float32 array
        In the space of the transform.
    params : EvaluateParams
    bin_size : int
    scaler : Scaler
    seen : bool
        Whether hidden tracks may be seen in training; if so, one fit does for all.
    """

    def __init__(
        self,
        names: Sequence[tuple[str, str]],
        training: Sequence[NDArray[np.float32]],
        params: EvaluateParams,
        bin_size: int,
        scaler: Scaler,
        seen: bool,
    ) -> None:
        self.names, self.training, self.params, self.bin_size = names, training, params, bin_size
        self.scaler, self.seen = scaler, seen
        self._fitted: dict[tuple[int, ...], Factorisation] = {}

    def __call__(self, excerpt: RowsInContext, hidden: NDArray[np.int64]) -> NDArray[np.floating]:
        """Fit what is not fitted yet, then the bins' own factors."""
        from epilstm.steps.evaluate.factorisation import Factorisation, Pairs

        tracks = np.arange(len(self.names))
        observed = np.setdiff1d(tracks, hidden)
        key = () if self.seen else tuple(hidden.tolist())
        if key not in self._fitted:
            fitted = Factorisation(
                Pairs.of(self.names), self.bin_size, self.params.imputation.factorisation, self.params.seed
            )
            fitted.fit(self.training, tracks if self.seen else observed)
            self._fitted[key] = fitted
        return self._fitted[key].impute(unstandardised(excerpt.rows[excerpt.keep], self.scaler), observed, hidden)


def scored_tracks(names: Sequence[tuple[str, str]], limit: int) -> tuple[list[int], list[int]]:
    """Tracks to impute, and those that cannot be scored, since no other cell type has their assay.

    Replicates of a cell type and assay go together: one that is seen would give the other away.

    Parameters
    ----------
    names : sequence of (str, str)
        Cell type and assay of each track.
    limit : int
        Pairs of cell type and assay to impute at most, evenly spaced; 0 for all.
    """
    cells: dict[str, set[str]] = {}
    for cell, assay in names:
        cells.setdefault(assay, set()).add(cell)
    able = [number for number, (_, assay) in enumerate(names) if len(cells[assay]) > 1]
    unable = [number for number in range(len(names)) if number not in set(able)]
    pairs = list(dict.fromkeys(names[number] for number in able))
    if limit and limit < len(pairs):
        kept = {pairs[at * len(pairs) // limit] for at in range(limit)}
        able = [number for number in able if names[number] in kept]
    return able, unable


def track_folds(names: Sequence[tuple[str, str]], tracks: Sequence[int], count: int) -> list[list[int]]:
    """Groups of tracks to hide together, in diagonals of the table of cell types and assays.

    In each, an assay that several cell types have is left in one of them at least. Replicates of a cell type and
    assay are hidden together.

    Parameters
    ----------
    names : sequence of (str, str)
        Cell type and assay of each track.
    tracks : sequence of int
        Those to hide.
    count : int
        Folds; 0 hides each pair of cell type and assay alone.
    """
    pairs: dict[tuple[str, str], list[int]] = {}
    for track in tracks:
        pairs.setdefault(names[track], []).append(track)
    if not count:
        return list(pairs.values())
    cells, assays = (list(dict.fromkeys(part)) for part in zip(*names, strict=True))
    folds: list[list[int]] = [[] for _ in range(count)]
    total = {assay: len({cell for cell, each in names if each == assay}) for assay in assays}
    for (cell, assay), replicates in pairs.items():
        first = cells.index(cell) + assays.index(assay)
        for step in range(count):
            fold = folds[(first + step) % count]
            if len({names[other] for other in fold if names[other][1] == assay}) + 1 < total[assay]:
                fold += replicates
                break
        else:
            folds.append(replicates)
    return [fold for fold in folds if fold]


def sampled_ranges(matrix: Matrix, places: Sequence[str], bins: int) -> list[BinRange]:
    """Bin ranges of `RANGE_BINS` at most, of about so many bins in all, evenly spaced over some places."""
    found = [each for region in matrix.regions_in(places) for each in region.cut(RANGE_BINS)]
    wanted = max(1, round(len(found) * bins / max(sum(each.bins for each in found), 1)))
    return [found[at * len(found) // wanted] for at in range(wanted)] if wanted < len(found) else found


def score_imputation(
    matrix: Matrix,
    model: NetworkImputer,
    moments: Moments,
    size: int,
    regions: GeneRegions,
    params: EvaluateParams,
    advance: Callable[[int], None],
    threads: int = 1,
) -> Imputation:
    """Impute hidden tracks on the test chromosomes with every method, and compare.

    Parameters
    ----------
    matrix : Matrix
    model : NetworkImputer
    moments : Moments
        Of the training chromosomes' tracks.
    size : int
        Components of PCA.
    regions : GeneRegions
    params : EvaluateParams
    advance : callable
        Called with the bins of each bin range done.
    threads : int
        For the trees.

    Raises
    ------
    DataError
        No assay is there in two cell types, or no bin of the chromosomes to impute has data.
    """
    every = matrix.manifest.track_set
    names = list(zip(every.cell_types, every.assays, strict=True))
    tracks, unable = scored_tracks(names, params.imputation.tracks)
    if not tracks:
        raise DataError(
            "evaluate.imputation: no assay is there in more than one cell type, so there is nothing to impute a track "
            "from and to compare with; set imputation.enabled to false"
        )
    folds = track_folds(names, tracks, params.imputation.folds)
    imputers, left_out = _imputers(matrix, names, model, moments, size, params, threads)
    columns = {track: column for column, track in enumerate(tracks)}
    chromosomes = scored_chromosomes(matrix, params)
    bin_ranges = scored_ranges(matrix, params)
    known = [int(matrix.mask(each).sum()) for each in bin_ranges]
    bins = sum(known)
    if not bins:
        raise DataError(
            f"no bin of the {params.imputation.split} chromosomes ({listed(chromosomes)}) has data; check "
            f"preprocess.split.{params.imputation.split}"
        )
    block_of = blocks_of(matrix, [each for each, count in zip(bin_ranges, known, strict=True) if count], params)
    errors = {name: SignalErrors(len(tracks)) for name in imputers}
    by_block = {name: BlockErrors(len(tracks), len(set(block_of.values())), bins) for name in imputers}
    context = max(model.context_bins, *params.imputation.window)
    for each in bin_ranges:
        if each in block_of:
            wide = matrix.widened(each, context)
            excerpt = RowsInContext(matrix.rows(wide), slice(each.first - wide.first, each.last - wide.first))
            mask = matrix.mask(each)
            observed = unstandardised(excerpt.rows[excerpt.keep], model.scaler)[mask][:, tracks]
            kinds = {kind: there[mask] for kind, there in regions.masks(each).items()}
            for name, imputer in imputers.items():
                predicted = np.empty_like(observed)
                for fold in folds:
                    predicted[:, [columns[track] for track in fold]] = imputer(excerpt, np.array(fold))[mask]
                errors[name].add(observed, predicted, kinds)
                by_block[name].add(block_of[each], observed, predicted, kinds)
        advance(each.bins)
    scored = every.select(tracks)
    sums = {name: each.sums() for name, each in by_block.items()}
    differences = compare(sums, scored.names, params)
    return Imputation(
        chromosomes=chromosomes,
        bins=bins,
        of_bins=sum(int(matrix.mask(block).sum()) for block in matrix.blocks(chromosomes)),
        stretches=len(bin_ranges),
        blocks=len(set(block_of.values())),
        folds=[[matrix.manifest.tracks[track] for track in fold] for fold in folds],
        not_judged=[matrix.manifest.tracks[track] for track in unable],
        left_out=left_out,
        methods={name: each.table(scored) for name, each in errors.items()},
        differences=differences,
        sentence=sentence(differences),
    )


def blocks_of(matrix: Matrix, ranges: Sequence[BinRange], params: EvaluateParams) -> dict[BinRange, int]:
    """The block of genome (`blocks_bp`) that each bin range belongs to, which the bootstrap resamples whole."""
    regions = {region: number for number, region in enumerate(matrix.regions)}
    of_range = [
        next(
            number
            for region, number in regions.items()
            if region.chrom == each.chrom and region.first <= each.first and each.last <= region.last
        )
        for each in ranges
    ]
    _, region = np.unique(of_range, return_inverse=True)
    first, last = (np.array([getattr(each, edge) for each in ranges]) for edge in ("first", "last"))
    size = max(1, params.blocks_bp // matrix.manifest.bin_size)
    return dict(zip(ranges, intervals_of(region.astype(np.int64), first, last, size).tolist(), strict=True))


def scored_chromosomes(matrix: Matrix, params: EvaluateParams) -> list[str]:
    """Chromosomes on which tracks are imputed."""
    split = matrix.manifest.split
    return split.test if params.imputation.split == "test" else split.validation


def scored_ranges(matrix: Matrix, params: EvaluateParams) -> list[BinRange]:
    """Bin ranges that are imputed."""
    return sampled_ranges(matrix, scored_chromosomes(matrix, params), params.imputation.bins)


def _imputers(
    matrix: Matrix,
    names: list[tuple[str, str]],
    model: NetworkImputer,
    moments: Moments,
    size: int,
    params: EvaluateParams,
    threads: int,
) -> tuple[dict[str, Imputer], dict[str, str]]:
    """The network and the baselines asked for, in the order of `IMPUTATION_METHODS`, and why others are left out."""
    scaler, wanted = model.scaler, params.imputation
    train = matrix.manifest.split.train
    imputers: dict[str, Imputer] = {"model": model}
    left_out = {}
    if "assay_mean" in wanted.baselines:
        imputers["assay_mean"] = AssayMean(names, scaler)
    if "pca" in wanted.baselines and size < matrix.tracks:
        imputers["pca"] = GaussianImputer.fitted(moments, scaler, size)
    elif "pca" in wanted.baselines:
        left_out["pca"] = ALL_COMPONENTS
    if "linear" in wanted.baselines:
        imputers["linear"] = GaussianImputer.fitted(moments, scaler)
    if {"ridge", "trees"} & set(wanted.baselines):
        ranges = sampled_ranges(matrix, train, DRAWN_FROM * wanted.training_bins)
        features = training_features(matrix, ranges, wanted.training_bins, wanted.window, params.seed)
        if "ridge" in wanted.baselines:
            products = Moments(features.shape[1])
            products.add(features)
            imputers["ridge"] = RidgeImputer(products, wanted.window, wanted.ridge_penalty, scaler)
        if "trees" in wanted.baselines:
            imputers["trees"] = TreesImputer(names, features, wanted.window, wanted.trees, scaler, params.seed, threads)
    if "factorisation" in wanted.baselines:
        training = [
            unstandardised(matrix.rows(block), scaler)
            for block in sampled_ranges(matrix, train, wanted.factorisation.training_bins)
        ]
        for name, seen in (("avocado", False), ("avocado_seen", True)):
            imputers[name] = AvocadoImputer(names, training, params, matrix.manifest.bin_size, scaler, seen)
    return {name: imputers[name] for name in IMPUTATION_METHODS if name in imputers}, left_out


def compare(sums: Mapping[str, Sums], tracks: Sequence[str], params: EvaluateParams) -> list[MeasureDifference]:
    """The model against each baseline in each measure, paired, with a bootstrap over blocks of genome.

    Parameters
    ----------
    sums : mapping of str to mapping
        Method, the model among them -> measure -> (blocks, tracks) summed squared errors and bins.
    tracks : sequence of str
        Names.
    params : EvaluateParams
    """
    blocks = len(next(iter(sums["model"].values()))[0])
    draws = cluster_draws(blocks, params.bootstrap, params.seed)
    over_tracks = np.random.default_rng(params.seed).integers(0, len(tracks), size=(params.bootstrap, len(tracks)))
    once = np.ones((1, blocks), dtype=np.float32)
    found = []
    for baseline, measures in sums.items():
        for measure in IMPUTATION_MEASURES:
            if baseline == "model" or measure not in measures:
                continue
            own, other = sums["model"][measure], measures[measure]
            deltas = (_means(own, once) - _means(other, once))[0]
            resampled = _means(own, draws) - _means(other, draws)
            ci = interval(np.nanmean(resampled, axis=1), params.confidence)
            # Of errors, less is better.
            verdict, reason = verdict_of(Interval(low=-ci.high, high=-ci.low), blocks, FEW_REGIONS)
            found.append(
                MeasureDifference(
                    baseline=baseline,
                    measure=measure,
                    tracks=len(deltas),
                    won=int((deltas < 0).sum()),
                    delta=float(deltas.mean()),
                    ci=ci,
                    tracks_ci=interval(deltas[over_tracks].mean(axis=1), params.confidence),
                    by_track={
                        name: TrackDifference(delta=float(delta), ci=interval(values, params.confidence))
                        for name, delta, values in zip(tracks, deltas, resampled.T, strict=True)
                    },
                    verdict=verdict,
                    reason=reason,
                )
            )
    return found


def _means(sums: tuple[NDArray[np.float64], NDArray[np.float64]], draws: NDArray[np.float32]) -> NDArray[np.float64]:
    """(b, tracks) mean squared errors of resamples of blocks; NaN where none of the bins was drawn."""
    squared, bins = (draws @ each for each in sums)
    means: NDArray[np.float64] = np.divide(squared, bins, out=np.full(squared.shape, np.nan), where=bins > 0)
    return means


def sentence(differences: Sequence[MeasureDifference]) -> str:
    """What the model's imputation beats and is beaten by, in plain words."""
    parts = []
    for baseline in IMPUTATION_METHODS:
        own = [each for each in differences if each.baseline == baseline]
        verdicts: dict[tuple[Verdict, str], list[str]] = {}
        for each in own:
            verdicts.setdefault((each.verdict, each.reason), []).append(IMPUTATION_MEASURES[each.measure])
        phrases = [
            f"{'has no verdict against' if verdict == NO_VERDICT else verdict} it "
            f"{'everywhere' if len(where) == len(own) else ', '.join(where)}{f' ({reason})' if reason else ''}"
            for (verdict, reason), where in verdicts.items()
        ]
        if phrases:
            parts.append(f"{IMPUTATION_METHODS[baseline]}: the network {' and '.join(phrases)}")
    if not parts:
        return "Imputation of hidden tracks: compared with nothing (evaluate.imputation.baselines is empty)."
    return "Imputation of hidden tracks, mean squared error. Against the " + "; against the ".join(parts) + "."
