"""How well an embedding gives the tracks back, on chromosomes that training never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from epilstm.errors import DataError
from epilstm.genome.bin_range import BinRange
from epilstm.genome.name_matching import listed
from epilstm.representations.features import Representation
from epilstm.representations.pca import Pca, fit_readout, joint_rows
from epilstm.scoring.gene_regions import GeneRegions
from epilstm.steps.evaluate.measures import SignalErrors, unstandardised
from epilstm.store.evaluation_results import PcaPoint, Reconstruction, ReconstructionScore
from epilstm.store.manifests import Scaler
from epilstm.store.matrix import Matrix
from epilstm.store.moments import Moments

#: Training bins that the untrained encoder's read-out is fitted on, at most: far more than it has weights.
READOUT_BINS = 200_000

#: Why PCA is left out where it would have no fewer components than there are tracks.
ALL_COMPONENTS = "as many components as there are tracks: that is the raw tracks, rotated"


def spread(blocks: Sequence[BinRange], bins: int) -> list[BinRange]:
    """About `bins` bins at most: all blocks, or as many of them, evenly spread."""
    total = sum(block.bins for block in blocks)
    if total <= bins:
        return list(blocks)
    count = max(1, len(blocks) * bins // total)
    return [blocks[place] for place in np.linspace(0, len(blocks) - 1, count).round().astype(int)]


def training_moments(matrix: Matrix, blocks: Sequence[BinRange], advance: Callable[[int], None]) -> Moments:
    """Moments of the tracks over the bins with data of some blocks.

    Parameters
    ----------
    matrix : Matrix
    blocks : sequence of BinRange
        Of the training chromosomes.
    advance : callable
        Called with the bins of each block done.
    """
    moments = Moments(matrix.tracks)
    for block in blocks:
        moments.add(matrix.rows(block)[matrix.mask(block)])
        advance(block.bins)
    return moments


def training_blocks(matrix: Matrix, bins: int) -> list[BinRange]:
    """Blocks of the training chromosomes, at most about `bins` bins spread evenly over them."""
    return spread(matrix.blocks(matrix.manifest.split.train), bins)


def scored_blocks(matrix: Matrix, bins: int) -> list[BinRange]:
    """Blocks of the test chromosomes, at most about `bins` bins spread evenly over them."""
    return spread(matrix.blocks(matrix.manifest.split.test), bins)


def score_reconstruction(
    matrix: Matrix,
    model: Representation,
    untrained: Representation,
    pca: Pca,
    size: int,
    blocks: Sequence[BinRange],
    advance: Callable[[int], None],
    scaler: Scaler | None = None,
    regions: GeneRegions | None = None,
) -> Reconstruction:
    """Reconstruction of bins with data of the test chromosomes, in the matrix's standardised space.

    The imputation field's measures, though, are in the space of the tracks' transform (arcsinh of the signal).

    Parameters
    ----------
    matrix : Matrix
    model : Representation
        Reconstructed tracks.
    untrained : Representation
        Bin code of the untrained encoder; its linear read-out is fitted on training chromosomes.
    pca : Pca
        Fitted on training chromosomes.
    size : int
        Numbers per bin that the model's decoder reads (the bin code), and so those of the PCA compared.
    blocks : sequence of BinRange
        What is scored, of the test chromosomes (`scored_blocks`).
    advance : callable
        Called with the bins of each block done.
    scaler : Scaler, optional
        Of the matrix; without it, the imputation field's measures are left out.
    regions : GeneRegions, optional
        For the measures at promoters and in gene bodies.

    Raises
    ------
    DataError
        No bin of the test chromosomes has data.
    """
    split, tracks = matrix.manifest.split, matrix.tracks
    width = untrained.size + 1 + tracks
    training, test, true = Moments(width), Moments(width), Moments(tracks)
    for block in training_blocks(matrix, READOUT_BINS):
        mask = matrix.mask(block)
        training.add(joint_rows(untrained.block(block)[mask], matrix.rows(block)[mask]))
        advance(block.bins)
    readout = fit_readout(training, untrained.size)

    model_errors = np.zeros(tracks)
    smaller = size < tracks
    compared = ("model", "pca", "untrained") if smaller else ("model", "untrained")
    measured = {name: SignalErrors(tracks) for name in compared} if scaler else {}
    for block in blocks:
        mask = matrix.mask(block)
        rows = matrix.rows(block)[mask]
        true.add(rows)
        codes, reconstructed = untrained.block(block)[mask], model.block(block)[mask]
        test.add(joint_rows(codes, rows))
        model_errors += np.square(reconstructed - rows, dtype=np.float64).sum(axis=0)
        if scaler:
            given_back = {"model": reconstructed, "untrained": readout.predict(codes)}
            if smaller:
                given_back["pca"] = pca.reconstruct(rows, size)
            kinds = {} if regions is None else {kind: each[mask] for kind, each in regions.masks(block).items()}
            observed = unstandardised(rows, scaler)
            for name, each in given_back.items():
                measured[name].add(observed, unstandardised(each, scaler), kinds)
        advance(block.bins)
    if not true.count:
        raise DataError(f"no bin of the test chromosomes ({listed(split.test)}) has data; check preprocess.split.test")

    def scored(errors: NDArray[np.float64]) -> ReconstructionScore:
        return reconstruction_score(errors, true, matrix.manifest.tracks)

    return Reconstruction(
        chromosomes=split.test,
        bins=true.count,
        of_bins=matrix.manifest.bins_used_for("test"),
        size=size,
        models={
            "model": scored(model_errors),
            **({"pca": scored(pca.squared_errors(true, size))} if smaller else {}),
            "untrained": scored(readout.squared_errors(test)),
        },
        pca_curve=[
            PcaPoint(size=k, r2=scored(pca.squared_errors(true, k)).r2) for k in range(1, min(tracks - 1, 2 * size) + 1)
        ],
        left_out={} if smaller else {"pca": ALL_COMPONENTS},
        measures={name: each.table(matrix.manifest.track_set) for name, each in measured.items()},
    )


def reconstruction_score(errors: NDArray[np.float64], true: Moments, tracks: list[str]) -> ReconstructionScore:
    """R2 and mean squared error from summed squared errors.

    Parameters
    ----------
    errors : (tracks,) float64 array
        Summed over bins.
    true : Moments
        Of the true tracks over the same bins.
    tracks : list of str
        Names.
    """
    total = true.total_squares
    # A track that is constant up to rounding has no variance to explain.
    varies = total > 1e-9 * np.maximum(np.diag(true.products), 1e-300)
    return ReconstructionScore(
        r2=float(1 - errors.sum() / total.sum()) if varies.any() else None,
        mse=float(errors.sum() / (true.count * len(tracks))),
        track_r2={
            name: float(1 - error / squares) if varied else None
            for name, error, squares, varied in zip(tracks, errors, total, varies, strict=True)
        },
    )
