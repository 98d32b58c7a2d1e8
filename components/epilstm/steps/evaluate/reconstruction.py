"""How well an embedding gives the tracks back, on chromosomes that training never saw."""

from __future__ import annotations

from collections.abc import Callable

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


def training_moments(matrix: Matrix, advance: Callable[[int], None]) -> Moments:
    """Moments of the tracks over the training chromosomes' bins with data.

    Parameters
    ----------
    matrix : Matrix
    advance : callable
        Called with the bins of each block done.
    """
    moments = Moments(matrix.tracks)
    for block in matrix.blocks(matrix.manifest.split.train):
        moments.add(matrix.rows(block)[matrix.mask(block)])
        advance(block.bins)
    return moments


def readout_blocks(matrix: Matrix) -> list[BinRange]:
    """Blocks of the training chromosomes, about `READOUT_BINS` bins spread evenly over them."""
    blocks = matrix.blocks(matrix.manifest.split.train)
    return blocks[:: max(1, round(sum(block.bins for block in blocks) / READOUT_BINS))]


def score_reconstruction(
    matrix: Matrix,
    model: Representation,
    untrained: Representation,
    pca: Pca,
    size: int,
    advance: Callable[[int], None],
    scaler: Scaler | None = None,
    regions: GeneRegions | None = None,
) -> Reconstruction:
    """Reconstruction of the test chromosomes' bins with data, in the matrix's standardised space.

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
    for block in readout_blocks(matrix):
        mask = matrix.mask(block)
        training.add(joint_rows(untrained.block(block)[mask], matrix.rows(block)[mask]))
        advance(block.bins)
    readout = fit_readout(training, untrained.size)

    model_errors = np.zeros(tracks)
    smaller = size < tracks
    compared = ("model", "pca", "untrained") if smaller else ("model", "untrained")
    measured = {name: SignalErrors(tracks) for name in compared} if scaler else {}
    for block in matrix.blocks(split.test):
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
